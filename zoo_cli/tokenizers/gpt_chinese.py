"""The tokenizer of the Chinese GPT checkpoints (CPM): jieba words, then SentencePiece.

Source: "CPM: A Large-scale Generative Chinese Pre-trained Language Model", Zhang et al. 2020, and PaddleNLP 2.8.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from zoo_cli.tokenizers.pieces import Frame
from zoo_cli.tokenizers.segments import SegmentedTokenizer, Tokens, load_sentencepiece, original_span, sentence_pieces
from zoo_cli.tokenizers.words import cut_words

_SPACE, _NEWLINE = "▂", "▃"


class GPTChineseTokenizer(SegmentedTokenizer):
    """Tokenizer of gpt-cpm-*-cn; it needs the package jieba.

    Ids are those of the SentencePiece model. There are no tokens around a text and there is no pad token.

    Args:
        files: `model_file`, the SentencePiece model.
        config: names of special tokens.
        added_tokens: id of tokens beyond the vocabulary.
    """

    resource_files_names: ClassVar[Mapping[str, str]] = {"model_file": "sentencepiece.model"}
    default_special_tokens: ClassVar[Mapping[str, str]] = {
        "bos_token": "<bod>",
        "eos_token": "<eod>",
        "unk_token": "<unk>",
    }
    required_special_tokens: ClassVar[Sequence[str]] = ("unk_token",)

    def read_vocab(self) -> dict[str, int]:
        self._processor = load_sentencepiece(self.files["model_file"])
        return {self._processor.id_to_piece(index): index for index in range(self._processor.get_piece_size())}

    @property
    def eol_token_id(self) -> int:
        """Id of the token that stands for a line break."""
        return self.convert_token_to_id(_NEWLINE)

    def frame(self, pair: bool) -> Frame:
        return Frame([], [], [])

    def tokenize_segments(self, segments: list[str]) -> list[Tokens]:
        joined, places = [], []
        for segment in segments:
            words = cut_words(segment)
            joined.append(" ".join(map(_mark_space, words)))
            places.append(_places(words))
        results = sentence_pieces(self._processor, joined)
        for result, place in zip(results, places, strict=True):
            result.offsets = [original_span(span, place) for span in result.offsets]
        return results

    def convert_ids_to_tokens(self, ids: Sequence[int], skip_special_tokens: bool = False) -> list[str]:
        """Tokens of ids; `<unk>` is never left out, as in PaddleNLP, which leaves none out."""
        tokens = super().convert_ids_to_tokens(ids)
        skipped = {*self.all_special_tokens} - {self.special_tokens["unk_token"]} if skip_special_tokens else {}
        return [token for token in tokens if token not in skipped]

    def search_form(self, token: str) -> str:
        return " ".join(token).strip()

    def convert_ids_to_string(self, ids: Sequence[int]) -> str:
        """Text of ids, with its spaces and line breaks; `decode` shows the pieces instead, as PaddleNLP's does."""
        text = str(self._processor.decode([int(index) for index in ids]))
        return text.replace(" ", "").replace(_SPACE, " ").replace(_NEWLINE, "\n")


def _mark_space(word: str) -> str:
    return word.replace(" ", _SPACE).replace("\n", _NEWLINE)


def _places(words: Sequence[str]) -> list[int]:
    """Place in the text of each character of the words with a space between; a space has that of the word behind it."""
    places: list[int] = []
    position = 0
    for index, word in enumerate(words):
        if index:
            places.append(position)
        places += range(position, position + len(word))
        position += len(word)
    return places
