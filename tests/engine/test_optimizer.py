"""Parameter groups, depths and schedules."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paddle import nn

from tests.engine.toy import build
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError
from zoo_cli.engine.layers import places, stacks
from zoo_cli.engine.optimizer import AdamW, gradient_norm, learning_rate, scale_gradients
from zoo_cli.recipe.schema import TrainSection

TINY = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}


def test_places_of_bert() -> None:
    model = models.build("BertForTokenClassification", {**TINY, "num_labels": 5})
    found = {place.name: place for place in places(model)}
    assert list(stacks(model)) == ["bert.encoder.layers"]
    assert found["bert.embeddings.word_embeddings.weight"].depth == 0
    assert found["bert.embeddings.layer_norm.weight"].depth == 0
    assert found["bert.encoder.layers.0.linear1.weight"].depth == 1
    assert found["bert.encoder.layers.2.norm2.bias"].depth == 3
    assert found["classifier.weight"].depth == 4
    assert {place.top for place in found.values()} == {4}
    undecayed = {name for name, place in found.items() if not place.decays}
    assert undecayed == {n for n in found if n.endswith("bias") or "norm" in n}
    assert found.keys() == {name for name, _ in model.named_parameters()}


def test_each_of_two_encoders_has_its_own_depths() -> None:
    class Pair(nn.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.generator = build(layers=1)
            self.discriminator = build(layers=3)

    found = {place.name: place for place in places(Pair())}
    assert (found["generator.classifier.weight"].depth, found["generator.classifier.weight"].top) == (2, 2)
    below = found["discriminator.embeddings.weight"]
    assert (below.depth, below.top) == (0, 4)
    assert found["discriminator.encoder.layers.2.linear1.weight"].depth == 3


def test_a_norm_with_two_axes_does_not_decay() -> None:
    assert not any(place.decays for place in places(nn.LayerNorm([3, 4])))


def test_a_model_without_layers_has_one_depth() -> None:
    assert {(place.depth, place.top) for place in places(nn.Linear(2, 2))} == {(0, 0)}


def after_one_step(model: nn.Layer, **values: Any) -> dict[str, np.ndarray]:
    """Change of each weight by one step with gradients of one; Adam's first step is the learning rate, signed."""
    optimizer = AdamW(model, TrainSection(**values))
    before = {name: parameter.numpy().copy() for name, parameter in model.named_parameters()}
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step(0.1)
    return {name: parameter.numpy() - before[name] for name, parameter in model.named_parameters()}


def test_layerwise_decay_slows_lower_layers() -> None:
    change = after_one_step(build(), layerwise_decay=0.5, weight_decay=0.0)
    for name, factor in (
        ("classifier.weight", 1.0),
        ("encoder.layers.1.norm.bias", 0.5),
        ("encoder.layers.0.linear1.weight", 0.25),
        ("embeddings.weight", 0.125),
    ):
        np.testing.assert_allclose(change[name], -0.1 * factor, rtol=1e-4)


def test_weight_decay_spares_vectors() -> None:
    model = build()
    before = {name: parameter.numpy().copy() for name, parameter in model.named_parameters()}
    change = after_one_step(model, weight_decay=0.5)
    for name, value in before.items():
        expected = -0.1 - 0.1 * (0.5 * value if value.ndim > 1 else 0.0)
        np.testing.assert_allclose(change[name], expected, rtol=1e-3, atol=1e-6)


def test_state_has_structured_names_and_comes_back() -> None:
    model, other = build(), build(seed=5)
    optimizer, fresh = AdamW(model, TrainSection()), AdamW(other, TrainSection())
    sum(parameter.sum() for parameter in model.parameters()).backward()
    optimizer.step(0.1)
    state = {name: tensor.numpy().copy() for name, tensor in optimizer.state().items()}
    assert "encoder.layers.0.linear1.weight/moment1" in state
    assert len(state) == 4 * len(model.parameters())
    other.set_state_dict({name: tensor.numpy() for name, tensor in model.state_dict().items()})
    fresh.load_state(state)
    for layer, optim in ((model, optimizer), (other, fresh)):
        optim.clear_gradients()
        sum((parameter**2).sum() for parameter in layer.parameters()).backward()
        optim.step(0.05)
    for name, tensor in model.state_dict().items():
        assert np.array_equal(tensor.numpy(), other.state_dict()[name].numpy())
    with pytest.raises(ArtifactError):
        fresh.load_state({"nothing/moment1": np.zeros(1, np.float32)})


