"""Weights in blocks: rounding within half a step, errors made up for, one table for lookup and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from zoo_cli.compress.onnx_int8 import count_integer_products, find_products, quantize, tables
from zoo_cli.compress.onnx_nbits import BLOCK, encode, quantize_weights, weight_only_products, weight_only_tables

V, H = 300, 64
RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(V, H)).astype(np.float32)
WEIGHT = RANDOM.normal(size=(H, H)).astype(np.float32)
IDS = RANDOM.integers(0, V, (2, 5))


def tied(width: int = H) -> onnx.ModelProto:
    """A lookup, a product, and the scores of the vocabulary by the same table."""
    table, weight = TABLE[:, :width], WEIGHT[:width, :width]
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["words"]),
        helper.make_node("MatMul", ["words", "weight"], ["hidden"]),
        helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["hidden", "turned"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tied",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", "length", V])],
        [
            numpy_helper.from_array(np.ascontiguousarray(each), name)
            for name, each in (("table", table), ("weight", weight))
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(model: onnx.ModelProto) -> np.ndarray:
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"ids": IDS})[0]


def error(model: onnx.ModelProto, width: int = H) -> float:
    expected = run(tied(width))
    return float(np.sqrt(np.mean((run(model) - expected) ** 2) / np.mean(expected**2)))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(1, 3 * BLOCK), st.sampled_from([4, 8]), st.integers(0, 1000))
def test_the_nearest_integer_is_half_a_step_away(count: int, size: int, bits: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)
    found = encode(rows, bits)
    assert found.integers.max() < 2**bits and found.integers.shape[1] % BLOCK == 0
    steps = np.repeat(found.scales, BLOCK, axis=1)[:, :size]
    # The zero point is an integer as well, so that the ends of a block may be cut by half a step.
    assert (np.abs(found.decoded()[:, :size] - rows) <= steps * 1.01).all()
    assert not found.decoded()[:, size:].any()


def test_errors_are_made_up_for() -> None:
    """GPTQ's weights are further from the weights, but their products are nearer."""
    inputs = RANDOM.normal(size=(2000, H)) @ RANDOM.normal(size=(H, H))  # channels that depend on one another
    moments = inputs.T @ inputs / len(inputs)
    plain, better = encode(WEIGHT.T, 4).decoded(), encode(WEIGHT.T, 4, moments).decoded()
    errors = [float(np.mean((inputs @ (rows.T - WEIGHT)) ** 2)) for rows in (plain, better)]
    assert errors[1] < 0.6 * errors[0]
    assert np.abs(better - WEIGHT.T).mean() > np.abs(plain - WEIGHT.T).mean()


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    moments = np.diag(np.r_[np.zeros(H // 2), np.ones(H // 2)])
    found = encode(WEIGHT.T, 8, moments).decoded()
    assert np.abs(found - WEIGHT.T).max() < 0.1


@pytest.mark.parametrize(("bits", "most"), [(8, 0.02), (4, 0.15)])
def test_one_table_for_lookup_and_scores(bits: int, most: float, tmp_path: Path) -> None:
    model = tied()
    products = weight_only_products(model)
    assert list(products) == ["weight", "table"] and products["table"].transposition is not None
    result = quantize_weights(model, list(products), bits)
    assert 0 < error(result) < most
    assert result.ByteSize() < 0.4 * model.ByteSize()
    onnx.save(result, str(tmp_path / "model.onnx"))
    assert count_integer_products(tmp_path / "model.onnx") == 2


def test_rows_that_are_no_whole_blocks_stay_in_float() -> None:
    model = tied(width=48)
    assert list(weight_only_products(model)) == ["weight"]
    assert weight_only_tables(model) == []
    result = quantize_weights(model, ["weight"], 8)  # a product may end in half a block
    assert 0 < error(result, width=48) < 0.02


@pytest.mark.parametrize("ranges", [None, {"words": (-5.0, 5.0), "hidden": (-50.0, 50.0)}])
@pytest.mark.parametrize("pairs", [False, True])
def test_a_tied_table_in_eight_bits(ranges: dict[str, tuple[float, float]] | None, pairs: bool, tmp_path: Path) -> None:
    if pairs and ranges is None:
        pytest.skip("pairs need ranges")
    model = tied()
    assert list(find_products(model)) == ["weight", "table"] and tables(model) == []
    result = quantize(model, ["weight", "table"], ranges, pairs)
    assert 0 < error(result) < 0.03
    assert result.ByteSize() < 0.35 * model.ByteSize()
    onnx.save(result, str(tmp_path / "model.onnx"))
    assert count_integer_products(tmp_path / "model.onnx") == 2
    alone = quantize(model, ["weight"], ranges, pairs)
    assert "table" in {tensor.name for tensor in alone.graph.initializer}
