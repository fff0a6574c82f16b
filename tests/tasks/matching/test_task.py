"""Choosing the most similar text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.tasks.multiple_choice.test_task import rows, run
from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.tasks.base import answer_all
from zoo_cli.tasks.matching.spec import MatchingOptions
from zoo_cli.tasks.matching.task import MatchingTask

EXAMPLE = ChoiceExample("天地", "", ["坏", "好人"], 1)


def make(**options: Any) -> MatchingTask:
    return MatchingTask(MatchingOptions(**options), tokenizer(), INPUTS)


def test_candidates_are_paired_with_the_text() -> None:
    task = make(num_choices=2)
    (feature,) = task.encode(EXAMPLE, training=True)
    assert rows(feature) == ["[CLS]天地[SEP]坏[SEP]", "[CLS]天地[SEP]好人[SEP]"]
    assert feature["labels"] == 1


def test_answers() -> None:
    task = make(all_scores=True, max_length=16)
    requests = [task.request_of(EXAMPLE), {"text": "天" * 30, "candidates": ["好"]}]
    first, second = answer_all([task.steps(task.request(request)) for request in requests], run)
    assert first.keys() == {"index", "score", "scores"} and first["index"] == 1
    assert first["scores"] == pytest.approx(np.exp([0, 2]) / np.exp([0, 2]).sum())
    assert second == {"index": 0, "score": 1.0, "scores": [1.0], "truncated": True}


@pytest.mark.parametrize("value", ["天", {"text": "天"}, {"candidates": ["天"]}, {"text": "天", "candidates": []}])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError):
        make().request(value)
