"""From the text of a piece to token ids, sentence lengths and document ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.data.corpus.format import id_type
from zoo_cli.data.corpus.marks import LONGEST_WORD, Layout, mark_words, word_forms
from zoo_cli.data.corpus.reading import Faults, Piece, Place, ReadingOptions, read_piece
from zoo_cli.data.corpus.segment import Segmenter, load_segmenter
from zoo_cli.data.corpus.sentences import split_lines, split_sentences
from zoo_cli.tokenizers.pieces import Pieces
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

Sentences = Literal["auto", "lines", "none"]
_SPLITTERS: dict[Sentences, Callable[[str], list[str]]] = {"auto": split_sentences, "lines": split_lines}
_BATCH_CHARACTERS = 1 << 18


@dataclass(frozen=True)
class EncodingOptions:
    """How text becomes token ids.

    Args:
        sentences: ``auto`` splits documents by Chinese and English punctuation and at line ends, ``lines`` at line ends
            only, ``none`` makes a document one sentence (GPT).
        segmenter: what finds the words for whole-word marks, see `load_segmenter`; None writes no marks.
        word_marks: which ids the marks have, see `word_forms`.
        append_eos: put the end token behind each document.
        sentence_tokens: a longer sentence is cut, at the start of a word where that is possible; None cuts none.
    """

    sentences: Sentences = "auto"
    segmenter: str | None = None
    word_marks: Layout = "ernie"
    append_eos: bool = False
    sentence_tokens: int | None = 512


@dataclass
class Block:
    """Tokens of some documents, or of a part of a long one.

    Args:
        ids: token ids [N].
        lens: tokens of each sentence, int32 [S].
        ends: number of sentences of the block before each end of a document, int64.
        unknown: how many tokens are the unknown token.
    """

    ids: np.ndarray
    lens: np.ndarray
    ends: np.ndarray
    unknown: int


@dataclass
class _Batch:
    texts: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    characters: int = 0

    def add(self, texts: list[str]) -> None:
        self.texts += texts
        self.characters += sum(map(len, texts))


class Encoder:
    """Encodes pieces of raw text. Pickled once for each process.

    Args:
        tokenizer: makes tokens.
        reading: how the text is written.
        options: how it becomes ids; each text of a translated pair is one sentence of any length.

    Raises:
        UsageError: whole-word marks are wanted of a tokenizer without Chinese characters as WordPiece tokens
            (`no-word-marks`), or an end token behind documents that are split (`bad-option`).
    """

    def __init__(self, tokenizer: PretrainedTokenizer, reading: ReadingOptions, options: EncodingOptions) -> None:
        if reading.format == "tsv":
            options = replace(options, sentences="lines", sentence_tokens=None)
        self.tokenizer, self.reading, self.options = tokenizer, reading, options
        self.forms = word_forms(tokenizer, options.word_marks)
        if options.segmenter is not None and not self.forms.marks_words:
            raise UsageError(
                "no-word-marks",
                "{tokenizer} has no tokens that could be marked as parts of Chinese words",
                fix="leave --segmenter out",
                tokenizer=type(tokenizer).__name__,
            )
        if options.append_eos and options.sentences != "none":
            raise UsageError(
                "bad-option",
                "an end token goes behind documents that are not split into sentences",
                fix="add --sentences none",
            )
        self.dtype = id_type(self.id_count)
        self._eos = tokenizer.eos_token_id if options.append_eos else None
        self._unknown = tokenizer.unk_token_id
        self._segmenter: Segmenter | None = None

    @property
    def id_count(self) -> int:
        """Number of ids that may appear in a corpus."""
        return len(self.tokenizer) if self.options.segmenter is None else len(self.forms)

    def prepare(self) -> None:
        """Load the segmenter, so that processes forked from this one share it."""
        if self.options.segmenter is not None and self._segmenter is None:
            self._segmenter = load_segmenter(self.options.segmenter)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_segmenter": None}

    def encode(self, piece: Piece, faults: Faults) -> Iterator[Block]:
        """The tokens of a piece, block after block; faults are counted."""
        self.prepare()
        limit = self.options.sentence_tokens
        has_tokens = False  # whether the document that is open has any, in the blocks before
        for batch in self._batches(piece, faults):
            ids, counts = self._tokenize(batch.texts)
            unknown = int((ids == self._unknown).sum())
            ends = np.searchsorted(np.flatnonzero(counts), batch.ends)  # sentences without tokens drop out
            counts = counts[counts > 0]
            if limit is not None and self.options.sentences != "none":
                counts, ends = self._cut_sentences(ids, counts, ends, limit, faults)
            # An end right behind another one, or behind the start, is that of a document without tokens.
            before = np.concatenate([[-1 if has_tokens else 0], ends[:-1]]) if len(ends) else ends
            faults.add("empty-document", count=int((ends <= before).sum()))
            kept = ends[ends > before]
            has_tokens = len(counts) > ends[-1] if len(ends) else has_tokens or len(counts) > 0
            if self._eos is not None:
                ids, counts = _append(ids, counts, self._eos)
            yield Block(ids.astype(self.dtype), counts.astype(np.int32), kept.astype(np.int64), unknown)

    def _batches(self, piece: Piece, faults: Faults) -> Iterator[_Batch]:
        """Sentences of about a quarter of a million characters at a time; the last batch ends with a document."""
        splitter = _SPLITTERS.get(self.options.sentences)
        batch, document, size = _Batch(), list[str](), 0
        for text in read_piece(piece, self.reading, faults):
            if splitter is not None:
                if text is None:
                    batch.ends.append(len(batch.texts))
                else:
                    batch.add(splitter(text))
            elif text is not None and size <= self.reading.line_bytes:
                document.append(text)
                size += len(text)
            else:
                if text is not None:
                    faults.add("cut-document", Place(piece.file, piece.start))
                batch.add(["\n".join(document).strip()])
                batch.ends.append(len(batch.texts))
                document = [] if text is None else [text]
                size = sum(map(len, document))
            if batch.characters >= _BATCH_CHARACTERS:
                yield batch
                batch = _Batch()
        if batch.texts or batch.ends:
            yield batch

    def _tokenize(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ids, with marks, and number of tokens of each text."""
        words = None
        if self._segmenter is not None:
            words = self._segmenter.cut(texts)
            texts = ["".join(own) for own in words]
        pieces: Pieces = self.tokenizer.encode_pieces(texts)
        if words is None:
            return pieces.ids, pieces.counts
        longest = LONGEST_WORD[self.options.word_marks]
        return mark_words(pieces.ids, pieces.counts, words, self.forms, longest), pieces.counts

    def _cut_sentences(
        self, ids: np.ndarray, counts: np.ndarray, ends: np.ndarray, limit: int, faults: Faults
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lengths and document ends after sentences of more than `limit` tokens are cut."""
        long = np.flatnonzero(counts > limit)
        if not len(long):
            return counts, ends
        faults.add("cut-sentence", count=len(long))
        starts = np.cumsum(counts) - counts
        parts: list[np.ndarray] = []
        done = 0
        extra = np.zeros(len(counts) + 1, np.int64)
        for index in long.tolist():
            continues = self.forms.continues[ids[starts[index] : starts[index] + counts[index]]]
            sizes = _cut(continues, limit)
            parts += [counts[done:index], sizes]
            extra[index + 1] = len(sizes) - 1
            done = index + 1
        return np.concatenate([*parts, counts[done:]]), ends + np.cumsum(extra)[ends]


def _cut(continues: np.ndarray, limit: int) -> np.ndarray:
    """Sizes of parts of at most `limit` tokens, each from the start of a word if one begins in the half before."""
    sizes = []
    begin = 0
    while len(continues) - begin > limit:
        starts = np.flatnonzero(~continues[begin + limit // 2 + 1 : begin + limit + 1])
        size = limit // 2 + 1 + int(starts[-1]) if len(starts) else limit
        sizes.append(size)
        begin += size
    return np.array([*sizes, len(continues) - begin], np.int64)


def _append(ids: np.ndarray, counts: np.ndarray, token: int) -> tuple[np.ndarray, np.ndarray]:
    """Add a token at the end of every sentence."""
    return np.insert(ids, np.cumsum(counts), token), counts + 1