def test_norm_and_scaling_of_gradients() -> None:
    model = build()
    (3 * model.classifier.bias.sum() + 4 * model.embeddings.weight[0].sum()).backward()
    expected = np.sqrt(sum((p.grad.numpy() ** 2).sum() for p in model.parameters() if p.grad is not None))
    assert gradient_norm(model.parameters()) == pytest.approx(expected, rel=1e-6)
    scale_gradients(model.parameters(), 0.25)
    assert gradient_norm(model.parameters()) == pytest.approx(expected / 4, rel=1e-6)
    assert np.allclose(model.classifier.bias.grad.numpy(), 0.75)
    assert gradient_norm([paddle.zeros([2])]) == 0.0


def rates(total: int = 100, **values: Any) -> list[float]:
    section = TrainSection(**{"learning_rate": 1.0, "warmup_steps": 10, **values})
    return [learning_rate(step, total, section) for step in range(total + 1)]


@pytest.mark.parametrize(
    "values, at_32, at_55",
    [
        ({"schedule": "linear"}, 68 / 90, 0.5),
        ({"schedule": "constant"}, 1.0, 1.0),
        ({"schedule": "cosine"}, 0.5 * (1 + np.cos(np.pi * 22 / 90)), 0.5),
        ({"schedule": "polynomial", "schedule_power": 2.0}, (68 / 90) ** 2, 0.25),
        ({"schedule": "linear", "end_learning_rate": 0.2}, 0.2 + 0.8 * 68 / 90, 0.6),
    ],
)
def test_schedules(values: dict[str, Any], at_32: float, at_55: float) -> None:
    found = rates(**values)
    assert found[0] == 0.0 and found[5] == pytest.approx(0.5) and found[10] == pytest.approx(1.0)
    assert found[32] == pytest.approx(at_32) and found[55] == pytest.approx(at_55)
    end = values.get("end_learning_rate", 1.0 if values["schedule"] == "constant" else 0.0)
    assert found[100] == pytest.approx(end)


def test_warmup_share_is_rounded_up() -> None:
    assert rates(15, warmup_steps=None, warmup_ratio=0.1)[:3] == [0.0, 0.5, 1.0]
    assert rates(15, warmup_steps=None)[0] == 1.0


@given(
    st.sampled_from(["linear", "cosine", "polynomial", "constant"]),
    st.integers(1, 200),
    st.integers(0, 250),
    st.floats(0, 1e-3),
)
def test_rates_stay_between_zero_and_the_peak(schedule: str, total: int, warmup: int, end: float) -> None:
    section = TrainSection(schedule=schedule, learning_rate=1e-3, warmup_steps=warmup, end_learning_rate=end)
    found = [learning_rate(step, total, section) for step in range(total + 3)]
    assert all(0.0 <= rate <= 1e-3 * (1 + 1e-9) for rate in found)
    assert all(one >= two - 1e-12 for one, two in zip(found[warmup:], found[warmup + 1 :], strict=False))


def test_betas_and_epsilon_reach_adam() -> None:
    model = nn.Linear(2, 2)
    before = model.bias.numpy().copy()
    optimizer = AdamW(model, TrainSection(adam_beta1=0.5, adam_beta2=0.75, adam_epsilon=1.0))
    moment1 = moment2 = 0.0
    expected = before.copy()
    for step, gradient in enumerate((1.0, -3.0), start=1):
        (model.bias * gradient).sum().backward()
        optimizer.step(0.1)
        optimizer.clear_gradients()
        moment1 = 0.5 * moment1 + 0.5 * gradient
        moment2 = 0.75 * moment2 + 0.25 * gradient**2
        correction = np.sqrt(1 - 0.75**step)
        # Paddle scales epsilon by the correction, which is the textbook formula multiplied out.
        expected -= 0.1 * correction / (1 - 0.5**step) * moment1 / (np.sqrt(moment2) + 1.0 * correction)
    np.testing.assert_allclose(model.bias.numpy(), expected, rtol=1e-5)
