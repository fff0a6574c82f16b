"""Which tokens of a corpus make up each training sample."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.files import sha256_json
from zoo_cli.base.locks import exclusive
from zoo_cli.data.corpus.draws import hashes, integers, key, uniforms
from zoo_cli.data.corpus.format import Corpus, array_writer
from zoo_cli.data.splits import allot

logger = logging.getLogger(__name__)

PARTS = ("train", "dev", "test")
FIRST, STOP, TOKEN, TARGET = range(4)
"""Columns of the table of samples."""

_DOCUMENTS_AT_ONCE = 1 << 17


def split_documents(documents: int, split: str) -> dict[str, tuple[int, int]]:
    """First and last document (exclusive) of each part of a corpus.

    Args:
        documents: how many there are.
        split: weights of train, dev and test, e.g. ``949,50,1``; missing ones are 0. Parts are consecutive, in this
            order, as in PaddleNLP.

    Raises:
        UsageError: these are no such weights (`bad-split`).
    """
    try:
        weights = [float(weight) for weight in split.replace("/", ",").split(",")]
    except ValueError:
        weights = []
    if not 1 <= len(weights) <= len(PARTS) or min(weights, default=-1.0) < 0 or not sum(weights) > 0:
        raise UsageError(
            "bad-split", "{split!r} are not weights of train, dev and test", fix="for example 949,50,1", split=split
        )
    weights += [0.0] * (len(PARTS) - len(weights))
    sizes = allot(documents, [weight / sum(weights) for weight in weights])
    ends = list(accumulate(sizes))
    return {part: (end - size, end) for part, size, end in zip(PARTS, sizes, ends, strict=True)}


class Samples(ABC):
    """The samples of a part of a corpus, numbered from 0; the same in every epoch.

    Args:
        corpus: the corpus.
        documents: first and last document (exclusive) that they come from.
    """

    def __init__(self, corpus: Corpus, documents: tuple[int, int] | None = None) -> None:
        self.corpus = corpus
        self.documents = documents or (0, corpus.documents)

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def describe(self, sample: int) -> str:
        """Where a sample is, for messages."""

    def _empty(self, message: str, fix: str) -> DataError:
        return DataError("no-training-data", message, at=Location.of(self.corpus.prefix), fix=fix)


class SentenceSamples(Samples):
    """Samples of whole sentences that follow each other in one document.

    Sentences are taken until there are `max_tokens` tokens, or with the probability `short_seq_prob` a random number
    of them from 2 to `max_tokens`. What is left of a document after that must be at least two sentences, or belongs to
    the sample too. A sample may so be longer than its target; it is cut when it is read.

    This is PaddleNLP's rule, without one of its exceptions: documents with a sentence of more than 512 tokens are not
    left out.

    Args:
        corpus: the corpus.
        documents: first and last document (exclusive).
        max_tokens: of a sample, special tokens not counted.
        short_seq_prob: probability of a shorter target.
        min_sentences: of a sample; documents with fewer are left out, and counted in a warning.
        seed: of the targets.
        cache: folder in which the table of samples is kept, to be memory-mapped; None keeps it in memory.

    Attributes:
        table: first sentence, sentence behind the last, first token and target length of each sample, int64 [N, 4].

    Raises:
        DataError: there are no samples (`no-training-data`).
    """

    def __init__(
        self,
        corpus: Corpus,
        documents: tuple[int, int] | None = None,
        *,
        max_tokens: int,
        short_seq_prob: float = 0.1,
        min_sentences: int = 1,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        super().__init__(corpus, documents)
        self.min_sentences = min_sentences
        self._options = max_tokens, short_seq_prob, min_sentences, seed
        if cache is None:
            self.table = np.concatenate([np.zeros((0, 4), np.int64), *self._blocks()])
        else:
            self.table = self._cached(cache)
        if not len(self.table):
            raise self._empty(
                f"no document of this part has {min_sentences} sentences",
                "check the split; a corpus of single sentences needs an objective without sentence pairs",
            )

    def __len__(self) -> int:
        return len(self.table)

    def describe(self, sample: int) -> str:
        first, stop = self.table[sample, :TOKEN].tolist()
        document = int(np.searchsorted(self.corpus.docs, first, side="right")) - 1
        return f"{self.corpus.prefix}: document {document}, sentences {first} to {stop - 1}"

    def of_other_documents(self, samples: np.ndarray, keys: np.ndarray, number: int) -> np.ndarray:
        """For each sample [B] a random one from another document, int64 [B].

        Args:
            samples: numbers of the samples.
            keys: random keys [B].
            number: of the draw.

        Raises:
            DataError: all samples are from the same document (`no-training-data`).
        """
        docs, firsts = self.corpus.docs, self._firsts
        document = np.searchsorted(docs, firsts[samples], side="right") - 1
        begin = np.searchsorted(firsts, docs[document])
        own = np.searchsorted(firsts, docs[document + 1]) - begin
        others = len(self.table) - own
        if (others == 0).any():
            raise self._empty("all samples are from one document", "a next sentence needs a second document")
        chosen = integers(keys, number, others)
        result: np.ndarray = chosen + np.where(chosen >= begin, own, 0)
        return result

    @cached_property
    def _firsts(self) -> np.ndarray:
        return np.ascontiguousarray(self.table[:, FIRST])

    def _cached(self, folder: Path) -> np.ndarray:
        name = sha256_json([self.corpus.fingerprint(), self.documents, *self._options])[:16]
        path = folder / f"samples-{name}.npy"
        with exclusive(path.with_suffix(".lock")):  # other processes of the run wait for the one that makes it
            if not path.exists():
                with array_writer(path, np.dtype("<i8"), columns=4) as writer:
                    for block in self._blocks():
                        writer.append(block)
        table: np.ndarray = np.load(path, mmap_mode="r")
        return table

    def _blocks(self) -> Iterator[np.ndarray]:
        """The table, for some documents at a time."""
        corpus, (first, last) = self.corpus, self.documents
        skipped = 0
        token = int(corpus.lens[: corpus.docs[first]].sum(dtype=np.int64))
        for start in range(first, last, _DOCUMENTS_AT_ONCE):
            docs = np.asarray(corpus.docs[start : min(start + _DOCUMENTS_AT_ONCE, last) + 1], np.int64)
            lens = corpus.lens[docs[0] : docs[-1]]
            ends = np.concatenate([[0], np.cumsum(lens, dtype=np.int64)])
            table = _take_sentences(docs - docs[0], ends, start, *self._options)
            skipped += int((np.diff(docs) < self.min_sentences).sum())
            table[:, FIRST : STOP + 1] += docs[0]
            table[:, TOKEN] += token
            token += int(ends[-1])
            yield table
        if skipped:
            logger.warning(
                "%s: %d of %d documents have fewer than %d sentences and are left out",
                *(corpus.prefix, skipped, last - first, self.min_sentences),
            )


def _take_sentences(
    docs: np.ndarray, ends: np.ndarray, first_document: int, max_tokens: int, short: float, least: int, seed: int
) -> np.ndarray:
    """The table of samples of some documents, the next sample of all of them at a time.

    Args:
        docs: first sentence of each document and the number of sentences, int64 [D + 1].
        ends: number of tokens before each sentence and of all, int64 [S + 1].
        first_document: number of the first document.
        max_tokens, short, least, seed: `max_tokens`, `short_seq_prob`, `min_sentences` and `seed`.
    """
    open_ = np.flatnonzero(np.diff(docs) >= least)
    begin, last = docs[open_], docs[open_ + 1]
    draws = key(seed)
    rows, step = [], 0
    while len(open_):
        keys = hashes(draws, open_ + first_document)
        target = np.full(len(open_), max_tokens)
        is_short = uniforms(keys, 2 * step) < short
        target[is_short] = 2 + integers(keys[is_short], 2 * step + 1, max(1, max_tokens - 1))
        stop = np.maximum(np.searchsorted(ends, ends[begin] + target), begin + least)
        stop = np.where(last - stop <= 1, last, stop)
        rows.append(np.stack([begin, stop, ends[begin], target], axis=1))
        left = stop < last
        open_, begin, last = open_[left], stop[left], last[left]
        step += 1
    table = np.concatenate([np.zeros((0, 4), np.int64), *rows])
    return table[np.argsort(table[:, FIRST], kind="stable")]


class TokenSamples(Samples):
    """Samples of equally many tokens, across sentences and documents, for causal language models.

    Sample i is the i-th window of `length` tokens and the token behind it, which is the first of the next window.

    Args:
        corpus: the corpus; a document should end with an end token.
        documents: first and last document (exclusive).
        length: tokens of a window.

    Raises:
        DataError: there are not enough tokens for one sample (`no-training-data`).
    """

    def __init__(self, corpus: Corpus, documents: tuple[int, int] | None = None, *, length: int) -> None:
        super().__init__(corpus, documents)
        self.length = length
        bounds = [int(corpus.docs[document]) for document in self.documents]
        self.start = int(corpus.lens[: bounds[0]].sum(dtype=np.int64))
        tokens = int(corpus.lens[bounds[0] : bounds[1]].sum(dtype=np.int64))
        self._count = max(0, tokens - 1) // length
        if not self._count:
            raise self._empty(
                f"the documents of this part have {tokens} tokens, which is less than one sample",
                "check the split, or make max_length smaller",
            )

    def __len__(self) -> int:
        return self._count

    def describe(self, sample: int) -> str:
        start = self.start + sample * self.length
        return f"{self.corpus.prefix}: tokens {start} to {start + self.length}"
