"""Vectors from what a model says of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.tasks.toy import INPUTS, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import TextExample
from zoo_cli.tasks.embedding.spec import EmbeddingOptions
from zoo_cli.tasks.embedding.task import EmbeddingTask

TEXTS = ["天地玄黄", "宇", "", "日月盈昃辰宿列张" * 3, "hello world 123", "寒来暑往"]


def make(**options: Any) -> EmbeddingTask:
    return EmbeddingTask(EmbeddingOptions(**options), tokenizer(), INPUTS)


def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
    """A row for each token that depends on all of them."""
    return {"last_hidden_state": np.stack([ids % 7 - 3.0, ids % 5 + ids.sum() % 3, ids % 2 + 1.0], axis=1)}


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_vectors_do_not_depend_on_the_batch(pooling: str) -> None:
    task = make(pooling=pooling)
    alone = predict(task, TEXTS, forward, batch_size=1)
    assert alone == predict(task, TEXTS, forward, batch_size=4)
    assert alone == predict(task, TEXTS[::-1], forward, batch_size=3)[::-1]


def test_pooling_and_length() -> None:
    text = "天地"
    ids = tokenizer().encode_batch([text])[0].ids
    hidden = forward(ids)["last_hidden_state"]
    for pooling, expected in (("mean", hidden.mean(axis=0)), ("cls", hidden[0])):
        (plain,) = predict(make(pooling=pooling, normalize=False), [text], forward)
        assert plain["embedding"] == pytest.approx(expected.tolist(), abs=1e-6) and plain["tokens"] == len(ids) == 4
        (unit,) = predict(make(pooling=pooling), [text], forward)
        assert unit["embedding"] == pytest.approx((expected / np.linalg.norm(expected)).tolist(), abs=1e-6)
    (nothing,) = predict(make(), [text], lambda ids: {"last_hidden_state": np.zeros((len(ids), 3))})
    assert nothing["embedding"] == [0, 0, 0]


def test_truncation_is_reported() -> None:
    six, seven = predict(make(max_length=8), ["天" * 6, "天" * 7], forward)
    assert "truncated" not in six and seven["truncated"] is True and seven["tokens"] == six["tokens"] == 8
    assert six["embedding"] == seven["embedding"]


@pytest.mark.parametrize("value", [3, None, [], {}, {"text": 1}, {"text": ["a"]}])
def test_what_is_no_text(value: Any) -> None:
    with pytest.raises(DataError):
        make().request(value)


def test_nothing_is_learnt() -> None:
    with pytest.raises(UsageError, match="neither learnt"):
        make().encode(TextExample("a"), True)
    with pytest.raises(UsageError, match="neither learnt"):
        make().metrics()
