"""Rounding in training: the levels of the integer graph, gradients that pass, and ranges that learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle import nn

from tests.models.support import batch, tiny
from zoo_cli.compress.fake_quant import (
    LEVELS,
    QUANTERS,
    LearnedStep,
    MovingMinMax,
    Pact,
    QuantizedLinear,
    QuantizedModel,
    round_weight,
)
from zoo_cli.registry import family

X = np.linspace(-2.03, 6.1, 101, dtype=np.float32)


def tensor(values: Any, learns: bool = True) -> paddle.Tensor:
    return paddle.to_tensor(values, stop_gradient=not learns)


@pytest.mark.parametrize("kind", QUANTERS)
def test_values_are_on_the_grid_of_the_integer_graph(kind: str) -> None:
    quanter = QUANTERS[kind](-1.0, 4.0)
    low, high = (end.item() for end in quanter.ends())
    step = (high - low) / (LEVELS - 1)
    zero = np.rint(-low / step)
    expected = (np.clip(np.rint(X / step) + zero, 0, LEVELS - 1) - zero) * step
    np.testing.assert_allclose(quanter(tensor(X), False).numpy(), expected, atol=1e-5)
    assert quanter(tensor(np.zeros(3, np.float32)), False).abs().max().item() == 0


@pytest.mark.parametrize("kind", QUANTERS)
def test_gradients_pass_inside_and_stop_outside(kind: str) -> None:
    x = tensor(X)
    QUANTERS[kind](-1.0, 4.0)(x, False).sum().backward()
    inside = (X > -0.98) & (X < 3.98)
    np.testing.assert_allclose(x.grad.numpy()[inside], 1.0, atol=1e-6)
    np.testing.assert_allclose(x.grad.numpy()[(X < -1.02) | (X > 4.02)], 0.0, atol=1e-6)


def test_what_is_cut_off_moves_the_ends() -> None:
    quanter = Pact(-1.0, 4.0)
    quanter(tensor(X), True).sum().backward()
    # d(end * exp(t)) / dt = end for each value beyond it
    assert quanter.log_high.grad.item() == pytest.approx(4.0 * (X > 4.0).sum(), rel=1e-5)
    assert quanter.log_low.grad.item() == pytest.approx(-1.0 * (X < -1.0).sum(), rel=1e-5)


def test_the_step_has_the_gradient_of_the_paper() -> None:
    quanter = LearnedStep(-1.0, 4.0)
    quanter(tensor(X), True).sum().backward()
    step = 5.0 / 255
    zero = np.rint(1 / step)
    ratio = X / step
    inside = (ratio + zero > 0) & (ratio + zero < 255)
    each = np.where(inside, np.rint(ratio) - ratio, np.clip(ratio, -zero, 255 - zero))
    expected = each.sum() * step / np.sqrt(X.size * 255)
    assert quanter.log_step.grad.item() == pytest.approx(expected, rel=1e-3)


def test_a_moving_range_moves_in_training_only() -> None:
    quanter = MovingMinMax(-1.0, 1.0)
    quanter(tensor(X), False)
    assert [end.item() for end in quanter.ends()] == [-1.0, 1.0]
    quanter(tensor(X), True)
    assert [end.item() for end in quanter.ends()] == pytest.approx([-1.103, 1.51])
    assert set(quanter.state_dict()) == {"low", "high"}  # a checkpoint has them


def test_a_layer_rounds_its_weight_by_columns() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32) * [1, 10, 0.1, 0]
    rounded = round_weight(tensor(weight.astype(np.float32)))
    scale = np.abs(weight).max(axis=0) / 127
    assert (np.abs(rounded.numpy() - weight) <= scale / 2 + 1e-7).all()
    levels = rounded.numpy()[:, :3] / scale[:3]
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-4)
    rounded.sum().backward()
    linear = nn.Linear(6, 4)
    quantized = QuantizedLinear(linear, MovingMinMax(-3.0, 3.0))
    assert set(quantized.state_dict()) == {"weight", "bias"} and quantized.weight is linear.weight
    quantized.eval()
    quantized(tensor(np.full((2, 6), 9, np.float32)))
    assert [end.item() for end in quantized._quanter[0].ends()] == [-3.0, 3.0]


@pytest.mark.parametrize("name", ["ernie", "gpt", "ernie_doc"])
def test_a_model_keeps_its_weights_and_shares_ranges(name: str) -> None:
    model = tiny(family(name).backbone)
    arrays = {key: tensor(value, False) for key, value in batch(family(name), [7, 4]).items()}
    before = set(model.state_dict())
    plain = model(**arrays).last_hidden_state.numpy()
    quantized = QuantizedModel(model, "min_max", lambda read: read(**arrays))
    assert set(model.state_dict()) == before
    ranges = quantized.ranges()
    first = min(each for each in ranges if each.endswith("q_proj"))
    assert ranges[first] == ranges[first.replace("q_proj", "v_proj")]
    assert len(quantized.quanters) < len(ranges)
    found = quantized(**arrays).last_hidden_state.numpy()
    error = np.sqrt(np.mean((found - plain) ** 2) / np.mean(plain**2))
    assert 0 < error < 0.2
