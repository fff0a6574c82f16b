"""Scores of pretraining beside those of one who does not look."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli.engine.objectives.pretraining import Term  # noqa: E402
from zoo_cli.engine.objectives.tally import Tally  # noqa: E402


def term(logits: list[object], labels: list[object], chance: float | None = None) -> Term:
    return Term("x", paddle.zeros([]), paddle.to_tensor(logits, dtype="float32"), paddle.to_tensor(labels), 1.0, chance)


def test_the_baseline_of_a_detector_says_always_what_is_most_frequent() -> None:
    tally = Tally()
    tally.add(term([[1, -1, -1, 3]], [[1, 0, 0, -100]]))
    tally.add(term([[-1, -1, 2]], [[1, 0, 0]]))
    shares = tally.shares()
    assert shares["accuracy"] == pytest.approx(4 / 6)
    assert shares["baseline"] == pytest.approx(4 / 6)  # four of six are not replaced
    assert (shares["precision"], shares["recall"], shares["f1"]) == (0.5, 0.5, 0.5)


def test_the_baseline_of_classes_and_of_shuffled_candidates() -> None:
    logits = np.eye(3)[[0, 1, 2, 2]].tolist()
    classes, candidates = Tally(), Tally()
    classes.add(term(logits, [0, 1, 1, -100]))
    candidates.add(term(logits, [0, 0, 0, -100], chance=1 / 3))
    assert classes.shares() == {"accuracy": pytest.approx(2 / 3), "baseline": pytest.approx(2 / 3)}
    # The right one is always the first, but nobody knows: there is no more to it than a guess.
    assert candidates.shares() == {"accuracy": pytest.approx(1 / 3), "baseline": pytest.approx(1 / 3)}


def test_nothing_to_count() -> None:
    assert Tally().shares() == {"accuracy": 0.0, "baseline": 0.0}
