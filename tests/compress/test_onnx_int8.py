"""Integer graphs: near the float graph, smaller, and really computed with integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from zoo_cli.compress.onnx_int8 import count_integer_products, quantize, tables, weight_products
from zoo_cli.compress.scoring import relative_error
from zoo_cli.export.parity import random_batch
from zoo_cli.runtime.loading import open_bundle
from zoo_cli.tasks.base import Task


@pytest.fixture(scope="module")
def graph(float_bundle: Path) -> onnx.ModelProto:
    return onnx.load(str(float_bundle / "onnx" / "fp32" / "model.onnx"))


@pytest.fixture(scope="module")
def task(float_bundle: Path) -> Task[Any]:
    return open_bundle(float_bundle).task


def outputs(model: onnx.ModelProto, batch: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {value.name: batch[value.name] for value in session.get_inputs()})
    return np.concatenate([np.ravel(each) for each in found])


def wide(graph: onnx.ModelProto) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(weight_products(graph).values(), (-8.0, 8.0))


def test_what_can_be_quantised(graph: onnx.ModelProto) -> None:
    products, lookups = weight_products(graph), tables(graph)
    assert len(products) == 2 * 6 + 2  # two layers of six, and the two pointers
    assert lookups
    assert not set(products) & set(lookups)


@pytest.mark.parametrize(("given", "pairs"), [(False, False), (True, False), (True, True)])
def test_all_products_become_integer(
    graph: onnx.ModelProto, task: Task[Any], tmp_path: Path, given: bool, pairs: bool
) -> None:
    names = [*weight_products(graph), *tables(graph)]
    result = quantize(graph, names, wide(graph) if given else None, pairs)
    onnx.save(result, str(tmp_path / "model.onnx"))
    assert count_integer_products(tmp_path / "model.onnx") == len(weight_products(graph))
    assert result.ByteSize() < 0.35 * graph.ByteSize()
    batch = random_batch(task, 100, 3, 20, seed=0)
    error = relative_error(outputs(result, batch), outputs(graph, batch))
    assert 0 < error < 0.05


def test_only_the_named_ones_change(graph: onnx.ModelProto, tmp_path: Path) -> None:
    first = next(iter(weight_products(graph)))
    result = quantize(graph, [first])
    onnx.save(result, str(tmp_path / "model.onnx"))
    assert count_integer_products(tmp_path / "model.onnx") == 1
    assert {tensor.name for tensor in graph.graph.initializer} - {
        tensor.name for tensor in result.graph.initializer
    } == {first}
    assert quantize(graph, []).graph == graph.graph


def test_tables_lose_at_most_half_a_step_a_row(graph: onnx.ModelProto) -> None:
    (name, *_) = tables(graph)
    value = onnx.numpy_helper.to_array(next(each for each in graph.graph.initializer if each.name == name))
    result = {each.name: onnx.numpy_helper.to_array(each) for each in quantize(graph, [name]).graph.initializer}
    rows = result[f"{name}_int8"].astype(np.float32) * result[f"{name}_scales"]
    assert (np.abs(rows - value) <= np.abs(value).max(axis=1, keepdims=True) / 254 + 1e-6).all()
    assert not rows[~value.any(axis=1)].any()


def test_float_graph_has_no_integer_products(float_bundle: Path) -> None:
    assert count_integer_products(float_bundle / "onnx" / "fp32" / "model.onnx") == 0


def test_the_graph_itself_is_left_alone(graph: onnx.ModelProto) -> None:
    before = graph.SerializeToString(deterministic=True)
    quantize(graph, [*weight_products(graph), *tables(graph)])
    assert graph.SerializeToString(deterministic=True) == before


def test_padding_does_not_change_static_answers(graph: onnx.ModelProto, task: Task[Any]) -> None:
    result = quantize(graph, list(weight_products(graph)), wide(graph))
    batch = random_batch(task, 100, 1, 12, seed=3)
    padded = {name: np.pad(value, ((0, 0), (0, 9))) for name, value in batch.items()}
    session = onnxruntime.InferenceSession(result.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    short, long = (session.run(None, {name: each[name] for name in names}) for each in (batch, padded))
    for one, other in zip(short, long, strict=True):
        np.testing.assert_allclose(one, other[:, :12], atol=1e-5)
