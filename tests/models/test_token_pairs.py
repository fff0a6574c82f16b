"""GlobalPointer and GPLinker against plain numpy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import batch, call, tiny
from zoo_cli import registry
from zoo_cli.models.heads import GlobalPointer, RotaryPositions
from zoo_cli.models.losses import pair_loss
from zoo_cli.registry import FAMILIES, family

SERVED = [name for name in FAMILIES if "closed_extraction" in family(name).tasks]


def tensor(array: Any) -> paddle.Tensor:
    return paddle.to_tensor(array)


def head_of(name: str, **config: Any) -> Any:
    """A model of a family with two kinds of spans and three of links."""
    return tiny(family(name).tasks["closed_extraction"], num_labels=2, num_links=3, **config)


def rotate(vectors: np.ndarray) -> np.ndarray:
    """[S, d]: complex numbers times powers of their unit roots."""
    length, width = vectors.shape
    speeds = 10000.0 ** (-2 * np.arange(width // 2) / width)
    turned = (vectors[:, ::2] + 1j * vectors[:, 1::2]) * np.exp(1j * np.arange(length)[:, None] * speeds)
    return np.stack([turned.real, turned.imag], axis=-1).reshape(length, width)


def scores(layer: GlobalPointer, hidden: np.ndarray, spans: bool) -> np.ndarray:
    """[S, H] -> [C, S, S], pair by pair."""
    weights = {name: value.numpy() for name, value in layer.state_dict().items()}
    projected = hidden @ weights["dense1.weight"] + weights["dense1.bias"]
    query, key = projected[:, ::2], projected[:, 1::2]
    if spans:
        query, key = rotate(query), rotate(key)
    biases = (projected @ weights["dense2.weight"] + weights["dense2.bias"]) / 2
    size, kinds = len(hidden), biases.shape[1] // 2
    found = np.full((kinds, size, size), layer.masked)
    for kind in range(kinds):
        for first in range(size):
            for second in range(first if spans else 0, size):
                product = query[first] @ key[second] / np.sqrt(query.shape[1])
                found[kind, first, second] = product + biases[second, 2 * kind] + biases[first, 2 * kind + 1]
    return found


@pytest.mark.parametrize("spans", [True, False])
def test_scores_are_those_of_numpy(spans: bool) -> None:
    config = head_of("bert").config
    paddle.seed(3)
    layer = GlobalPointer(config, 4, spans)
    for value in layer.parameters():
        value.set_value(paddle.randn(value.shape) * 0.3)
    hidden = np.random.default_rng(0).normal(size=(2, 7, config.hidden_size)).astype(np.float32)
    seen = np.arange(7) < np.array([[7], [4]])
    found = layer(tensor(hidden), tensor(seen)).numpy()
    for row, length in enumerate((7, 4)):
        np.testing.assert_allclose(
            found[row, :, :length, :length], scores(layer, hidden[row, :length], spans), atol=1e-4
        )
        assert (found[row, :, length:] == layer.masked).all() and (found[row, :, :, length:] == layer.masked).all()


def test_rotated_products_depend_on_the_distance() -> None:
    rotary = RotaryPositions(8, 32)
    one, other = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    turned = rotary(tensor(np.stack([np.tile(one, (20, 1)), np.tile(other, (20, 1))]))).numpy()
    products = turned[0] @ turned[1].T
    for distance in range(5):
        np.testing.assert_allclose(np.diagonal(products, distance), products[0, distance], rtol=1e-4, atol=1e-4)
    assert products[0, 0] == pytest.approx(one @ other, rel=1e-5)
    assert abs(products[0, 3] - products[0, 0]) > 1e-3


def sparse_loss(logits: np.ndarray, places: np.ndarray) -> float:
    """The paper's sparse formula in double precision: of the wrong pairs all minus the right ones."""
    total = 0.0
    for row, own in zip(logits.astype(np.float64), places, strict=True):
        for kind, values in enumerate(row):
            right = np.array([values[first, second] for each, first, second in own if each == kind])
            whole = 1.0 + np.exp(values).sum()
            total += np.log1p(np.exp(-right).sum()) + np.log(whole * (1 - np.exp(right).sum() / whole))
    return total / len(logits)


