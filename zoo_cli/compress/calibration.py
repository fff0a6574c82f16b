"""Ranges of activations, from training examples of all lengths that occur."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, helper

from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import DataError
from zoo_cli.data.batching import plan_batches
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS
from zoo_cli.tasks.base import Feature, Outputs, Task, answer_all

Arrays = dict[str, np.ndarray]
BINS = 2048
_POOL = 16
"""Features that are encoded for each one that is chosen."""
_SHARES = np.linspace(0.3, 1.0, 15)
"""Shares of the full range that `entropy` and `mse` try at either end."""
_LEVELS = 256


def choose_features(
    task: Task[Any], run: Callable[[Sequence[Feature]], list[Outputs]], examples: Iterable[Any], count: int, seed: int
) -> list[Feature]:
    """Features of training examples, evenly spread over the lengths that occur.

    A range that is found on texts of one length does not hold for others.

    Args:
        task: encodes the examples.
        run: computes what the model hands on from feature to feature, if it does (`Task.states`).
        examples: training examples.
        count: how many features.
        seed: of the draw.

    Raises:
        DataError: there are no examples (`no-calibration-data`).
    """
    rows = list(task.adapt(examples, training=False))
    order = np.random.default_rng(seed).permutation(len(rows))
    encoded = (feature for row in order for feature in _as_read(task, run, task.encode(rows[row], training=False)))
    pool = list(islice(encoded, count * _POOL))
    if not pool:
        raise DataError("no-calibration-data", "there are no training examples to calibrate with", fix="set data.train")
    pool.sort(key=lambda feature: feature["input_ids"].shape[-1])
    places = np.linspace(0, len(pool) - 1, min(count, len(pool))).round().astype(int)
    return [{name: pool[place][name] for name in task.graph_inputs} for place in places]


def _as_read(
    task: Task[Any], run: Callable[[Sequence[Feature]], list[Outputs]], features: list[Feature]
) -> list[Feature]:
    """The features of an example as the model gets them, with the states that those before leave."""
    if not task.states:
        return features
    seen: list[Feature] = []

    def watched(asked: list[Feature]) -> list[Outputs]:
        seen.extend(asked)
        return run(asked)

    for _ in answer_all([task.read(features)], watched):
        pass
    return seen


def batches(task: Task[Any], features: Sequence[Feature]) -> list[Arrays]:
    """Features as batches of like length."""
    shapes = np.array([feature["input_ids"].shape for feature in features], np.int64)
    plan = plan_batches(shapes, batch_tokens=DEFAULT_BATCH_TOKENS)
    return [task.stack([features[index] for index in indices]) for indices in plan]


def digest(features: Sequence[Feature]) -> str:
    """SHA-256 of features, to say what a model was calibrated with."""
    total = hashlib.sha256()
    for feature in features:
        for name in sorted(feature):
            total.update(name.encode() + repr(feature[name].shape).encode() + feature[name].tobytes())
    return total.hexdigest()


@dataclass
class Histogram:
    """The values that an activation took.

    Args:
        low: lowest value.
        high: highest value.
        counts: how many fell into each of `BINS` equal parts of the range.
    """

    low: float
    high: float
    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))

    def add(self, values: np.ndarray) -> None:
        span = self.high - self.low or 1.0
        places = ((values.ravel() - self.low) * (BINS / span)).astype(np.int64)
        self.counts += np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)

    @property
    def centres(self) -> np.ndarray:
        edges = np.linspace(self.low, self.high, BINS + 1)
        return (edges[1:] + edges[:-1]) / 2


def observe(model: ModelProto, names: Collection[str], inputs: Sequence[Arrays]) -> dict[str, Histogram]:
    """Run a float graph and count the values of some of its activations.

    Two passes, the first for the ends of the ranges, so that no activation is kept.

    Args:
        model: the graph.
        names: of the activations.
        inputs: batches.
    """
    names = sorted(set(names))
    session = _watching(model, names)
    ends = dict.fromkeys(names, (0.0, 0.0))
    for batch in inputs:
        for name, values in zip(names, session.run(None, batch), strict=True):
            low, high = ends[name]
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    histograms = {name: Histogram(*ends[name]) for name in names}
    for batch in inputs:
        for name, values in zip(names, session.run(None, batch), strict=True):
            histograms[name].add(values)
    return histograms


def find_moments(model: ModelProto, names: Collection[str], inputs: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Mean products of an activation's channels with one another, float64 [K, K], over all tokens; arguments as of
    `observe`."""
    names = sorted(set(names))
    session = _watching(model, names)
    sums: dict[str, Any] = dict.fromkeys(names, 0.0)
    rows = dict.fromkeys(names, 0)
    for batch in inputs:
        for name, values in zip(names, session.run(None, batch), strict=True):
            flat = values.reshape(-1, values.shape[-1]).astype(np.float64)
            sums[name] = sums[name] + flat.T @ flat
            rows[name] += len(flat)
    return {name: sums[name] / rows[name] for name in names}


