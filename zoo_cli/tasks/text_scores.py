"""Scores of generated texts: BLEU, ROUGE and Distinct, over the tokens of the published evaluations.

All scores are between 0 and 1; published ones are often multiplied by 100.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zoo_cli.tokenizers.characters import is_cjk, is_control, is_split_off, strip_marks

Words = Sequence[str]
_ORDER = 4


def score_words(text: str) -> list[str]:
    """Lower-case words without accents; each Chinese character and each punctuation sign is one, as in PaddleNLP's
    `BasicTokenizer`, with which UNIMO-Text's BLEU was computed."""
    words: list[str] = []
    open_word = False
    for char in strip_marks(text.lower()):
        if is_control(char):
            continue
        if char.isspace():
            open_word = False
        elif is_cjk(char) or is_split_off(char):
            words.append(char)
            open_word = False
        elif open_word:
            words[-1] += char
        else:
            words.append(char)
            open_word = True
    return words


def ngrams(words: Words, size: int) -> Counter[tuple[str, ...]]:
    """How often each n-gram occurs."""
    return Counter(_ngrams(words, size))


def _ngrams(words: Words, size: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + size]) for start in range(len(words) - size + 1))


def longest_common_subsequence(first: Words, second: Words) -> int:
    """Length of the longest common subsequence, by the bit-parallel algorithm of Hyyrö (2004)."""
    places: dict[str, int] = {}
    for index, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << index
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        matches = row & places.get(word, 0)
        row = ((row + matches) | (row - matches)) & everything
    return len(first) - row.bit_count()


def f1(overlap: float, predicted: int, gold: int) -> float:
    """Harmonic mean of `overlap / predicted` and `overlap / gold`."""
    return 2 * overlap / (predicted + gold) if overlap else 0.0


def rouge_n(words: Words, reference: Words, size: int) -> float:
    """F1 of the n-grams of two texts, each counted as often as it occurs in both (Lin, 2004)."""
    predicted, gold = ngrams(words, size), ngrams(reference, size)
    return f1((predicted & gold).total(), predicted.total(), gold.total())


def rouge_l(words: Words, reference: Words) -> float:
    """F1 of the longest common subsequence of two texts (Lin, 2004)."""
    return f1(longest_common_subsequence(words, reference), len(words), len(reference))


@dataclass(frozen=True)
class ComparedText:
    """What counts of a generated text.

    Args:
        length: its words.
        reference_length: those of the reference that is closest in length.
        matches: n-grams of 1 to 4 words that a reference has, too.
        candidates: all its n-grams of 1 to 4 words.
        rouge: `rouge_1`, `rouge_2` and `rouge_l`, with the best reference each.
        seen: its different n-grams of one and of two words.
    """

    length: int
    reference_length: int
    matches: list[int]
    candidates: list[int]
    rouge: dict[str, float]
    seen: dict[int, set[tuple[str, ...]]]


def compare_text(text: str, references: Sequence[str]) -> ComparedText:
    """Compare a generated text with gold ones, each as good as the other."""
    words, gold = score_words(text), [score_words(reference) for reference in references]
    matches, candidates = [], []
    for size in range(1, _ORDER + 1):
        found = ngrams(words, size)
        most: Counter[tuple[str, ...]] = Counter()
        for each in gold:
            most |= ngrams(each, size)
        matches.append((found & most).total())
        candidates.append(found.total())
    rouge = {
        "rouge_1": max(rouge_n(words, each, 1) for each in gold),
        "rouge_2": max(rouge_n(words, each, 2) for each in gold),
        "rouge_l": max(rouge_l(words, each) for each in gold),
    }
    closest = min((abs(len(each) - len(words)), len(each)) for each in gold)[1]
    seen = {size: set(_ngrams(words, size)) for size in (1, 2)}
    return ComparedText(len(words), closest, matches, candidates, rouge, seen)


class TextScores:
    """Accumulates scores of generated texts.

    `bleu_4` and `bleu_2` are those of the whole corpus without smoothing (Papineni et al., 2002), with the reference
    closest in length; `rouge_1`, `rouge_2` and `rouge_l` are means over the texts, each with its best reference;
    `distinct_1` and `distinct_2` are the shares of different n-grams among all that were generated (Li et al., 2016).
    """

    def __init__(self) -> None:
        self._matches = [0] * _ORDER
        self._candidates = [0] * _ORDER
        self._length = self._reference_length = 0
        self._rouge = {"rouge_1": 0.0, "rouge_2": 0.0, "rouge_l": 0.0}
        self._seen: dict[int, set[tuple[str, ...]]] = {1: set(), 2: set()}
        self._texts = 0

    def add(self, text: str, references: Sequence[str]) -> None:
        """Count a generated text.

        Args:
            text: the text.
            references: gold texts, each as good as the other.
        """
        self.record(compare_text(text, references))

    def record(self, compared: ComparedText) -> None:
        """Count a text that was compared."""
        self._texts += 1
        self._length += compared.length
        self._reference_length += compared.reference_length
        for index, (matches, candidates) in enumerate(zip(compared.matches, compared.candidates, strict=True)):
            self._matches[index] += matches
            self._candidates[index] += candidates
        for name, value in compared.rouge.items():
            self._rouge[name] += value
        for size, seen in self._seen.items():
            seen |= compared.seen[size]

    def bleu(self, order: int) -> float:
        """Geometric mean of the n-gram precisions up to `order`, times the brevity penalty."""
        pairs = list(zip(self._matches[:order], self._candidates[:order], strict=True))
        if not all(matches for matches, _ in pairs):
            return 0.0
        logs = math.fsum(math.log(matches / candidates) for matches, candidates in pairs) / order
        return math.exp(min(0.0, 1 - self._reference_length / self._length) + logs)

    def result(self) -> dict[str, float]:
        """All scores by name."""
        return {
            "bleu_4": self.bleu(4),
            "bleu_2": self.bleu(2),
            **{name: total / max(1, self._texts) for name, total in self._rouge.items()},
            **{f"distinct_{size}": len(seen) / max(1, self._candidates[size - 1]) for size, seen in self._seen.items()},
        }
