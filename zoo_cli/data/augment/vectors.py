"""Vectors of words: read from text files as word2vec, GloVe and fastText publish them, or made from a user's texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.files import atomic_file
from zoo_cli.data.augment.words import is_chinese, is_replaceable, words_of
from zoo_cli.data.cooccurrence import singular_vectors
from zoo_cli.data.lines import text_lines

MOST_WORDS = 100_000
"""Words that are read of a file: the most frequent ones stand first."""
_PAIRS = 1 << 22  # word pairs that are counted at a time


class WordVectors:
    """Words and their nearest neighbours by the cosine.

    Args:
        words: the words, the most frequent first; of equal ones the first counts.
        vectors: float32 [words, dimensions].
    """

    def __init__(self, words: Sequence[str], vectors: np.ndarray) -> None:
        self.words = list(words)
        self.vectors = vectors
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        self._directions = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
        self._numbers: dict[str, int] = {}
        for number, word in enumerate(self.words):
            self._numbers.setdefault(word, number)
        useful = np.array([is_replaceable(word) for word in self.words], bool) & (norms[:, 0] > 0)
        chinese = np.array([bool(word) and is_chinese(word) for word in self.words], bool)
        self._usable = {script: useful & (chinese == script) for script in (False, True)}
        self._known: dict[tuple[str, int], list[str]] = {}

    def neighbours(self, word: str, count: int) -> list[str]:
        """At most so many words of the same script, the nearest first; none for a word without a vector.

        A word that is not there as it is spelt is looked for in lower case.
        """
        if (word, count) not in self._known:
            self._known[word, count] = self._neighbours(word, count)
        return self._known[word, count]

    def _neighbours(self, word: str, count: int) -> list[str]:
        number = self._numbers.get(word, self._numbers.get(word.lower()))
        if number is None:
            return []
        likeness = self._directions @ self._directions[number]
        likeness[~self._usable[is_chinese(word)]] = -np.inf
        likeness[number] = -np.inf
        nearest = np.argsort(-likeness, kind="stable")[:count]
        return [self.words[index] for index in nearest if likeness[index] > -np.inf]

    def save(self, path: Path) -> None:
        """Write word2vec's text format: a line with both sizes, then a word and its numbers a line."""
        with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
            file.write(f"{len(self.words)} {self.vectors.shape[1]}\n")
            for word, vector in zip(self.words, self.vectors, strict=True):
                file.write(" ".join([word, *(f"{value:.5g}" for value in vector)]) + "\n")


def read_vectors(path: Path, most: int = MOST_WORDS) -> WordVectors:
    """Read a text file with a word and its numbers a line, with or without word2vec's first line of sizes.

    Args:
        path: the file; .gz is unpacked.
        most: words that are read.

    Raises:
        DataError: a line has no numbers or another count of them (`bad-vector`), there is no word (`empty-data`), or
            the file cannot be read.
    """
    words: list[str] = []
    vectors: list[np.ndarray] = []
    width = 0
    for number, line in text_lines(path):
        cells = line.rstrip(" ").split(" ")
        if (number == 1 and len(cells) == 2 and all(cell.isdecimal() for cell in cells)) or not line.strip():
            continue
        width = width or len(cells) - 1
        word = " ".join(cells[: len(cells) - width])  # a few of GloVe's words have spaces
        try:
            vector = np.array(cells[len(cells) - width :], np.float32)
        except ValueError:
            vector = np.zeros(0, np.float32)
        if len(vector) != width or not word or not width or not np.isfinite(vector).all():
            raise DataError(
                "bad-vector",
                "the line is not a word and {width} numbers",
                at=Location.of(path, number),
                fix="the file is text: a word, a space, and numbers parted by spaces",
                width=width or "some",
            )
        words.append(word)
        vectors.append(vector)
        if len(words) == most:
            break
    if not words:
        raise DataError("empty-data", "there is no vector in the file", at=Location.of(path, 1))
    return WordVectors(words, np.stack(vectors))


def train_vectors(
    texts: Iterable[str], dimensions: int = 100, window: int = 5, min_count: int = 5, most: int = 50_000
) -> WordVectors:
    """Vectors of the words of texts, in lower case.

    Args:
        texts: the texts.
        dimensions: size of a vector; fewer where there are fewer words.
        window: words to either side that count as context, nearer ones more.
        min_count: words that occur less often get no vector.
        most: only so many of the most frequent words get one.

    Raises:
        DataError: hardly any word occurs often enough (`few-words`).
        PlatformError: scipy is not installed (`missing-package`), or jieba where there is Chinese.
    """
    sentences = [[word.text.lower() for word in words_of(text)] for text in texts]
    counts = Counter(word for sentence in sentences for word in sentence)
    frequent = sorted((word for word, count in counts.items() if count >= min_count), key=lambda word: -counts[word])
    words = frequent[:most]
    size = len(words)
    if size < 3:
        raise DataError(
            "few-words",
            "{count} words occur {least} times or more, which are too few to compare",
            fix="give more text, or lower --min-count",
            count=size,
            least=min_count,
        )
    numbers = {word: number for number, word in enumerate(words)}
    ids = ([numbers.get(word, -1) for word in sentence] for sentence in sentences)
    vectors, values = singular_vectors(_batches(ids, window), size, dimensions, window)
    return WordVectors(words, (vectors * np.sqrt(values)).astype(np.float32))


def _batches(sentences: Iterable[list[int]], window: int) -> Iterator[np.ndarray]:
    """The numbers of many sentences end to end, with gaps that no window reaches over."""
    gap = [-1] * window
    batch: list[int] = []
    for sentence in sentences:
        batch += [*sentence, *gap]
        if len(batch) >= _PAIRS:
            yield np.array(batch)
            batch = []
    if batch:
        yield np.array(batch)
