"""Text from generated tokens, whole or token by token."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence

from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.bpe import GPTTokenizer
from zoo_cli.tokenizers.characters import is_cjk
from zoo_cli.tokenizers.gpt_chinese import GPTChineseTokenizer
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer
from zoo_cli.tokenizers.segments import UNDERLINE, SegmentedTokenizer

_REPLACEMENT = "\ufffd"  # what decoders give for a character whose bytes are not all there yet


def text_of(tokenizer: Tokenizer, ids: Sequence[int]) -> str:
    """The text that generated ids stand for, special tokens left out.

    Unlike `Tokenizer.decode`, which puts a space between any two WordPiece tokens as PaddleNLP does, this joins Chinese
    characters. The text of the first tokens is how the whole text begins, except for characters that are not complete.

    Args:
        tokenizer: a tokenizer of this package.
        ids: token ids.
    """
    assert isinstance(tokenizer, PretrainedTokenizer)
    if isinstance(tokenizer, GPTChineseTokenizer):
        special = {tokenizer.vocab.get(token) for token in tokenizer.all_special_tokens}
        return tokenizer.convert_ids_to_string([index for index in ids if index not in special])
    if isinstance(tokenizer, GPTTokenizer):
        return tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    tokens = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True)
    return _join_pieces(tokens) if isinstance(tokenizer, SegmentedTokenizer) else _join_wordpieces(tokens)


def _join_pieces(tokens: Iterable[str]) -> str:
    """SentencePiece: a space where the sign says so, unless a wide character is next to it."""
    text, gap = "", False
    for token in tokens:
        for index, part in enumerate(token.split(UNDERLINE)):
            gap = gap or index > 0
            if part:
                text += " " * (gap and text != "" and not _is_wide(text[-1]) and not _is_wide(part[0])) + part
                gap = False
    return text


def _join_wordpieces(tokens: Iterable[str]) -> str:
    """WordPiece: a space between two words of letters or digits; punctuation and Chinese stand close."""
    text = ""
    for token in tokens:
        if token.startswith("##") and len(token) > 2:
            text += token[2:]
        else:
            text += " " * (text != "" and _is_word(text[-1]) and _is_word(token[0])) + token
    return text


def _is_word(char: str) -> bool:
    return char.isalnum() and not _is_wide(char)


def _is_wide(char: str) -> bool:
    """Whether the character belongs to a script that is written without spaces."""
    return is_cjk(char) or unicodedata.east_asian_width(char) in "WF"


class TextStream:
    """The text of a sequence as its tokens come in.

    Args:
        text: from token ids to their text, e.g. `zoo_cli.tasks.generative.GenerativeTask.text`.
    """

    def __init__(self, text: Callable[[Sequence[int]], str]) -> None:
        self._text = text
        self._ids: list[int] = []
        self._sent = 0

    def add(self, token: int) -> str:
        """What one more token adds to the text; an incomplete character waits for its last token."""
        self._ids.append(token)
        return self._new(self._text(self._ids).rstrip(_REPLACEMENT))

    def end(self) -> str:
        """What is left when the last token has come."""
        return self._new(self._text(self._ids))

    def _new(self, text: str) -> str:
        added = text[self._sent :]
        self._sent = max(self._sent, len(text))
        return added
