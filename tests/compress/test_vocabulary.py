"""Vocabularies cut down with their tokenizers: what is kept is cut as before, the rest into shorter pieces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli import tokenizers
from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import locate
from zoo_cli.compress.vocabulary import frequent_tokens, subset
from zoo_cli.data.readers import read

KINDS = {
    "BertTokenizer": "wordpiece",
    "TinyBertTokenizer": "wordpiece",
    "ElectraTokenizer": "wordpiece",
    "ErnieTokenizer": "wordpiece",
    "ErnieMTokenizer": "ernie_m",
}
REFUSED = {"GPTTokenizer": "gpt", "GPTChineseTokenizer": "gpt_cn", "UnifiedTransformerTokenizer": "unified_transformer"}


def load(kind: str, folder: str) -> Any:
    return tokenizers.load(locate(f"sample:vocab/{folder}"), class_name=kind)


def texts() -> list[str]:
    chinese = read(locate("sample:tnews/train.json"), "jsonl", {"columns": {"text": "sentence"}})
    english = read(locate("sample:sst2/train.tsv"), "tsv", {"columns": {"text": "sentence"}})
    return [row.text for rows in (chinese, english) for row in rows]  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", KINDS)
def test_texts_whose_tokens_are_kept_are_cut_as_before(kind: str, tmp_path: Path) -> None:
    tokenizer = load(kind, KINDS[kind])
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts())]
    occurring = len(np.unique(np.concatenate(ids)))
    kept = frequent_tokens(tokenizer, ids, occurring + 12)  # with special tokens that no text has
    smaller = subset(tokenizer, kept)
    assert type(smaller) is type(tokenizer) and len(smaller) == occurring + 12 < len(tokenizer)
    for before, after in zip(tokenizer.encode_batch(texts()), smaller.encode_batch(texts()), strict=True):
        np.testing.assert_array_equal(kept[after.ids], before.ids)
        np.testing.assert_array_equal(after.offsets, before.offsets)
    smaller.save(tmp_path / "smaller")
    again = tokenizers.load(tmp_path / "smaller")
    for before, after in zip(smaller.encode_batch(texts()[:20]), again.encode_batch(texts()[:20]), strict=True):
        np.testing.assert_array_equal(after.ids, before.ids)


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_fall_back_on_shorter_pieces(kind: str) -> None:
    tokenizer = load(kind, KINDS[kind])
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts())]
    kept = frequent_tokens(tokenizer, ids, 120)
    smaller = subset(tokenizer, kept)
    changed = 0
    for text, before in zip(texts(), ids, strict=True):
        (after,) = smaller.encode_batch([text])
        assert after.ids.max() < 120
        changed += len(after.ids) > len(before)
    assert changed > 10
    unknown = smaller.encode_batch(["龘"])[0].ids
    assert smaller.unk_token_id in unknown


def test_the_most_frequent_are_kept_and_ties_go_to_the_lower_id() -> None:
    tokenizer = load("BertTokenizer", "wordpiece")
    special = {tokenizer.convert_token_to_id(token) for token in tokenizer.all_special_tokens}
    usual = [index for index in range(len(tokenizer)) if index not in special]
    ids = [np.array([usual[50]] * 3 + [usual[40]] * 2 + [usual[30], usual[20]])]
    kept = set(frequent_tokens(tokenizer, ids, len(special) + 3).tolist())
    assert kept == special | {usual[50], usual[40], usual[20]}
    for size in (len(special) - 1, len(tokenizer) + 1):
        with pytest.raises(UsageError) as caught:
            frequent_tokens(tokenizer, ids, size)
        assert caught.value.code == "vocabulary-size"


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_refused(kind: str) -> None:
    tokenizer = load(kind, REFUSED[kind])
    for call in (lambda: frequent_tokens(tokenizer, [], 100), lambda: subset(tokenizer, np.arange(100))):
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.code == "not-prunable"
