"""What a model gets right and wrong on gold examples, in the same terms for every task.

An example and its answer both become *units*: a label for a text that is classified, a labelled span of a text, or an
answer in words. A unit of the answer is right if the gold ones have it too.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from zoo_cli.data.examples import (
    AnnotatedText,
    ChoiceExample,
    DialogueExample,
    OptionExample,
    PromptExample,
    QuestionExample,
    TaggedTokens,
    TextExample,
)
from zoo_cli.data.tagged import joiner, to_annotated

NONE = "–"
_MOST_LABELS = 20


@dataclass(frozen=True)
class Unit:
    """Something that an example states or an answer says.

    Args:
        label: class, kind of entity, or question; empty for answers in words.
        start: first character in the text, None for what has no place.
        end: behind the last character.
        text: its words.
        score: how sure the model is; 1 for gold units.
    """

    label: str
    start: int | None = None
    end: int | None = None
    text: str = ""
    score: float = 1.0

    @property
    def key(self) -> tuple[Any, ...]:
        """What two units share that say the same."""
        return (self.label, self.text.strip().lower()) if self.start is None else (self.label, self.start, self.end)


@dataclass(frozen=True)
class Case:
    """An example with its answer.

    Args:
        text: what was read.
        question: what was asked about it, if anything.
        gold: units of the example.
        found: units of the answer.
        one_of: whether one of the gold units is enough (answers to a question).
        number: gold number and answer, where the task is to tell a number.
        written: whether the answer is a text that the model wrote.
        source: where the example is from.
    """

    text: str
    question: str
    gold: tuple[Unit, ...]
    found: tuple[Unit, ...]
    one_of: bool = False
    number: tuple[float, float] | None = None
    written: bool = False
    source: str = ""

    @property
    def missed(self) -> list[Unit]:
        keys = {unit.key for unit in self.found}
        if self.one_of and any(unit.key in keys for unit in self.gold):
            return []
        return [unit for unit in self.gold if unit.key not in keys][: 1 if self.one_of else None]

    @property
    def wrong(self) -> list[Unit]:
        keys = {unit.key for unit in self.gold}
        return [unit for unit in self.found if unit.key not in keys]

    @property
    def badness(self) -> float:
        """How bad the mistakes are: surer ones are worse."""
        if self.number is not None:
            return abs(self.number[0] - self.number[1])
        if self.written:
            best = (difflib.SequenceMatcher(None, g.text, f.text).ratio() for g in self.gold for f in self.found)
            return 1 - max(best, default=0.0)
        return sum(unit.score for unit in self.wrong) + len(self.missed)


def case_of(example: Any, answer: Any) -> Case | None:
    """An example, as a task adapts it, with its answer; None where the example states nothing.

    Args:
        example: of `zoo_cli.data.examples`.
        answer: JSON of the task.
    """
    source = str(getattr(example, "source", None) or "")
    match example:
        case PromptExample():
            gold = [
                # Of a classification the place is one in the prompt.
                Unit(example.prompt, text=span.text)
                if span.start < 0
                else Unit(example.prompt, span.start, span.end, span.text)
                for span in example.spans
            ]
            return Case(example.content, "", tuple(gold), _found(answer, {}), source=source)
        case TaggedTokens():
            starts, position = [], 0
            for space, token in zip(joiner(example.tokens), example.tokens, strict=True):
                starts.append((position + len(space), position + len(space) + len(token)))
                position += len(space) + len(token)
            plain = to_annotated(example)
            return Case(plain.text, "", _entities(plain), _found(answer, dict(enumerate(starts))), source=source)
        case AnnotatedText():
            names = {entity.id: example.text[entity.start : entity.end] for entity in example.entities}
            links = [Unit(each.label, text=f"{names[each.head]} → {names[each.tail]}") for each in example.relations]
            classes = [Unit(label) for label in example.classes]
            gold = links if "triples" in answer else [*classes, *_entities(example)]
            return Case(example.text, "", tuple(gold), _found(answer, {}), source=source)
        case QuestionExample():
            gold = [Unit("", text=span.text) for span in example.answers] or [Unit("", text="")]
            return Case(example.context, example.question, tuple(gold), _found(answer, {}), True, source=source)
        case ChoiceExample() if example.answer is not None:
            found = Unit("", text=example.choices[answer["index"]], score=answer["score"])
            gold = [Unit("", text=example.choices[example.answer])]
            return Case(example.context, example.question, tuple(gold), (found,), source=source)
        case OptionExample() if example.labels is not None:
            gold = [Unit(example.options[index]) for index in example.labels]
            return Case(_pair(example), "", tuple(gold), _found(answer, {}), source=source)
        case DialogueExample() if example.response:
            text = "\n".join(example.history)
            return Case(text, "", (Unit("", text=example.response),), _found(answer, {}), written=True, source=source)
        case TextExample() if example.label is not None:
            return _classified(example, answer, source)
    return None


def _classified(example: TextExample, answer: Mapping[str, Any], source: str) -> Case:
    labels = example.label if isinstance(example.label, list) else [example.label]
    if "text" in answer:
        written = tuple(Unit("", text=str(label)) for label in labels)
        return Case(_pair(example), "", written, _found(answer, {}), written=True, source=source)
    if "label" in answer or "labels" in answer:
        gold = tuple(Unit(str(label)) for label in labels)
        return Case(_pair(example), "", gold, _found(answer, {}), source=source)
    number = (float(labels[0] or 0.0), float(answer["score"]))
    return Case(_pair(example), "", (), (), number=number, source=source)


def _pair(example: TextExample | OptionExample) -> str:
    return example.text if not example.text_pair else f"{example.text}\n{example.text_pair}"


def _entities(example: AnnotatedText) -> tuple[Unit, ...]:
    return tuple(
        Unit(each.label, each.start, each.end, example.text[each.start : each.end]) for each in example.entities
    )


def _found(answer: Mapping[str, Any], places: Mapping[int, tuple[int, int]]) -> tuple[Unit, ...]:
    """Units of an answer.

    Args:
        answer: JSON of any task.
        places: first and last character of each word, where the answer counts words.
    """

    def span(label: str, start: int, end: int, text: str, score: float) -> Unit:
        if places and end > start:
            start, end = places[start][0], places[end - 1][1]
        return Unit(label, start, end, text, score)

    match answer:
        case {"entities": list() as entities}:
            return tuple(span(e["label"], e["start"], e["end"], e["text"], e["score"]) for e in entities)
        case {"triples": list() as triples}:
            return tuple(
                Unit(t["predicate"], text=f"{t['subject']['text']} → {t['object']['text']}", score=t["score"])
                for t in triples
            )
        case {"intent": intent, "confidence": score, "value": list() as slots}:
            filled = (Unit(s["slot"], s["pos"][0], s["pos"][1] + 1, s["entity"], s["score"]) for s in slots)
            return (Unit(intent, score=score), *filled)
        case {"predictions": list() as labels} | {"labels": list() as labels}:
            return tuple(Unit(each["label"], score=each["score"]) for each in labels)
        case {"label": str() as label, "score": score}:
            return (Unit(label, score=score),)
        case {"answer": str() as text, "score": score} | {"text": str() as text, "score": score}:
            return (Unit("", text=text, score=score),)
        case {"text": str() as text}:
            return (Unit("", text=text),)
    return tuple(
        Unit(label, each.get("start"), each.get("end"), each["text"], each["probability"])
        for label, spans in answer.items()
        if isinstance(spans, list)
        for each in spans
        if isinstance(each, dict)
    )


def joined(cases: Iterable[Case]) -> list[Case]:
    """Cases of the same text next to one another, such as the questions about it, as one."""
    found = []
    for _, group in groupby(cases, key=lambda case: (case.text, case.question)):
        first, *rest = group
        gold = tuple(unit for case in (first, *rest) for unit in case.gold)
        answers = tuple(unit for case in (first, *rest) for unit in case.found)
        found.append(first if not rest else Case(first.text, first.question, gold, answers, source=first.source))
    return found


@dataclass(frozen=True)
class Threshold:
    """What comes out if units that are less sure are left out.

    Args:
        value: least score.
        precision: share of the rest that is right.
        recall: share of the gold units that the rest has.
    """

    value: float
    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def thresholds(cases: Sequence[Case], most: int = 100) -> list[Threshold]:
    """Precision and recall at each score that occurs, lowest first; at most so many of them."""
    total = sum(1 if case.one_of else len(case.gold) for case in cases)
    scored = sorted(
        ((unit.score, unit.key in {gold.key for gold in case.gold}) for case in cases for unit in case.found),
        key=lambda pair: -pair[0],
    )
    found, right = [], 0
    for number, (score, is_right) in enumerate(scored, 1):
        right += is_right
        if number == len(scored) or scored[number][0] != score:
            found.append(Threshold(score, right / number, right / total if total else 0.0))
    stride = -(-len(found) // most) or 1
    return found[::stride][::-1] if (len(found) - 1) % stride == 0 else [found[-1], *found[::stride][::-1]]


def label_scores(cases: Sequence[Case]) -> list[tuple[str, float, float, float, int]]:
    """Label, precision, recall, F1 and number of gold units, the most frequent first."""
    gold, found, right = Counter[str](), Counter[str](), Counter[str]()
    for case in cases:
        keys = {unit.key for unit in case.gold}
        gold.update(unit.label for unit in case.gold)
        found.update(unit.label for unit in case.found)
        right.update(unit.label for unit in case.found if unit.key in keys)
    rows = []
    for label, count in [*gold.most_common(), *((label, 0) for label in found if label not in gold)]:
        precision = right[label] / found[label] if found[label] else 0.0
        recall = right[label] / count if count else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right[label] else 0.0
        rows.append((label, precision, recall, f1, count))
    return rows


def confusion(cases: Sequence[Case]) -> tuple[list[str], list[list[int]]]:
    """Gold labels against labels of answers; what has no partner is counted against `NONE`.

    Classes of a text are partners, and spans of the same place.

    Returns:
        The labels, the most frequent first, and numbers [gold, found].
    """
    pairs: Counter[tuple[str, str]] = Counter()
    for case in cases:
        places: dict[tuple[Any, ...], tuple[list[str], list[str]]] = {}
        for side, units in enumerate((case.gold, case.found)):
            for unit in units:
                place = (unit.start, unit.end, "" if unit.start is None and not unit.text else unit.text)
                places.setdefault(place, ([], []))[side].append(unit.label)
        for wanted, given in places.values():
            for label in [label for label in wanted if label in given]:
                wanted.remove(label)
                given.remove(label)
                pairs[label, label] += 1
            pairs.update(zip(wanted, given, strict=False))
            pairs.update((label, NONE) for label in wanted[len(given) :])
            pairs.update((NONE, label) for label in given[len(wanted) :])
    frequent = Counter[str]()
    for (wanted_label, given_label), count in pairs.items():
        frequent.update({wanted_label: count, given_label: count})
    names = [label for label, _ in frequent.most_common() if label != NONE][:_MOST_LABELS]
    names += [NONE] if NONE in frequent else []
    return names, [[pairs[row, column] for column in names] for row in names]


def lengths(cases: Sequence[Case], bins: int = 8) -> dict[str, int]:
    """How many texts have how many characters."""
    sizes = sorted(len(case.text) for case in cases)
    if not sizes:
        return {}
    width = max(1, -(-(sizes[-1] + 1) // bins))
    counts = Counter(size // width for size in sizes)
    return {f"{number * width}–{number * width + width - 1}": counts[number] for number in range(max(counts) + 1)}