def test_the_loss_is_the_papers() -> None:
    logits = np.random.default_rng(2).normal(size=(2, 3, 5, 5)).astype(np.float32)
    logits[:, :, np.tril_indices(5, -1)[0], np.tril_indices(5, -1)[1]] = -1e4
    places = np.array([[[0, 1, 2], [0, 3, 3], [2, 0, 4]], [[1, 0, 0], [-1, -1, -1], [-1, -1, -1]]])
    assert float(pair_loss(tensor(logits), tensor(places))) == pytest.approx(sparse_loss(logits, places), rel=1e-5)
    none = np.full((2, 1, 3), -1)
    assert float(pair_loss(tensor(logits), tensor(none))) == pytest.approx(sparse_loss(logits, none), rel=1e-5)
    twice = places.copy()
    twice[1, 1] = twice[1, 0]
    assert float(pair_loss(tensor(logits), tensor(twice))) == pytest.approx(sparse_loss(logits, places), rel=1e-5)


def test_the_loss_keeps_what_is_wrong_beside_high_scores() -> None:
    """Where the difference of all pairs and the right ones has no digit left."""
    logits = np.full((1, 1, 3, 3), -30.0, np.float32)
    logits[0, 0, 0, 1], logits[0, 0, 1, 2] = 40.0, 0.5
    inputs = tensor(logits)
    inputs.stop_gradient = False
    loss = pair_loss(inputs, tensor(np.array([[[0, 0, 1]]])))
    assert float(loss) == pytest.approx(np.log1p(np.exp(0.5)), rel=1e-5)
    loss.backward()
    assert float(inputs.grad[0, 0, 1, 2]) == pytest.approx(1 / (1 + np.exp(-0.5)), rel=1e-5)


@pytest.mark.parametrize("name", SERVED)
def test_every_encoder_carries_it(name: str) -> None:
    model, arrays = head_of(name), batch(family(name), [7, 4, 5])
    labels = {
        "entity_labels": np.array([[[0, 1, 2], [1, 3, 3]], [[1, 2, 2], [-1] * 3], [[-1] * 3] * 2]),
        "head_labels": np.array([[[2, 1, 3]], [[-1] * 3], [[-1] * 3]]),
        "tail_labels": np.array([[[2, 2, 3]], [[-1] * 3], [[-1] * 3]]),
    }
    output = call(model, {**arrays, **labels})
    expected = sum(
        sparse_loss(getattr(output, f"{part}_logits").numpy(), labels[f"{part}_labels"])
        for part in ("entity", "head", "tail")
    )
    assert float(output.loss) == pytest.approx(expected / 3, rel=1e-4)
    names = ("entity_logits", "head_logits", "tail_logits")
    alone = call(model, arrays)
    assert alone.loss is None
    # Neither the order of a batch nor its padding makes a difference beyond rounding, of logits around 10.
    close = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-4)
    order = [2, 0, 1]
    mixed = call(model, {key: value[order] for key, value in arrays.items()})
    wide = call(model, batch(family(name), [7, 4, 5], width=11))
    for field in names:
        whole = getattr(alone, field).numpy()
        close(getattr(mixed, field).numpy(), whole[order])
        close(getattr(wide, field).numpy()[:, :, :7, :7], whole)
        for row, length in enumerate((7, 4, 5)):
            single = call(model, {key: value[row : row + 1, :length] for key, value in arrays.items()})
            close(getattr(single, field).numpy()[0], whole[row, :, :length, :length])


def test_entities_alone() -> None:
    model = tiny("ErnieForTokenPairs", num_labels=2)
    assert not any(name.startswith(("head_output", "tail_output")) for name in model.state_dict())
    arrays = {**batch(family("ernie"), [5, 3]), "entity_labels": np.array([[[1, 1, 2]], [[-1] * 3]])}
    output = call(model, arrays)
    expected = sparse_loss(output.entity_logits.numpy(), arrays["entity_labels"]) / 3
    assert output.head_logits is None and float(output.loss) == pytest.approx(expected, rel=1e-4)


def test_every_weight_learns() -> None:
    model = head_of("bert")
    arrays = batch(family("bert"), [7, 4])
    labels = dict.fromkeys(("entity_labels", "head_labels", "tail_labels"), np.array([[[0, 1, 2]], [[1, 0, 3]]]))
    model(**{key: tensor(value) for key, value in {**arrays, **labels}.items()}).loss.backward()
    for name, value in model.named_parameters():
        if "_output." in name:
            assert value.grad is not None and float(value.grad.abs().sum()) > 0, name


def test_tasks_name_the_class() -> None:
    for name in SERVED:
        architecture = registry.family(name).tasks["closed_extraction"]
        assert registry.family(name).architectures[architecture] == "zoo_cli.models.heads:TokenPairs"
    assert {"bert", "ernie", "ernie_m", "electra", "ernie_health", "tinybert"} <= set(SERVED)
