"""The share of the machine's peak in progress line and metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.toy import build, fit
from zoo_cli.engine.throughput import measured_peak, operations_of_token
from zoo_cli.recipe.schema import TrainSection


def test_the_peak_is_that_of_a_processor() -> None:
    assert 1e8 < measured_peak("float32") < 1e15
    assert measured_peak("float32") == measured_peak("float32")  # measured once


def test_operations_are_those_of_the_layers() -> None:
    """Two layers of 16 x 32 and 32 x 16 weights; each is used once forwards and twice backwards, adding and
    multiplying."""
    assert operations_of_token(build()) == 2 * (2 * 16 * 32) * 3 * 2


def test_metrics_have_the_share(tmp_path: Path) -> None:
    model = build()
    fit(tmp_path, TrainSection(max_steps=4, log_steps=2, batch_size=8), model)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["kind"] == "train"]
    assert len(train) == 2
    for line in train:
        used = line["tokens_per_second"] * operations_of_token(model)
        assert line["peak_share"] == pytest.approx(used / measured_peak("float32"), abs=1e-4)
