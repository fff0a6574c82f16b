"""SentencePiece and byte-level tokenizers, and the inputs of prefix language models."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tokenizers.vocabularies import KINDS, SAMPLES, sample, tokenizer_of
from zoo_cli.base.errors import PlatformError, UsageError
from zoo_cli.tokenizers import words
from zoo_cli.tokenizers.ernie_m import cut_piece
from zoo_cli.tokenizers.unified_transformer import UnifiedTransformerTokenizer
from zoo_cli.tokenizers.unimo import UNIMOTokenizer

OTHERS = [kind for kind in KINDS if kind not in ("ErnieTokenizer", "BertTokenizer", "UNIMOTokenizer")]
texts = st.lists(
    st.sampled_from(
        ["hello ", "world", "今天", "，", "2023年", "½", "…", "[MASK]", "<|endoftext|>", " ", "\n", "é", "😀"]
    )
    | st.text(max_size=3),
    max_size=6,
).map("".join)


@pytest.mark.parametrize("kind", OTHERS)
@given(batch=st.lists(texts, max_size=4))
@settings(max_examples=40, deadline=None)
def test_batches_and_offsets(kind: str, batch: list[str]) -> None:
    tokenizer = tokenizer_of(kind)
    for text, encoding in zip(batch, tokenizer.encode_batch(batch, add_special_tokens=False), strict=True):
        assert encoding.ids.tolist() == tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
        starts, ends = encoding.offsets[:, 0], encoding.offsets[:, 1]
        assert (starts >= 0).all() and (starts <= ends).all() and (ends <= len(text)).all()
        assert (np.diff(starts) >= 0).all()


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("ErnieMTokenizer", "今天 ½ hello", ["今", "天", "½", "½", "½", "h", "e", "l", "l", "o"]),
        ("UnifiedTransformerTokenizer", " 今天  hello", ["今", "天", "he", "l", "lo"]),
        ("GPTTokenizer", "今 hello", ["今", "今", "", "he", "l", "lo"]),
        ("ErnieDocBPETokenizer", "a   hello", ["a", "", "he", "l", "lo"]),
        ("GPTChineseTokenizer", "天气 good", ["", "天", "气", "", " ", "", "g", "o", "o", "d"]),
    ],
)
def test_offsets_of_pieces(kind: str, text: str, expected: list[str]) -> None:
    encoding = tokenizer_of(kind).encode_batch([text], add_special_tokens=False)[0]
    assert [text[start:end] for start, end in encoding.offsets.tolist()] == expected


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@settings(deadline=None)
def test_gpt_gives_the_text_back(text: str) -> None:
    tokenizer = tokenizer_of("GPTTokenizer")
    ids = tokenizer.encode_batch([text])[0].ids.tolist()
    assert tokenizer.convert_tokens_to_string(tokenizer.convert_ids_to_tokens(ids)) == text


@pytest.mark.parametrize(
    ("piece", "parts"),
    [
        ("▁", ()),
        ("▁中", ("中",)),
        ("▁hello", ("▁hello",)),
        ("▁中国12年", ("中", "国", "12", "年")),
        ("▁ab12cd", ("▁ab", "12", "cd")),
        ("▁12", ("12",)),
        ("a,b", ("a", ",", "b")),
    ],
)
def test_cut_piece(piece: str, parts: tuple[str, ...]) -> None:
    assert cut_piece(piece) == parts


def test_ernie_m_ids_and_frame() -> None:
    tokenizer = tokenizer_of("ErnieMTokenizer")
    cls, sep = tokenizer.cls_token_id, tokenizer.sep_token_id
    ids = tokenizer.encode_batch(["天"], ["气"])[0].ids.tolist()
    assert [ids[0], *ids[2:4], ids[5]] == [cls, sep, sep, sep]
    assert len(tokenizer) == tokenizer.mask_token_id + 1 > tokenizer.vocab_size


def test_ernie_doc_keeps_the_words_of_its_task() -> None:
    tokens = tokenizer_of("ErnieDocBPETokenizer").tokenize
    assert tokens("[q]") == ["[q]"]
    assert tokens("a [q]  b") == [*tokens("a"), "[q]", *tokens("x b")[1:]]
    assert "[q]" not in tokens("a[q]")


def test_gpt_with_bos() -> None:
    plain = tokenizer_of("GPTTokenizer")
    with_bos = type(plain)(plain.files, {"add_bos_token": True})
    assert with_bos.encode_batch(["hello"])[0].ids.tolist() == [0, *plain.encode_batch(["hello"])[0].ids.tolist()]


def test_jieba_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jieba", None)
    words._segmenter.cache_clear()
    with pytest.raises(PlatformError, match="jieba") as caught:
        tokenizer_of("GPTChineseTokenizer").encode_batch(["今天"])
    words._segmenter.cache_clear()
    assert caught.value.fix and "pip install" in caught.value.fix


def test_gen_encode_keeps_to_its_limits() -> None:
    tokenizer = tokenizer_of("UNIMOTokenizer")
    assert isinstance(tokenizer, UNIMOTokenizer)
    inputs = tokenizer.gen_encode("中" * 90, "国" * 9, "人" * 9, max_seq_len=30, max_target_len=5, max_title_len=4)
    assert tokenizer.decode(inputs["input_ids"]) == (
        "[CLS] 国 国 国 [SEP]" + " 中" * 19 + " [SEP] [CLS] 人 人 人 [MASK]"
    )
    mask = inputs["attention_mask"]
    assert mask.shape == (30, 30) and (mask[:25, 25:] < 0).all() and (mask[:, :25] == 0).all()
    assert np.array_equal(mask[25:, 25:] < 0, np.triu(np.ones((5, 5)), 1) > 0)
    with pytest.raises(UsageError):
        tokenizer.gen_encode("中", "国" * 9, "人" * 9, max_seq_len=8, max_target_len=5, max_title_len=4)


def test_dialogue_encode_leaves_old_turns_out() -> None:
    tokenizer = tokenizer_of("UnifiedTransformerTokenizer")
    assert isinstance(tokenizer, UnifiedTransformerTokenizer)
    turns = ["中 国", "天 气", "你 好"]
    sizes = [len(tokenizer.tokenize(turn)) + 1 for turn in turns]
    inputs = tokenizer.dialogue_encode(
        turns,
        max_seq_len=2 + sum(sizes[1:]),
        add_start_token_as_response=True,
        return_role_ids=True,
        return_length=True,
    )
    assert inputs["seq_len"] == 2 + sum(sizes[1:])
    assert inputs["role_ids"].tolist() == [0] + [0] * sizes[1] + [1] * sizes[2] + [0]
    for arguments in ({"task_type": "no"}, {"position_style": "no"}, {"max_seq_len": 1}):
        with pytest.raises(UsageError):
            tokenizer.dialogue_encode(turns, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="role"):
        tokenizer.dialogue_encode("好\x01x", return_role_ids=True)


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_know_everyday_text(name: str) -> None:
    tokenizer = sample(name)
    text = (
        "The weather is nice today." if name == "ernie_doc_en" else "今天北京的天气怎么样？The weather is nice today."
    )
    ids = tokenizer.encode_batch([text])[0].ids.tolist()
    unknown = tokenizer.unk_token_id
    assert unknown not in ids[1:-1] and max(ids) < len(tokenizer) < 5000
    assert sum(len(file.data) for file in tokenizer.files.values()) < 150_000
