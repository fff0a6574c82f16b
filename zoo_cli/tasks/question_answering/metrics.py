"""Exact match and F1 of answers, as the scripts of CMRC 2018 (Chinese) and SQuAD (English) compute them."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np

from zoo_cli.tasks.scores import middle

Language = Literal["zh", "en"]

# CMRC 2018's list; its "……" has two characters and so never equals one, which is why "…" is not here.
_CHINESE_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_SEGMENTS = re.compile(r"[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")
# The Penn Treebank's word division, which NLTK's `word_tokenize` follows, for lower-case text.
_TREEBANK = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"[;@#$%&?!()\[\]{}<>«»„‘—–]|\.{2,}|\"|''", r" \g<0> "),
        (r",(?!\d)", " , "),
        (r"(?<=[^.\s])\.(?=[ \"')\]}>]*$)", " . "),
        (r"(?<=[^'\s])('(?:s|m|d|ll|re|ve)?|n't)(?=\s|$)", r" \1 "),
        (r"(?<!\S)'(?!(?:re|ve|ll|m|t|s|d|n)\b)", " ' "),
        (r"\b(can(?=not\b)|gon(?=na\b)|got(?=ta\b)|wan(?=na\b)|gim(?=me\b)|lem(?=me\b))", r"\1 "),
    )
)
_ENGLISH_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def chinese_segments(text: str) -> list[str]:
    """What CMRC 2018 compares: Chinese characters, and words of what stands between them, without punctuation."""
    segments: list[str] = []
    for segment in _SEGMENTS.findall(text.lower().strip().translate(_CHINESE_PUNCTUATION)):
        segments += [segment] if "\u4e00" <= segment[0] <= "\u9fa5" else _words(segment)
    return segments


def _words(text: str) -> list[str]:
    for pattern, replacement in _TREEBANK:
        text = pattern.sub(replacement, text)
    return text.split()


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of items that both sequences contain without a gap."""
    if len(first) > len(second):
        first, second = second, first
    ids: dict[str, int] = {}
    long = np.array([ids.setdefault(item, len(ids)) for item in second], np.int64)
    runs = np.zeros(len(second) + 1, np.int64)
    longest = 0
    for item in first:
        # runs[j + 1] is the length of the run that ends at this item and at item j of the longer sequence.
        runs[1:] = (runs[:-1] + 1) * (long == ids.get(item, -1))
        longest = max(longest, int(runs.max()))
    return longest


def english_tokens(text: str) -> list[str]:
    """What SQuAD compares: lower-case words without punctuation and articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_ENGLISH_PUNCTUATION)).split()


def _f1(common: int, predicted: int, gold: int) -> float:
    return 2 * common / (predicted + gold) if common else 0.0


def _exact(answer: str, prediction: str, language: Language) -> bool:
    if language == "en":
        return english_tokens(answer) == english_tokens(prediction)
    return _bare(answer) == _bare(prediction)


def _bare(text: str) -> str:
    return text.lower().strip().translate(_CHINESE_PUNCTUATION)


def _overlap(answer: str, prediction: str, language: Language) -> float:
    if language == "zh":
        gold, predicted = chinese_segments(answer), chinese_segments(prediction)
        return _f1(longest_common_run(gold, predicted), len(predicted), len(gold))
    gold, predicted = english_tokens(answer), english_tokens(prediction)
    if not gold or not predicted:
        return float(gold == predicted)
    return _f1(sum((Counter(gold) & Counter(predicted)).values()), len(predicted), len(gold))


def answer_scores(answers: Sequence[str], prediction: str, language: Language) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 of an answer, with the gold answer that suits it best.

    Args:
        answers: gold answers; none for an impossible question, which "" answers.
        prediction: the answer given; "" for none.
        language: `zh` compares Chinese characters and words by their longest common run (CMRC 2018), `en` counts
            common words (SQuAD).
    """
    if language == "en":
        answers = [answer for answer in answers if english_tokens(answer)]
    if not answers or not prediction:
        right = float(not answers and not (english_tokens(prediction) if language == "en" else prediction))
        return right, right
    return (
        max(float(_exact(answer, prediction, language)) for answer in answers),
        max(_overlap(answer, prediction, language) for answer in answers),
    )


def best_null_threshold(margins: np.ndarray, answered: np.ndarray, unanswered: np.ndarray, default: float) -> float:
    """The threshold with the highest mean score, if no answer is given where ``margin > threshold``.

    Args:
        margins: by how much the logit of "no answer" exceeds that of the best answer, float64 [N].
        answered: score of the best answer, [N].
        unanswered: score of giving none, [N].
        default: taken where nothing is to be learnt; of equally good thresholds the nearest to it is taken.
    """
    if not len(margins):
        return default
    order = np.argsort(margins, kind="stable")
    ranked = margins[order]
    # totals[k]: the k questions with the smallest margins are answered.
    totals = np.concatenate([[0.0], np.cumsum((answered - unanswered)[order])])
    low, high = np.append(-np.inf, ranked), np.append(ranked, np.inf)
    totals[low == high] = -np.inf  # no threshold parts equal margins
    best = np.flatnonzero(totals >= totals.max() - 1e-9)
    if ((low[best] <= default) & (default < high[best])).any():
        return default
    cuts = middle(np.maximum(low, ranked[0] - 2), np.minimum(high, ranked[-1] + 2))[best]
    return float(cuts[np.abs(cuts - default).argmin()])
