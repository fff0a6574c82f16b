"""Windows lose nothing, and every token is in the core of exactly one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.toy import tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.tasks.features import model_inputs, tokens_of, windows


@given(st.integers(0, 120), st.integers(8, 40), st.integers(1, 50), st.booleans())
def test_windows_cover_the_text(length: int, max_length: int, stride: int, second: bool) -> None:
    text = ("天地玄黄宇宙洪荒" * 15)[:length]
    encoding = tokenizer().encode_batch(["问"], [text])[0] if second else tokenizer().encode_batch([text])[0]
    part = int(second)
    found = windows(encoding, part, max_length, stride)
    whole = encoding.ids[tokens_of(encoding, part)]
    around = len(encoding.ids) - len(whole)

    assert [edge for window in found for edge in (window.core_start, window.core_stop)] == [
        0,
        *(edge for window in found[:-1] for edge in [window.core_stop] * 2),
        len(whole),
    ]
    for window in found:
        ids = window.encoding.ids
        assert len(ids) <= max_length
        assert len(ids) == around + window.stop - window.start
        np.testing.assert_array_equal(
            ids[window.place : window.place + window.stop - window.start], whole[window.start : window.stop]
        )
        np.testing.assert_array_equal(ids[window.core], whole[window.core_start : window.core_stop])
        assert ids[0] == tokenizer().cls_token_id and ids[-1] == tokenizer().sep_token_id
        assert window.start <= window.core_start <= window.core_stop <= window.stop
    room = max_length - around
    for left, right in pairwise(found):
        assert right.start - left.start == min(stride, room)


def test_a_core_token_has_the_most_context() -> None:
    encoding = tokenizer().encode_batch(["天地玄黄宇宙洪荒" * 8])[0]
    found = windows(encoding, 0, 22, 10)
    assert len(found) > 4
    for index in range(64):
        context = [min(index - w.start, w.stop - 1 - index) for w in found]
        (owner,) = (k for k, w in enumerate(found) if w.core_start <= index < w.core_stop)
        assert context[owner] == max(context) or owner in (0, len(found) - 1)


def test_no_room() -> None:
    encoding = tokenizer().encode_batch(["问题" * 10], ["天地"])[0]
    with pytest.raises(DataError) as caught:
        windows(encoding, 1, 16, 4)
    assert caught.value.code == "no-room"


def test_inputs_by_name() -> None:
    encoding = tokenizer().encode_batch(["天"], ["地玄"])[0]
    feature = model_inputs(encoding, ("position_ids", "input_ids", "attention_mask", "token_type_ids"))
    assert list(feature) == ["position_ids", "input_ids", "attention_mask", "token_type_ids"]
    assert feature["position_ids"].tolist() == [0, 1, 2, 3, 4, 5]
    assert feature["token_type_ids"].tolist() == [0, 0, 0, 1, 1, 1]
    assert feature["attention_mask"].tolist() == [1] * 6
    with pytest.raises(UsageError):
        model_inputs(encoding, ("images",))
