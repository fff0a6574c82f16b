"""From scores of pairs of tokens to answers, and from answers to the pairs that should score high."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zoo_cli.tasks.base import Outputs
from zoo_cli.tasks.closed_extraction.gold import Answers
from zoo_cli.tasks.closed_extraction.layout import Layout, Slot
from zoo_cli.tasks.extraction.postprocess import Answer, home_window, vote
from zoo_cli.tasks.features import Window, cover
from zoo_cli.tasks.scores import sigmoid

MOST_PAIRS = 1000
"""Pairs of one window and one output that are looked at, the likeliest: far more than a text has, but untrained models
see more."""

Span = tuple[int, int]
"""First and last token, counted from the first token of the text."""

Triples = list[tuple[int, int, int]]
"""Kind, first and second token of pairs."""


# -- what the model says ----------------------------------------------------------------------------------------------


def condense(logits: Mapping[str, np.ndarray], threshold: float) -> Outputs:
    """Keep the pairs that score high; all scores of a text are C x S x S numbers.

    Args:
        logits: ``entity_logits`` [C, S, S], and with links ``head_logits`` and ``tail_logits`` [R, S, S].
        threshold: logit that pairs must exceed.

    Returns:
        ``entities`` int64 [n, 3] with kind, first and last token, and ``entities.scores`` [n]; with links the same of
        ``heads`` and ``tails``, between tokens where found spans start and end.
    """
    entities, scores = _likeliest(logits["entity_logits"], threshold)
    kept = {"entities": entities, "entities.scores": scores}
    for name, source, column in (("heads", "head_logits", 1), ("tails", "tail_logits", 2)):
        if source in logits:
            ends = np.unique(entities[:, column])
            pairs, scores = _likeliest(logits[source][:, ends[:, None], ends], threshold)
            kept |= {name: np.stack([pairs[:, 0], ends[pairs[:, 1]], ends[pairs[:, 2]]], 1), f"{name}.scores": scores}
    return kept


def _likeliest(logits: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    places = np.argwhere(logits > threshold)
    scores = logits[tuple(places.T)]
    if len(scores) > MOST_PAIRS:
        best = np.sort(np.argpartition(-scores, MOST_PAIRS)[:MOST_PAIRS])
        places, scores = places[best], scores[best]
    return places, scores


@dataclass(slots=True)
class Finds:
    """What a model found in a whole text, with probabilities.

    Args:
        spans: of each kind.
        links: of each kind, between two spans.
        classes: of each choice about the whole text.
    """

    spans: dict[int, dict[Span, float]] = field(default_factory=lambda: defaultdict(dict))
    links: dict[int, dict[tuple[Span, Span], float]] = field(default_factory=lambda: defaultdict(dict))
    classes: dict[Slot, list[Answer]] = field(default_factory=dict)


def gather(windows: Sequence[Window], outputs: Sequence[Outputs], layout: Layout, threshold: float) -> Finds:
    """Put together what was found in the windows of a text.

    A find counts in that window of all those which hold it whole where it has the most text around it, as in UIE, so
    that no entity is reported as a torn piece. A link counts in the window where that is so of both of its spans
    together. The class of a text is the one that most windows chose.

    Args:
        windows: of `zoo_cli.tasks.features.windows`.
        outputs: of each window, as `condense` returns them.
        layout: the schema.
        threshold: logit that pairs must exceed.
    """
    finds = Finds()
    borders = np.array([(window.start, window.stop) for window in windows])
    votes: dict[Slot, list[tuple[str, float]]] = {slot: [] for slot in layout.slots if slot.options}
    for index, (window, output) in enumerate(zip(windows, outputs, strict=True)):

        def counts(first: int, last: int, index: int = index) -> bool:
            return len(windows) == 1 or home_window(borders, windows[-1].stop, first, last) == index

        spans, classes = _spans(window, output, layout, threshold)
        for kind, found in spans.items():
            finds.spans[kind] |= {span: score for span, score in found.items() if counts(*span)}
        for kind, pairs in _links(window, output, layout, spans, threshold).items():
            for (head, tail), probability in pairs.items():
                if counts(min(head[0], tail[0]), max(head[1], tail[1])):
                    finds.links[kind][head, tail] = probability
        for slot, own in votes.items():
            own += _best(slot, classes)
    finds.classes = {slot: vote(own) for slot, own in votes.items()}
    return finds


def _above(output: Outputs, name: str, threshold: float) -> list[tuple[tuple[int, int, int], float]]:
    """Pairs of an output with their probabilities."""
    places, scores = output[name], output[f"{name}.scores"]
    high = scores > threshold
    return list(zip(map(tuple, places[high].tolist()), sigmoid(scores[high]).tolist(), strict=True))


def _spans(
    window: Window, output: Outputs, layout: Layout, threshold: float
) -> tuple[dict[int, dict[Span, float]], dict[int, float]]:
    """Spans among the tokens of the text, and classes of the whole text by their kind."""
    spans: dict[int, dict[Span, float]] = defaultdict(dict)
    classes: dict[int, float] = {}
    shift = window.start - window.place
    for (kind, first, last), probability in _above(output, "entities", threshold):
        if kind in layout.of_texts:
            if first == last == 0:
                classes[kind] = probability
        elif window.start <= first + shift <= last + shift < window.stop:
            spans[kind][first + shift, last + shift] = probability
    return spans, classes


def _links(
    window: Window, output: Outputs, layout: Layout, spans: Mapping[int, Mapping[Span, float]], threshold: float
) -> dict[int, dict[tuple[Span, Span], float]]:
    """Links between spans of a window: those whose first tokens and whose last tokens belong together."""
    if not layout.links:
        return {}
    shift = window.start - window.place
    starts: dict[tuple[int, int], list[Span]] = defaultdict(list)
    for kind, found in spans.items():
        for span in found:
            starts[kind, span[0] - shift].append(span)
    tails = dict(_above(output, "tails", threshold))
    links: dict[int, dict[tuple[Span, Span], float]] = defaultdict(dict)
    for (link, first, second), probability in _above(output, "heads", threshold):
        upper, lower = layout.ends_of[link]
        for head in starts.get((upper, first), ()):
            for tail in starts.get((lower, second), ()):
                other = tails.get((link, head[1] - shift, tail[1] - shift))
                if other is not None:
                    links[link][head, tail] = probability * other
    return links


def _best(slot: Slot, probabilities: Mapping[int, float]) -> list[tuple[str, float]]:
    """The likeliest option of a class, if any was found."""
    found = [
        (probabilities[slot.kind + index], option)
        for index, option in enumerate(slot.options)
        if slot.kind + index in probabilities
    ]
    if not found:
        return []
    probability, option = max(found, key=lambda each: each[0])
    return [(option, probability)]


def answers_of(text: str, offsets: np.ndarray, finds: Finds, slots: Iterable[Slot]) -> Answers:
    """The result of a text, entries in its order.

    Args:
        text: the text.
        offsets: characters of its tokens, int64 [T, 2].
        finds: what was found.
        slots: what to answer, the whole schema or a part of it.
    """

    def entries(slot: Slot, spans: Mapping[Span, float]) -> list[Answer]:
        found = []
        for span, probability in sorted(spans.items()):
            start, end = int(offsets[span[0], 0]), int(offsets[span[1], 1])
            if start < end:
                entry: Answer = {"text": text[start:end], "start": start, "end": end, "probability": probability}
                relations = {child.name: below(child, span) for child in slot.children}
                relations = {name: tails for name, tails in relations.items() if tails}
                found.append(entry | ({"relations": relations} if relations else {}))
        return found

    def below(slot: Slot, span: Span) -> list[Answer]:
        if slot.link is not None:
            links = finds.links.get(slot.link, {})
            return entries(slot, {tail: each for (head, tail), each in links.items() if head == span})
        kinds = range(slot.kind, slot.kind + len(slot.options))
        choices = {kind: finds.spans[kind][span] for kind in kinds if span in finds.spans.get(kind, {})}
        return [{"text": option, "probability": each} for option, each in _best(slot, choices)]

    whole = {slot.kind: found for slot, found in finds.classes.items()}
    result = {
        slot.name: whole[slot.kind] if slot.options else entries(slot, finds.spans.get(slot.kind, {})) for slot in slots
    }
    return {name: found for name, found in result.items() if found}


# -- what the model should say ----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Targets:
    """Gold answers in tokens of the text.

    Args:
        spans: kind and span.
        links: kind and both spans.
        classes: kinds that the whole text has.
    """

    spans: list[tuple[int, Span]] = field(default_factory=list)
    links: list[tuple[int, Span, Span]] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)


def locate(answers: Answers, offsets: np.ndarray, layout: Layout) -> Targets:
    """Find the tokens of gold answers; spans that no token covers are left out."""
    targets = Targets()

    def walk(slots: Sequence[Slot], found: Answers, above: Span | None) -> None:
        for slot in slots:
            for entry in found.get(slot.name, ()):
                if slot.options:
                    kind = slot.kind + slot.options.index(entry["text"])
                    if above is None:
                        targets.classes.append(kind)
                    else:
                        targets.spans.append((kind, above))
                    continue
                first, stop = cover(offsets, entry["start"], entry["end"])
                if first >= stop:
                    continue
                span = (first, stop - 1)
                targets.spans.append((slot.kind, span))
                if slot.link is not None and above is not None:
                    targets.links.append((slot.link, above, span))
                walk(slot.children, entry.get("relations", {}), span)

    walk(layout.slots, answers, None)
    return targets


def pairs_of(window: Window, targets: Targets) -> tuple[Triples, Triples, Triples]:
    """The pairs of a window that should score high, by its tokens: of spans, and of first and last tokens of links;
    what is not whole in the window is left out."""
    shift = window.place - window.start

    def inside(*spans: Span) -> bool:
        return all(window.start <= first and last < window.stop for first, last in spans)

    entities = [(kind, 0, 0) for kind in targets.classes]
    entities += [(kind, first + shift, last + shift) for kind, (first, last) in targets.spans if inside((first, last))]
    links = [each for each in targets.links if inside(*each[1:])]
    heads = [(kind, head[0] + shift, tail[0] + shift) for kind, head, tail in links]
    tails = [(kind, head[1] + shift, tail[1] + shift) for kind, head, tail in links]
    return entities, heads, tails
