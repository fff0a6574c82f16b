"""Planned memory against that of real training steps, and what fits where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zoo_cli import registry
from zoo_cli.base.errors import UsageError
from zoo_cli.cli.app import app
from zoo_cli.models.config import parse
from zoo_cli.models.sizes import parameter_count, parameter_shapes
from zoo_cli.pipeline.activations import Batch, activation_bytes
from zoo_cli.pipeline.plan import Layout, Subject, layouts, memory_of, parse_bytes, plan, subject_of
from zoo_cli.recipe.loading import load_recipe, recipe_names

ROOT = Path(__file__).parents[2]
SIZES = {
    "vocab_size": 1000,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 256,
}
BATCH = Batch(rows=8, length=128)
CASES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("bert", "BertForTokenClassification", {}, False),
    ("bert", "BertForTokenClassification", {}, True),
    ("gpt", "GPTForCausalLM", {}, False),
    ("gpt", "GPTForCausalLM", {}, True),
    ("gpt", "GPTForCausalLM", {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, False),
    ("unified_transformer", "UnifiedTransformerLMHeadModel", {}, False),
    ("unimo", "UNIMOLMHeadModel", {}, True),
    ("ernie_doc", "ErnieDocForTokenClassification", {"memory_len": 64}, False),
    ("electra", "ElectraForTokenClassification", {"embedding_size": 64}, False),
]


def values_of(family: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {**registry.family(family).tiny, **SIZES, **changes}


def measure() -> None:
    """For each case the largest number of bytes that two forward passes and an update allocate; run as a program."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    import gc

    import numpy as np
    from paddle.base import core

    from tests.pipeline.training import step_of
    from zoo_cli import models

    rng = np.random.default_rng(0)
    for family, architecture, changes, recompute in CASES:
        gc.collect()
        before = core.host_memory_stat_current_value("Allocated", 0)
        model = models.build(architecture, values_of(family, changes))
        shape = (BATCH.rows, BATCH.length)
        labels = rng.integers(0, 2 if "Classification" in architecture else 1000, shape)
        arrays = {"input_ids": rng.integers(5, 1000, shape), "labels": labels}
        if family in ("unimo", "unified_transformer"):
            arrays["attention_mask"] = np.ones((BATCH.rows, 1, BATCH.length, BATCH.length), np.int64)
        for name, size in model.config.state_shapes.items():
            arrays[name] = np.zeros((BATCH.rows, *size), np.float32)
        step = step_of(model, arrays, recompute)
        step()  # makes the optimiser state
        core.host_memory_stat_reset_peak_value("Allocated", 0)
        step()
        print(json.dumps(core.host_memory_stat_peak_value("Allocated", 0) - before), flush=True)
        del model, step


@pytest.fixture(scope="module")
def measured() -> list[int]:
    code = "from tests.pipeline.test_plan import measure; measure()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.splitlines() if line.isdigit()]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_plan_agrees_with_the_memory_of_a_real_step(measured: list[int], number: int) -> None:
    family, architecture, changes, recompute = CASES[number]
    config = parse(registry.family(family).config, values_of(family, changes))
    scored = 0 if "Classification" in architecture else BATCH.tokens
    subject = Subject(architecture, config, Batch(BATCH.rows, BATCH.length, scored))
    layout = Layout(data=1, tensor=1, sharding=0, recompute=recompute, precision="float32")
    planned = memory_of(subject, parameter_shapes(architecture, config), layout)
    assert planned.total == pytest.approx(measured[number], rel=0.1)
    assert planned.activations == pytest.approx(measured[number] - planned.total + planned.activations, rel=0.15)


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_every_recipe_can_be_planned(name: str) -> None:
    loaded = load_recipe(name)
    report = plan(loaded, devices=4, memory=parse_bytes("80GiB"))
    assert report["parameters"] == parameter_count(parameter_shapes(report["architecture"], subject_of(loaded).config))
    assert {row["data"] * row["tensor"] for row in report["layouts"]} == {4}
    assert all(row["total"] > 0 and row["fits"] == (row["total"] <= 72 * 2**30) for row in report["layouts"])


def test_tiny_recipes_have_the_vocabulary_of_the_sample() -> None:
    assert subject_of(load_recipe("gpt/pretrain", tiny=True)).config.vocab_size != 120


def test_each_means_saves_what_it_is_for() -> None:
    """Sharding stages, tensor parallelism, recomputation and lower precision only ever take memory away."""
    loaded = load_recipe("gpt/pretrain", ["model.init=scratch:gpt3-1.3B-en"])
    subject = subject_of(loaded)
    shapes = parameter_shapes(subject.architecture, subject.config)

    def needed(**changes: Any) -> Any:
        base = {"data": 4, "tensor": 1, "sharding": 0, "recompute": False, "precision": "float32"}
        return memory_of(subject, shapes, Layout(**{**base, **changes}))

    base = needed()
    assert base.weights == 4 * parameter_count(shapes)
    assert base.optimizer == 2 * base.weights
    assert needed(sharding=1).optimizer == base.optimizer / 4
    assert needed(sharding=2).gradients < base.gradients == needed(sharding=1).gradients
    assert needed(sharding=3).weights < base.weights / 3
    assert needed(recompute=True).activations < base.activations / 4
    assert needed(precision="bfloat16").activations < base.activations
    halved = needed(data=2, tensor=2)
    assert base.weights / 2 < halved.weights < base.weights * 0.55
    assert base.activations / 2 < halved.activations < base.activations


def test_layers_are_divided_only_where_heads_come_out_even() -> None:
    config = parse(registry.family("gpt").config, {"hidden_size": 48, "num_attention_heads": 6})
    assert {layout.tensor for layout in layouts(config, 4)} == {1, 2}
    bert = parse(registry.family("bert").config, {})
    assert {layout.tensor for layout in layouts(bert, 4)} == {1}


def test_activations_grow_with_rows_and_length() -> None:
    config = parse(registry.family("gpt").config, SIZES)
    sizes = [
        activation_bytes(config, Batch(rows, length, rows * length), tensor=1, recompute=False, precision="float32")
        for rows, length in ((1, 64), (2, 64), (2, 128))
    ]
    assert sizes[1] == 2 * sizes[0] and sizes[2] > 2 * sizes[1]


@pytest.mark.parametrize(
    "text, size",
    [("40GiB", 40 * 2**30), ("40GB", 40 * 10**9), (" 1.5 kb", 1500), ("2TIB", 2**41), ("80MiB", 80 * 2**20), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["40", "GiB", "-1GiB", "40 gigs", "", "0GiB", "1e3GB", "40Gi"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no size of memory"):
        parse_bytes(text)


def test_command_line() -> None:
    runner = CliRunner()
    arguments = ["plan", "--recipe", "gpt/pretrain.yaml", "--devices", "2", "--memory", "16GiB"]
    report = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout.splitlines()[-1])
    assert report["parameters"] == 354_871_296
    table = runner.invoke(app, arguments).stdout
    assert table.startswith("data\ttensor") and len(table.splitlines()) >= len(report["layouts"]) + 1
    small = runner.invoke(app, [*arguments[:-1], "1GiB"])
    assert "no layout fits" in small.output