def find_widths(model: ModelProto, names: Collection[str], inputs: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """The largest absolute value of each channel [K] of some activations; arguments as of `observe`."""
    names = sorted(set(names))
    session = _watching(model, names)
    found: dict[str, np.ndarray] = {}
    for batch in inputs:
        for name, values in zip(names, session.run(None, batch), strict=True):
            widths = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            found[name] = np.maximum(found.get(name, widths), widths)
    return found


def _watching(model: ModelProto, names: Sequence[str]) -> Any:
    """A session of the graph whose outputs are these activations."""
    import onnxruntime

    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = owned_cores()
    return onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])


def find_range(histogram: Histogram, method: str, percentile: float) -> tuple[float, float]:
    """Lowest and highest value that get an integer of their own; what is beyond is cut off. Zero is always inside.

    Args:
        histogram: of the activation.
        method: ``min_max`` keeps all, ``percentile`` the given share of the values, half of the rest at either end;
            ``mse`` makes the mean squared error least, ``entropy`` the divergence of the rounded values'
            distribution from that of the values (as TensorRT does).
        percentile: share of the values.
    """
    if method == "min_max":
        return histogram.low, histogram.high
    if method == "percentile":
        shares = np.cumsum(histogram.counts) / max(1, histogram.counts.sum())
        centres = histogram.centres
        rest = (1 - percentile) / 2
        low = centres[np.searchsorted(shares, rest)] if rest else histogram.low
        high = centres[min(BINS - 1, int(np.searchsorted(shares, 1 - rest)))] if rest else histogram.high
        return min(0.0, float(low)), max(0.0, float(high))
    loss = {"mse": _squared_error, "entropy": _divergence}[method]
    candidates = [(histogram.low * low, histogram.high * high) for low in _SHARES for high in _SHARES]
    losses = [loss(histogram, *ends) for ends in candidates]
    return candidates[int(np.argmin(losses))]


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    step = (high - low) / (_LEVELS - 1) or 1.0
    centres = histogram.centres
    rounded = np.clip(np.rint((centres - low) / step), 0, _LEVELS - 1) * step + low
    return float((histogram.counts * (centres - rounded) ** 2).sum())


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence; values cut off count at the nearest end."""
    step = (high - low) / (_LEVELS - 1) or 1.0
    clipped = np.clip(histogram.centres, low, high)
    inside = (histogram.centres >= low) & (histogram.centres <= high)
    if not inside.any():
        return float("inf")
    levels = np.rint((clipped - low) / step).astype(np.int64)
    places = np.flatnonzero(inside)
    first, last = int(places[0]), int(places[-1])
    truth = histogram.counts * inside
    truth[first] += histogram.counts[:first].sum()
    truth[last] += histogram.counts[last + 1 :].sum()
    # Each level's count spread evenly over its bins that hold anything, without what was cut off.
    occupied = (histogram.counts > 0) & inside
    totals = np.bincount(levels[inside], histogram.counts[inside], _LEVELS)
    sizes = np.bincount(levels[occupied], minlength=_LEVELS)
    guess = np.where(occupied, totals[levels] / np.maximum(1, sizes[levels]), 0.0)
    known = (truth > 0) & (guess > 0)
    if (truth[~known] > 0).any():
        guess = np.where(truth > 0, np.maximum(guess, 1e-9), guess)
        known = truth > 0
    p, q = truth[known] / truth.sum(), guess[known] / guess.sum()
    return float((p * np.log(p / q)).sum())
