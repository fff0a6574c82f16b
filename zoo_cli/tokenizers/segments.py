"""Base of the SentencePiece and byte-level tokenizers: special tokens are cut out, what lies between is tokenized."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import sentencepiece

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.tokenizers.offsets import search_offsets, width_normalize
from zoo_cli.tokenizers.pieces import Pieces
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.vocabulary import ResourceFile

UNDERLINE = "▁"
"""SentencePiece's sign for a space in front of a piece."""

Span = tuple[int, int]


@dataclass(slots=True)
class Tokens:
    """Tokens of a text or a part of one: strings, ids and character offsets."""

    tokens: list[str]
    ids: list[int]
    offsets: list[Span]


class SegmentedTokenizer(PretrainedTokenizer):
    """Base of tokenizers whose subclass defines `tokenize_segments`."""

    do_lower_case = False
    strips_around_unsplit: ClassVar[bool] = True

    @abstractmethod
    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        """Tokens of texts that hold no special token; offsets are places in the segment."""

    def encode_pieces(self, texts: Sequence[str]) -> Pieces:
        results = self._tokenize(texts)
        spans = [np.array(tokens.offsets, np.int64).reshape(-1, 2) for tokens in results]
        return Pieces.of([tokens.ids for tokens in results], spans)

    def tokenize(self, text: str) -> list[str]:
        return self._tokenize([text])[0].tokens

    def offsets(self, text: str) -> list[Span]:
        found = self._tokenize([text])[0]
        lower = self.do_lower_case
        wanted = [self.search_form(token) for token in found.tokens]
        normalized, places = width_normalize(text, lower)
        spans = search_offsets([token.lower() for token in wanted] if lower else wanted, normalized, places)
        return found.offsets if spans is None else spans

    def search_form(self, token: str) -> str:
        """Text by which PaddleNLP searches for the place of a token."""
        return self.convert_tokens_to_string([token]).strip()

    def _tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        parts = [list(self._split(text)) for text in texts]
        plain = [segment for part in parts for segment, _, special in part if not special]
        tokenized = iter(self.tokenize_segments(plain) if plain else [])
        results = []
        for part in parts:
            result = Tokens([], [], [])
            for segment, start, special in part:
                if special:
                    result.tokens.append(segment)
                    result.ids.append(self.convert_token_to_id(segment))
                    result.offsets.append((start, start + len(segment)))
                else:
                    found = next(tokenized)
                    result.tokens += found.tokens
                    result.ids += found.ids
                    result.offsets += [(a + start, b + start) for a, b in found.offsets] if start else found.offsets
            results.append(result)
        return results

    def _split(self, text: str) -> Iterator[tuple[str, int, bool]]:
        """Parts of a text, their places and whether they are special tokens."""
        position = 0
        strip = self.strips_around_unsplit
        for match in self.unsplit_pattern.finditer(text):
            yield from _plain(text, position, match.start(), strip and position > 0, strip)
            yield match.group(), match.start(), True
            position = match.end()
        yield from _plain(text, position, len(text), strip and position > 0, False)


def _plain(text: str, start: int, end: int, left: bool, right: bool) -> Iterator[tuple[str, int, bool]]:
    """The part of a text from `start` to `end`, without white space on its left or right."""
    segment = text[start:end]
    if left:
        stripped = segment.lstrip()
        start += len(segment) - len(stripped)
        segment = stripped
    if right:
        segment = segment.rstrip()
    if segment:
        yield segment, start, False


def thread_count() -> int:
    """Threads for a batch: the cores this process may use, one if `TOKENIZERS_PARALLELISM` says so."""
    if os.environ.get("TOKENIZERS_PARALLELISM", "").lower() in ("0", "false", "off", "no", "n", "f"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_sentencepiece(file: ResourceFile) -> sentencepiece.SentencePieceProcessor:
    """Load a SentencePiece model.

    Raises:
        ArtifactError: the file is no SentencePiece model (`broken-vocabulary`).
    """
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=file.data)
    except (RuntimeError, ValueError, TypeError) as error:
        raise ArtifactError(
            "broken-vocabulary",
            "the file is not a SentencePiece model",
            at=Location(file.path),
            fix="download it again",
        ) from error


def sentence_pieces(processor: sentencepiece.SentencePieceProcessor, texts: list[str]) -> list[Tokens]:
    """Pieces of texts, with ids of the SentencePiece model.

    Offsets leave out the space that `▁` stands for. Of several pieces that one character was normalised into, each has
    the place of that character.
    """
    results = processor.encode(texts, return_type="offset_mapping", num_threads=thread_count())
    return [
        Tokens(
            result["pieces"],
            result["ids"],
            [
                _trim(text, piece, start, end) if piece[0] == UNDERLINE or start == end else (start, end)
                for piece, (start, end) in zip(result["pieces"], result["offsets"], strict=True)
            ],
        )
        for text, result in zip(texts, results, strict=True)
    ]


def _trim(text: str, piece: str, start: int, end: int) -> Span:
    if piece == UNDERLINE:
        return end, end
    if start == end:
        return start, min(start + 1, len(text))
    while start < end and text[start].isspace():
        start += 1
    return start, end


def original_span(span: Span, places: Sequence[int]) -> Span:
    """Place in the original text of a span of a text whose characters came from `places`."""
    start, end = span
    if start < end:
        return places[start], places[end - 1] + 1
    place = places[start] if start < len(places) else places[-1] + 1
    return place, place
