"""PaddleNLP's calling convention, beyond what is recorded."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from tests.tokenizers.vocabularies import tokenizer_of
from zoo_cli.base.errors import UsageError


def test_max_length_cuts_without_truncation_unless_padded() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    assert len(tokenizer("中" * 20, max_length=8)["input_ids"]) == 8
    assert len(tokenizer("中" * 20, max_length=8, padding=True)["input_ids"]) == 22
    assert len(tokenizer("中" * 20, max_length=8, truncation="do_not_truncate")["input_ids"]) == 22
    assert len(tokenizer("中", max_seq_len=8, pad_to_max_seq_len=True)["input_ids"]) == 8


def test_left_padding() -> None:
    result = tokenizer_of("UnifiedTransformerTokenizer")(["中", "中国 人民"], padding=True, return_attention_mask=True)
    assert [row[0] for row in result["attention_mask"]] == [0, 1]
    assert [row[-1] for row in result["attention_mask"]] == [1, 1]


def test_arrays() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    result = tokenizer(["中", "中国"], padding=True, return_tensors="np")
    assert isinstance(result["input_ids"], np.ndarray) and result["input_ids"].shape == (2, 4)
    with pytest.raises(UsageError, match="different lengths"):
        tokenizer(["中", "中国"], return_tensors="np")
    with pytest.raises(UsageError, match="return_tensors"):
        tokenizer("中", return_tensors="pd")


def test_windows_cover_the_second_text() -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    result = tokenizer(["中", "国"], ["天气" * 10, "天"], max_length=10, stride=3)
    assert result["overflow_to_sample"] == [0, 0, 0, 0, 0, 0, 1]
    starts = [row[3][0] for row in result["offset_mapping"]]
    assert starts == [0, 3, 6, 9, 12, 15, 0]
    assert result["offset_mapping"][5][-2] == (19, 20)
    with pytest.raises(UsageError, match="no room"):
        tokenizer(["中" * 10], ["天气"], max_length=10, stride=3)


def test_only_second_that_cannot_help_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = tokenizer_of("ErnieTokenizer")
    with caplog.at_level(logging.ERROR):
        result = tokenizer("中" * 10, "国", max_length=8, truncation="only_second")
    assert len(result["input_ids"]) == 14 and "left as they are" in caplog.text


@pytest.mark.parametrize("options", [{"padding": "no"}, {"truncation": "no"}])
def test_bad_choices(options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as caught:
        tokenizer_of("ErnieTokenizer")("中", **options)  # type: ignore[arg-type]
    assert caught.value.code == "bad-choice"


def test_padding_needs_a_pad_token() -> None:
    with pytest.raises(UsageError, match="pad token"):
        tokenizer_of("GPTChineseTokenizer")(["天", "天气"], padding=True)
