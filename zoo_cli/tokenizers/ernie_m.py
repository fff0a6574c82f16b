"""ERNIE-M's tokenizer: SentencePiece pieces, cut further at CJK characters, punctuation and digits.

Source: "ERNIE-M: Enhanced Multilingual Representation", Ouyang et al. 2020, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self

from zoo_cli.base.errors import PlatformError, UsageError
from zoo_cli.tokenizers.pieces import Frame
from zoo_cli.tokenizers.segments import (
    UNDERLINE,
    SegmentedTokenizer,
    Span,
    Tokens,
    load_sentencepiece,
    sentence_pieces,
)
from zoo_cli.tokenizers.vocabulary import ResourceFile, read_vocabulary

_PUNCTUATION = frozenset(",;:.?!~，；：。？！《》【】")


class ErnieMTokenizer(SegmentedTokenizer):
    """Tokenizer of ERNIE-M and UIE-M.

    Pieces come from the SentencePiece model, ids from `vocab.txt`. A pair is [CLS] a [SEP] [SEP] b [SEP], and the model
    takes no token types. `vocab_size` is the size of the SentencePiece model, as in PaddleNLP; `len` is the number of
    ids.

    Args:
        files: `vocab_file`, one token a line, and `sentencepiece_model_file`.
        config: names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {
        "sentencepiece_model_file": "sentencepiece.bpe.model",
        "vocab_file": "vocab.txt",
    }
    model_input_names: ClassVar[tuple[str, ...]] = ("input_ids",)

    def __init__(
        self,
        files: Mapping[str, ResourceFile],
        config: Mapping[str, Any] | None = None,
        added_tokens: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(files, config, added_tokens)
        self._processor = load_sentencepiece(files["sentencepiece_model_file"])

    def read_vocab(self) -> dict[str, int]:
        return read_vocabulary(self.files["vocab_file"])

    @property
    def vocab_size(self) -> int:
        return int(self._processor.get_piece_size())

    def subset(self, ids: Sequence[int]) -> Self:
        """A tokenizer that has only these tokens, numbered anew in the order given; a text whose tokens are all among
        them is cut as before, others fall back on shorter pieces.

        Pieces of the SentencePiece model whose parts are not all kept are removed from it. Of a unigram model the best
        cut of a text stays the best one as long as its pieces are there; a model of merges cannot do without pieces.

        Args:
            ids: ids of tokens, special ones among them.

        Raises:
            UsageError: the SentencePiece model is not a unigram model (`not-prunable`).
            PlatformError: protobuf is not installed, or too old (`missing-package`).
        """
        try:
            from sentencepiece import sentencepiece_model_pb2
        except Exception as error:  # protobuf is missing, or older than sentencepiece was made with: no ImportError
            raise PlatformError(
                "missing-package",
                "changing a SentencePiece model needs a newer package protobuf: {reason}",
                fix="pip install --upgrade protobuf",
                reason=str(error),
            ) from error
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(self.files["sentencepiece_model_file"].data)
        if model.trainer_spec.model_type != model.trainer_spec.UNIGRAM:
            raise UsageError("not-prunable", "only a unigram model of SentencePiece can do without some of its pieces")
        tokens = self.convert_ids_to_tokens(ids)
        known = set(tokens)
        pieces = [
            piece for piece in model.pieces if piece.type != piece.NORMAL or known.issuperset(cut_piece(piece.piece))
        ]
        del model.pieces[:]
        model.pieces.extend(pieces)
        model.trainer_spec.vocab_size = len(pieces)
        files = {
            "sentencepiece_model_file": model.SerializeToString(),
            "vocab_file": "".join(f"{token}\n" for token in tokens).encode(),
        }
        added = {token: number for number, token in enumerate(tokens) if token in self._listed_tokens}
        changed = {role: file._replace(data=files[role]) for role, file in self.files.items()}
        return type(self)(changed, self.config, added)

    def frame(self, pair: bool) -> Frame:
        cls, sep = self.cls_token_id, self.sep_token_id
        return Frame([cls], [sep, sep] if pair else [], [sep])

    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        return [self._cut(tokens) for tokens in sentence_pieces(self._processor, segments)]

    def _cut(self, pieces: Tokens) -> Tokens:
        tokens: list[str] = []
        offsets: list[Span] = []
        for piece, (start, end) in zip(pieces.tokens, pieces.offsets, strict=True):
            parts = cut_piece(piece)
            tokens += parts
            if len(parts) == 1:
                offsets.append((start, end))
                continue
            for part in parts:  # none for a bare ▁; several parts of one character all have its place
                begin = min(start, end - 1)
                start += len(part.removeprefix(UNDERLINE))
                offsets.append((begin, max(begin + 1, min(start, end))))
        return Tokens(tokens, self.convert_tokens_to_ids(tokens), offsets)

    def offsets(self, text: str) -> list[Span]:
        forms = [_search_form(char) for char in text]
        normalized = "".join(forms)
        places = [index for index, form in enumerate(forms) for _ in form]
        found = self._tokenize([text])[0]
        spans, position = [], 0
        for token in found.tokens:
            token = token.removeprefix(UNDERLINE)
            start = normalized.find(token, position)
            position = start + len(token)
            if start < 0:  # PaddleNLP raises here
                return found.offsets
            spans.append((places[start], places[position - 1] + 1))
        return spans

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        return "".join(tokens).replace(UNDERLINE, " ").strip()


@lru_cache(maxsize=1 << 16)
def cut_piece(piece: str) -> tuple[str, ...]:
    """Parts of a SentencePiece piece; a bare `▁` is lost, by itself and in front of a cut."""
    if piece == UNDERLINE:
        return ()
    cuts = [0]
    for index in range(1, len(piece)):
        before, char = piece[index - 1], piece[index]
        if _stands_alone(before) or (char != UNDERLINE and (_stands_alone(char) or char.isdigit() != before.isdigit())):
            cuts.append(index)
    parts = [piece[start:end] for start, end in zip(cuts, [*cuts[1:], len(piece)], strict=True)]
    return (*(part for part in parts[:-1] if part != UNDERLINE), parts[-1])


def _stands_alone(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or char in _PUNCTUATION


def _search_form(char: str) -> str:
    """A character as PaddleNLP's search for offsets sees it."""
    form = char if char == "～" else unicodedata.normalize("NFKC", char)
    return "" if form in " \t\n\r" or all(unicodedata.category(part) == "Zs" for part in form) else form
