"""Batches fit into the memory that there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_cli.base.errors import MemoryLimitError
from zoo_cli.runtime.loading import open_bundle
from zoo_cli.serve.memory import Ceiling, calibrate, feature_of, memory_in_use, memory_limit


def test_rows_by_length() -> None:
    ceiling = Ceiling(1024, {16: 1_000, 64: 10_000, 512: 100_000}, room=200_000)
    assert ceiling(16) == 64  # by tokens
    assert ceiling(64) == 16 and ceiling(100) == 2  # by memory, measured at the next greater length
    assert ceiling(512) == 2 and ceiling(2000) == 1 and Ceiling(1024)(0) == 1024
    # A question with many choices is longer than what was measured.
    assert ceiling.fits(1024) and not ceiling.fits(1025) and Ceiling(1024).fits(10**9)


def test_limit_of_a_container(tmp_path: Path) -> None:
    machine = memory_limit(tmp_path)
    assert machine is not None and machine > 100_000_000
    (tmp_path / "memory.max").write_text("50000000\n")
    assert memory_limit(tmp_path) == 45_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit(tmp_path) == machine


def test_calibration_measures_and_refuses_what_cannot_fit(bundles: dict[str, Path]) -> None:
    bundle = open_bundle(bundles["single"])
    runner = bundle.runner()
    free = calibrate(runner, bundle.task, "a", 1024, None)
    assert list(free.row_bytes) == [16, 32] and free(32) == 32
    tight = calibrate(runner, bundle.task, "a", 1024, memory_in_use() + 50_000_000)
    assert 1 <= tight(32) <= 32
    with pytest.raises(MemoryLimitError):
        calibrate(runner, bundle.task, "a", 1024, memory_in_use() // 2)


def test_a_request_without_text_shows_nothing(bundles: dict[str, Path]) -> None:
    task = open_bundle(bundles["uie"]).task
    assert feature_of(task, {"text": "", "schema": "人物"}) is None
    feature = feature_of(task, {"text": "王芳", "schema": "人物"})
    assert feature is not None and feature["input_ids"].ndim == 1
