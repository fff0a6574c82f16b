"""From probabilities of starts and ends to spans, and from windows back to whole texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_cli.tasks.extraction.preprocess import Prompt, Window
from zoo_cli.tokenizers.base import Encoding

Answer = dict[str, Any]
"""One entry of a result: `text`, `probability`, for spans also `start` and `end`, and `relations` where there are."""


@dataclass(slots=True)
class Pairs:
    """K spans of tokens.

    Args:
        first: int64 [K], ascending.
        last: index of the last token (not after it), int64 [K].
        probability: product of both ends' probabilities, float64 [K].
    """

    first: np.ndarray
    last: np.ndarray
    probability: np.ndarray


_NONE = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


def pair(start_prob: np.ndarray, end_prob: np.ndarray, threshold: float) -> Pairs:
    """Spans of one sequence: each end goes with the nearest start on its left that no earlier end could have had.

    Starts and ends are the tokens whose probability exceeds `threshold`; one token may be both. What is left alone is
    dropped, so spans do not overlap.

    Args:
        start_prob: probability of each token to be the first of a span, [S].
        end_prob: of being the last, [S].
        threshold: for both.
    """
    # In double precision, as PaddleNLP compares: float32 cannot hold 0.3.
    start_prob, end_prob = start_prob.astype(np.float64), end_prob.astype(np.float64)
    ends = np.flatnonzero(end_prob > threshold)
    if not len(ends):
        return _NONE
    starts = np.flatnonzero(start_prob > threshold)
    if not len(starts):
        return _NONE
    nearest = np.searchsorted(starts, ends, side="right") - 1
    before = np.empty_like(nearest)
    before[0], before[1:] = -1, nearest[:-1]
    fresh = nearest > before
    first, last = starts[nearest[fresh]], ends[fresh]
    return Pairs(first, last, start_prob[first] * end_prob[last])


def merge_windows(
    windows: Sequence[Window], start_probs: Sequence[np.ndarray], end_probs: Sequence[np.ndarray], threshold: float
) -> Pairs:
    """Spans of a whole text from what the model says of its windows.

    A span counts if it is found in that window of all those which hold it whole where it has the most text around it
    (the lower of both sides; an end of the whole text is no border). So an entity that a border cuts is not reported as
    a torn piece. Spans too long for any window are found by joining the windows' probabilities in the middle of each
    overlap. Spans of different windows that overlap are settled by probability.

    Args:
        windows: the windows of `overlapping_windows`, n in number.
        start_probs: for each window the probability of its tokens to be the first of a span, [S].
        end_probs: of being the last, [S].
        threshold: for both.
    """
    if len(windows) == 1:
        return pair(start_probs[0], end_probs[0], threshold)
    borders = np.array(windows)
    length = int(borders[-1, 1])
    found: list[tuple[float, int, int]] = []
    for index, (offset, _) in enumerate(windows):
        pairs = pair(start_probs[index], end_probs[index], threshold)
        for first, last, probability in zip(pairs.first + offset, pairs.last + offset, pairs.probability, strict=True):
            if home_window(borders, length, first, last) == index:
                found.append((float(probability), int(first), int(last)))

    joined_starts, joined_ends = _join(windows, start_probs), _join(windows, end_probs)
    pairs = pair(joined_starts, joined_ends, threshold)
    for first, last, probability in zip(pairs.first, pairs.last, pairs.probability, strict=True):
        if home_window(borders, length, first, last) < 0:
            found.append((float(probability), int(first), int(last)))

    taken = np.zeros(length, bool)
    kept = []
    for probability, first, last in sorted(found, key=lambda item: (-item[0], item[1:])):
        if not taken[first : last + 1].any():
            taken[first : last + 1] = True
            kept.append((first, last, probability))
    kept.sort()
    if not kept:
        return _NONE
    first_tokens, last_tokens, probabilities = zip(*kept, strict=True)
    return Pairs(np.array(first_tokens), np.array(last_tokens), np.array(probabilities))


def home_window(borders: np.ndarray, length: int, first: int, last: int) -> int:
    """Index of the window in which a span has the most text around it, -1 if none holds it whole."""
    left, right = first - borders[:, 0], borders[:, 1] - 1 - last
    inside = (left >= 0) & (right >= 0)
    around = np.minimum(np.where(borders[:, 0] == 0, length, left), np.where(borders[:, 1] == length, length, right))
    best = int(np.argmax(np.where(inside, around, -1)))
    return best if inside[best] else -1


def _join(windows: Sequence[Window], values: Sequence[np.ndarray]) -> np.ndarray:
    """One value for each token of the text, from the window whose border is farther away."""
    middles = [(start + end) // 2 for (start, _), (_, end) in zip(windows[1:], windows[:-1], strict=True)]
    cuts = [0, *middles, windows[-1][1]]
    return np.concatenate(
        [
            value[begin - offset : end - offset]
            for (offset, _), value, begin, end in zip(windows, values, cuts[:-1], cuts[1:], strict=True)
        ]
    )


def span_answers(text: str, encoding: Encoding, pairs: Pairs) -> list[Answer]:
    """Entries of a result for spans of a text, in the order of the text."""
    answers = []
    starts, ends = encoding.offsets[pairs.first, 0].tolist(), encoding.offsets[pairs.last, 1].tolist()
    for start, end, probability in zip(starts, ends, pairs.probability.tolist(), strict=True):
        if start < end:
            answers.append({"text": text[start:end], "start": start, "end": end, "probability": probability})
    return answers


def vote(votes: Iterable[tuple[str, float]]) -> list[Answer]:
    """The class that most windows chose, at a tie the one with the higher sum, with the mean of its probabilities.

    Args:
        votes: class and probability from each window that has one.
    """
    table: dict[str, tuple[int, float]] = {}
    for name, probability in votes:
        count, total = table.get(name, (0, 0.0))
        table[name] = (count + 1, total + probability)
    if not table:
        return []
    name, (count, total) = max(table.items(), key=lambda item: item[1])
    return [{"text": name, "probability": total / count}]


def class_answers(
    prompt: Prompt, start_probs: Sequence[np.ndarray], end_probs: Sequence[np.ndarray], threshold: float
) -> list[Answer]:
    """The entry of a classification: the likeliest span of the prompt in each window has one vote.

    Args:
        prompt: the prompt, p tokens.
        start_probs: for each window the probability of the prompt's tokens to be the first of a span, [p].
        end_probs: of being the last, [p].
        threshold: for both.
    """
    votes = []
    for start_prob, end_prob in zip(start_probs, end_probs, strict=True):
        pairs = pair(start_prob, end_prob, threshold)
        if len(pairs.first):
            best = int(np.argmax(pairs.probability))
            start, end = prompt.offsets[pairs.first[best], 0], prompt.offsets[pairs.last[best], 1]
            votes.append((prompt.text[start:end], float(pairs.probability[best])))
    return vote(votes)
