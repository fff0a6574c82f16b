"""Ranges: what each method keeps of a distribution, and what texts they are found on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import artifacts
from zoo_cli.base.errors import DataError
from zoo_cli.compress import calibration
from zoo_cli.compress.calibration import Histogram, find_range
from zoo_cli.compress.onnx_int8 import weight_products
from zoo_cli.data.parts import read_parts
from zoo_cli.runtime.loading import open_bundle

METHODS = ["min_max", "percentile", "entropy", "mse"]


def histogram(values: np.ndarray) -> Histogram:
    found = Histogram(min(0.0, float(values.min())), max(0.0, float(values.max())))
    found.add(values)
    return found


def error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of 256 levels on the values themselves."""
    step = (high - low) / 255
    return float(np.mean((np.clip(np.rint((values - low) / step), 0, 255) * step + low - values) ** 2))


NORMAL = np.random.default_rng(0).normal(size=100_000)
OUTLIERS = np.concatenate([NORMAL, [60.0]])


def test_min_max_keeps_all() -> None:
    assert find_range(histogram(OUTLIERS), "min_max", 0.9999) == (OUTLIERS.min(), 60.0)


def test_percentile_cuts_outliers() -> None:
    low, high = find_range(histogram(OUTLIERS), "percentile", 0.999)
    assert high < 5
    outside = np.mean((low - 0.05 > OUTLIERS) | (high + 0.05 < OUTLIERS))
    assert outside <= 0.0011


def test_whole_percentile_is_the_whole_range() -> None:
    assert find_range(histogram(NORMAL), "percentile", 1.0) == find_range(histogram(NORMAL), "min_max", 1.0)


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_heavy_tails_are_cut(method: str) -> None:
    values = np.random.default_rng(1).standard_t(3, size=200_000)
    low, high = find_range(histogram(values), method, 0.9999)
    assert low > values.min()
    assert high < values.max()


def test_mse_is_never_worse_than_min_max() -> None:
    for seed, degrees in enumerate((3, 5, 30)):
        values = np.random.default_rng(seed).standard_t(degrees, size=50_000)
        counted = histogram(values)
        # The histogram knows values to half of a bin only.
        bin_error = ((counted.high - counted.low) / calibration.BINS) ** 2 / 12
        best = error(values, *find_range(counted, "mse", 0.9999))
        assert best <= error(values, *find_range(counted, "min_max", 0.9999)) * 1.02 + bin_error


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50),
    st.sampled_from(METHODS),
    st.floats(0.9, 1.0),
)
def test_zero_is_inside_every_range(values: list[float], method: str, percentile: float) -> None:
    counted = histogram(np.array(values))
    low, high = find_range(counted, method, percentile)
    assert counted.low - 1e-6 <= low <= 0 <= high <= counted.high + 1e-6


def test_texts_of_all_lengths_are_chosen(float_bundle: Path) -> None:
    loaded = artifacts.tiny_recipe("uie")
    examples = read_parts(loaded.recipe.data, 0, ("train",))["train"]
    bundle = open_bundle(float_bundle, threads=1)
    task, run = bundle.task, bundle.runner()
    lengths = sorted(
        feature["input_ids"].size for example in task.adapt(examples, False) for feature in task.encode(example, False)
    )
    chosen = calibration.choose_features(task, run, examples, 16, seed=1)
    found = [feature["input_ids"].size for feature in chosen]
    assert len(chosen) == 16
    assert found == sorted(found)
    assert found[0] <= lengths[len(lengths) // 10]
    assert found[-1] >= lengths[-len(lengths) // 10]
    assert set(chosen[0]) == set(task.inputs)
    assert calibration.digest(chosen) == calibration.digest(
        calibration.choose_features(task, run, examples, 16, seed=1)
    )
    assert calibration.digest(chosen) != calibration.digest(
        calibration.choose_features(task, run, examples, 16, seed=2)
    )


def test_no_texts(float_bundle: Path) -> None:
    bundle = open_bundle(float_bundle, threads=1)
    with pytest.raises(DataError) as caught:
        calibration.choose_features(bundle.task, bundle.runner(), [], 16, seed=1)
    assert caught.value.code == "no-calibration-data"


def test_observed_ranges_are_those_of_the_activations(float_bundle: Path) -> None:
    model = onnx.load(str(float_bundle / "onnx" / "fp32" / "model.onnx"))
    bundle = open_bundle(float_bundle, threads=1)
    loaded = artifacts.tiny_recipe("uie")
    examples = read_parts(loaded.recipe.data, 0, ("train",))["train"]
    features = calibration.choose_features(bundle.task, bundle.runner(), examples, 8, seed=1)
    batches = calibration.batches(bundle.task, features)
    names = set(weight_products(model).values())
    found = calibration.observe(model, names, batches)
    assert set(found) == names
    assert len({histogram.counts.sum() for histogram in found.values()}) <= 2  # width, and four times the width
    for each in found.values():
        assert each.low < 0 < each.high
        assert each.counts[[0, -1]].all() or each.low == 0
