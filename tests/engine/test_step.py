"""A step of several passes: each average of an objective is over the labels of all passes, as in one large pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models  # noqa: E402
from zoo_cli.engine.batches import Arrays, Batch, Group  # noqa: E402
from zoo_cli.engine.checkpoint import Progress  # noqa: E402
from zoo_cli.engine.distributed import World  # noqa: E402
from zoo_cli.engine.objectives.masked_lm import MaskedLanguageModel  # noqa: E402
from zoo_cli.engine.objectives.prefix_lm import PrefixLanguageModel  # noqa: E402
from zoo_cli.engine.objectives.pretraining import Pretraining  # noqa: E402
from zoo_cli.engine.objectives.replaced_tokens import ReplacedTokens  # noqa: E402
from zoo_cli.engine.optimizer import AdamW  # noqa: E402
from zoo_cli.engine.step import Stepper, StepReport  # noqa: E402
from zoo_cli.recipe.schema import TrainSection  # noqa: E402
from zoo_cli.registry import family  # noqa: E402

MASKED = (1, 7, 0, 2)
"""Masked tokens of each row."""
LENGTHS = (5, 12, 9, 12)
PASSES = ([0], [1, 3], [2])
"""Their numbers of masked tokens, of tokens and of rows are in other proportions; one has nothing masked."""


def rows(chosen: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids, what is seen of them, and what is masked."""
    ids = np.random.default_rng(0).integers(5, 100, (4, 12))
    seen = np.arange(12) < np.array(LENGTHS)[:, None]
    masked = np.arange(12) < np.array(MASKED)[:, None]
    return (ids * seen)[chosen], seen[chosen], masked[chosen]


def masked_pairs(chosen: list[int]) -> Arrays:
    ids, seen, masked = rows(chosen)
    places = np.flatnonzero(masked)
    if not len(places):
        places = np.zeros(1, np.int64)
    return {
        "input_ids": np.where(masked, 3, ids),
        "attention_mask": seen.astype(np.int64),
        "masked_positions": places,
        "labels": np.where(masked.reshape(-1)[places], ids.reshape(-1)[places], -100),
        "next_sentence_label": np.array([0, 1, 1, 0])[chosen],
    }


def continuations(chosen: list[int]) -> Arrays:
    pairs = masked_pairs(chosen)
    del pairs["next_sentence_label"]
    return {**pairs, "continues": (pairs["masked_positions"] % 12 > 2).astype(np.int64)}


def replaced(chosen: list[int]) -> Arrays:
    ids, seen, masked = rows(chosen)
    return {
        "input_ids": np.where(masked, 3, ids),
        "attention_mask": seen.astype(np.int64),
        "raw_input_ids": ids,
        "generator_labels": np.where(masked, ids, -100),
    }


class Rows:
    """Batches of the rows; implements `zoo_cli.engine.batches.Batches`."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def plan(self, epoch: int) -> list[np.ndarray]:
        raise AssertionError("steps are given their passes")

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        return Batch(self._make(indices.tolist()), 1)

    def describe(self, indices: np.ndarray) -> list[str]:
        return [str(index) for index in indices]

    def fingerprint(self) -> str:
        return ""


def step(
    folder: Path, name: str, architecture: str, objective: Pretraining, make: Any, passes: list[list[int]]
) -> tuple[StepReport, dict[str, np.ndarray]]:
    """One step with these passes: its report, and the weights behind it."""
    paddle.seed(1)
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = models.build(architecture, {**family(name).tiny, **still, "initializer_range": 0.3})
    model.use_softmax_sample = False  # of ELECTRA's pair: what is drawn depends on the pass
    model.train()
    options = TrainSection(learning_rate=0.1, schedule="constant", adam_epsilon=1.0)
    stepper = Stepper(model, objective, Rows(make), AdamW(model, options), options, 10, World(), folder)
    members = [np.array(chosen) for chosen in passes]
    report = stepper.step(Group(0, 0, members, len(members)), Progress(len(members), "", loss_scale=1.0), 0)
    return report, {key: value.numpy() for key, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "architecture", "objective", "make"),
    [
        ("bert", "BertForPretraining", MaskedLanguageModel("nsp"), masked_pairs),
        ("unimo", "UNIMOLMHeadModel", PrefixLanguageModel(), continuations),
        ("electra", "ElectraForTotalPretraining", ReplacedTokens(), replaced),
    ],
)
def test_passes_of_a_step_equal_one_large_pass(
    tmp_path: Path, name: str, architecture: str, objective: Pretraining, make: Any
) -> None:
    large, expected = step(tmp_path, name, architecture, objective, make, [[row for each in PASSES for row in each]])
    small, weights = step(tmp_path, name, architecture, objective, make, list(PASSES))
    assert len(large.losses) == 3
    assert small.losses == pytest.approx(large.losses, rel=1e-5)
    assert small.norm == pytest.approx(large.norm, rel=1e-5)
    for key, value in expected.items():
        np.testing.assert_allclose(weights[key], value, rtol=0, atol=1e-6, err_msg=key)


def test_a_step_without_any_label_changes_nothing(tmp_path: Path) -> None:
    def nothing(chosen: list[int]) -> Arrays:
        arrays = masked_pairs(chosen)
        return {**arrays, "labels": np.full_like(arrays["labels"], -100), "next_sentence_label": np.full(1, -100)}

    objective = MaskedLanguageModel("nsp")
    before = step(tmp_path, "bert", "BertForPretraining", objective, nothing, [[0]])[1]
    after = step(tmp_path, "bert", "BertForPretraining", objective, nothing, [[0], [1]])[1]
    assert all((before[key] == value).all() for key, value in after.items())
