"""Text from tokens, whole and streamed, with the sample vocabularies."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli import tokenizers
from zoo_cli.base.resources import locate
from zoo_cli.tasks.joining import TextStream, text_of

KINDS = {
    "UNIMOTokenizer": "wordpiece",
    "UnifiedTransformerTokenizer": "unified_transformer",
    "GPTTokenizer": "gpt",
    "GPTChineseTokenizer": "gpt_cn",
}
BYTE_LEVEL = ("GPTTokenizer",)


@cache
def load(kind: str) -> Any:
    return tokenizers.load(locate(f"sample:vocab/{KINDS[kind]}"), class_name=kind)


def ids_of(kind: str, text: str) -> list[int]:
    return load(kind).encode_batch([text], add_special_tokens=False)[0].ids.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_chinese_is_written_without_spaces(kind: str) -> None:
    text = "这家公司2021年推出了新的手机"
    assert text_of(load(kind), ids_of(kind, text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_english_words_keep_their_spaces(kind: str) -> None:
    assert text_of(load(kind), ids_of(kind, "how are you today")) == "how are you today"


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_are_left_out(kind: str) -> None:
    tokenizer = load(kind)
    end = {"UNIMOTokenizer": "mask_token", "UnifiedTransformerTokenizer": "sep_token"}.get(kind, "eos_token")
    ids = ids_of(kind, "你好")
    assert text_of(tokenizer, [*ids, tokenizer.special_token_id(end)]) == text_of(tokenizer, ids) == "你好"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_pieces_make_up_the_whole(kind: str, data: st.DataObject) -> None:
    """Whatever a model may generate: any tokens in any order."""
    tokenizer = load(kind)
    ids = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=12))
    stream = TextStream(partial(text_of, tokenizer))
    pieces = [stream.add(token) for token in ids]
    assert "".join([*pieces, stream.end()]) == text_of(tokenizer, ids)


def test_an_incomplete_character_waits() -> None:
    """A byte-level vocabulary without a token for the character needs several."""
    ids = ids_of("GPTTokenizer", "a龘b")
    assert len(ids) > 3
    stream = TextStream(partial(text_of, load("GPTTokenizer")))
    pieces = [stream.add(token) for token in ids]
    assert "".join(pieces) == "a龘b"
    assert not any("\ufffd" in piece for piece in pieces)
    assert "龘" in pieces or any(piece.startswith("龘") for piece in pieces)
