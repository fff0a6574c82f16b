"""Importance by another way of computing it, and models that are cut out of others: every family and task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.distill import support
from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.compress.pruning import Importance, Kept, choose, cut, importance
from zoo_cli.compress.vocabulary import cut_tables
from zoo_cli.engine.layers import stacks
from zoo_cli.models.layers import EncoderLayer

TASKS = ("sequence_classification", "token_classification", "question_answering", "multiple_choice", "extraction")
FAMILIES = ("bert", "tinybert", "ernie", "ernie_m", "electra", "ernie_health")
CASES = [(family, task) for family in FAMILIES for task in TASKS if task in registry.family(family).tasks]
HEADS, NEURONS = 4, 24


def make(family: str, task: str = "sequence_classification", **config: Any) -> Any:
    sizes = {"num_attention_heads": HEADS, "intermediate_size": NEURONS, "pad_token_id": 0, "hidden_size": 32}
    sizes |= {"embedding_size": 32} if family in ("electra", "ernie_health") else {}
    # ERNIE-M says only so how many neurons there are.
    sizes |= {"layer_intermediate_sizes": [NEURONS, NEURONS]} if family == "ernie_m" else {}
    model = support.build(family, task, **{**sizes, **config})
    model.eval()
    return model


def batch_of(model: Any, task: str, rows: int = 3) -> dict[str, np.ndarray]:
    """A batch with labels of texts of the same length."""
    inputs = support.inputs_of(model.config.family)
    found = support.features(task, inputs, count=60, seed=2)
    shape = found[0]["input_ids"].shape
    alike = [each for each in found if each["input_ids"].shape == shape]
    return {name: np.stack([each[name] for each in alike[:rows]]) for name in alike[0]}


LABELS = ("labels", "start_positions", "end_positions")


def outputs_of(model: Any, task: str = "sequence_classification", **changed: np.ndarray) -> np.ndarray:
    batch = {name: array for name, array in batch_of(model, task).items() if name not in LABELS} | changed
    result = model(**{name: paddle.to_tensor(array) for name, array in batch.items()})
    fields = [getattr(result, name) for name in support.HEADS[task][1]]
    return np.concatenate([field.numpy().ravel() for field in fields])


def layers_of(model: Any) -> list[Any]:
    return list(next(iter(stacks(model).values())))


def all_of(model: Any) -> list[Kept]:
    return [Kept(index, np.arange(HEADS), np.arange(NEURONS)) for index in range(len(layers_of(model)))]


def mask(model: Any, kept: list[Kept]) -> None:
    """Set to zero what the heads and neurons that go would add."""
    for part in kept:
        layer = layers_of(model)[part.layer]
        size = layer.self_attn.head_dim
        with paddle.no_grad():
            for head in set(range(HEADS)) - set(part.heads.tolist()):
                layer.self_attn.out_proj.weight[head * size : (head + 1) * size] = 0.0
            for neuron in set(range(NEURONS)) - set(part.neurons.tolist()):
                layer.linear2.weight[neuron] = 0.0


def test_all_families_with_such_layers_are_here() -> None:
    for name in registry.FAMILIES:
        spec = registry.family(name)
        if "sequence_classification" not in spec.tasks:
            continue
        model = models.build(spec.tasks["sequence_classification"], {**spec.tiny, "vocab_size": 60})
        found = list(stacks(model).values())
        prunable = len(found) == 1 and all(isinstance(layer, EncoderLayer) for layer in found[0])
        assert prunable == (name in FAMILIES), name


@pytest.mark.parametrize(("family", "task"), CASES)
def test_width_one_changes_nothing(family: str, task: str) -> None:
    model = make(family, task)
    np.testing.assert_allclose(outputs_of(cut(model, all_of(model)), task), outputs_of(model, task), atol=1e-6)


@pytest.mark.parametrize(("family", "task"), CASES)
def test_half_the_width_answers_like_the_model_with_the_rest_masked(family: str, task: str) -> None:
    model = make(family, task)
    found = importance(model, [batch_of(model, task, rows=1)])
    kept = choose(found, 0.5)
    assert all(len(part.heads) == HEADS // 2 and len(part.neurons) == NEURONS // 2 for part in kept)
    smaller = cut(model, kept)
    before = outputs_of(model, task)
    mask(model, kept)
    np.testing.assert_allclose(outputs_of(smaller, task), outputs_of(model, task), atol=1e-5)
    assert np.abs(outputs_of(model, task) - before).max() > 1e-4
    assert smaller.config.layer_intermediate_sizes == [NEURONS // 2] * len(kept)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_may_keep_different_numbers(family: str, tmp_path: Path) -> None:
    model = make(family)
    kept = [
        Kept(0, np.array([1]), np.arange(5, 12)),
        Kept(1, np.array([0, 2, 3]), np.arange(0, 24, 2)),
    ]
    smaller = cut(model, kept)
    mask(model, kept)
    np.testing.assert_allclose(outputs_of(smaller), outputs_of(model), atol=1e-5)
    assert (smaller.config.layer_num_heads, smaller.config.layer_intermediate_sizes) == ([1, 3], [7, 12])
    models.save(smaller, tmp_path)
    np.testing.assert_array_equal(outputs_of(models.load(tmp_path, strict=True)), outputs_of(smaller))


@pytest.mark.parametrize(("family", "task"), CASES)
def test_importance_is_that_of_plain_numpy(family: str, task: str) -> None:
    """From the weights and gradients of each example by loops over heads and neurons."""
    model = make(family, task)
    rows = batch_of(model, task)
    examples = [
        {name: array[index : index + 1] for name, array in rows.items()} for index in range(len(rows["input_ids"]))
    ]
    found = importance(model, examples)
    layers = layers_of(model)
    size = layers[0].self_attn.head_dim
    heads, neurons = np.zeros((len(layers), HEADS)), np.zeros((len(layers), NEURONS))
    for example in examples:
        model(**{name: paddle.to_tensor(array) for name, array in example.items()}).loss.backward()
        own_heads, own_neurons, squares = np.zeros_like(heads), np.zeros_like(neurons), 0.0
        for index, layer in enumerate(layers):
            names = (layer.self_attn.out_proj.weight, layer.linear1.weight, layer.linear1.bias, layer.linear2.weight)
            (wo, w1, b1, w2), (go, g1, gb, g2) = (
                [each.numpy() for each in names],
                [each.grad.numpy() for each in names],
            )
            for head in range(HEADS):
                place = slice(head * size, (head + 1) * size)
                own_heads[index, head] = abs((wo[place] * go[place]).sum())
            for neuron in range(NEURONS):
                into = (w1[:, neuron] * g1[:, neuron]).sum() + b1[neuron] * gb[neuron]
                own_neurons[index, neuron] = abs(into) + abs((w2[neuron] * g2[neuron]).sum())
            squares += sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in (go, g1, gb, g2))
        model.clear_gradients()
        heads += own_heads / np.sqrt(squares)
        neurons += own_neurons / np.sqrt(squares)
    np.testing.assert_allclose([each.heads for each in found], heads, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose([each.neurons for each in found], neurons, rtol=1e-3, atol=1e-6)


def test_importance_is_the_derivative_of_masks() -> None:
    """Of heads, by differences of the loss when what a head adds is scaled."""
    model = make("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    batch = batch_of(model, "sequence_classification", rows=1)
    (found, *_) = importance(model, [batch])
    parameter = layers_of(model)[0].self_attn.out_proj.weight
    size = layers_of(model)[0].self_attn.head_dim
    slopes = []
    for head in range(HEADS):
        value, sides = parameter.numpy(), []
        for sign in (1, -1):
            changed = value.copy()
            changed[head * size : (head + 1) * size] *= 1 + sign * 1e-2
            parameter.set_value(changed)
            sides.append(float(model(**{name: paddle.to_tensor(array) for name, array in batch.items()}).loss))
        parameter.set_value(value)
        slopes.append(abs(sides[0] - sides[1]) / 2e-2)
    factor = np.array(slopes) @ found.heads / (found.heads @ found.heads)  # the norm of the example's gradients
    np.testing.assert_allclose(found.heads * factor, slopes, atol=0.02 * max(slopes))


def test_no_example_decides_alone() -> None:
    model = make("bert")
    batch = batch_of(model, "sequence_classification", rows=1)
    one, other = ({**batch, "labels": np.array([label])} for label in (0, 1))
    apart = [importance(model, [each])[0].heads for each in (one, other)]
    np.testing.assert_allclose(importance(model, [one, other])[0].heads, apart[0] + apart[1], rtol=1e-6)


def test_a_cut_model_is_an_ordinary_one(tmp_path: Path) -> None:
    model = make("bert", num_hidden_layers=4)
    kept = choose([Importance(np.arange(4.0), np.arange(24.0))] * 4, 0.5, layers=2)
    smaller = cut(model, kept)
    models.save(smaller, tmp_path)
    loaded = models.load(tmp_path)
    np.testing.assert_array_equal(outputs_of(loaded), outputs_of(smaller))
    sizes = (loaded.config.num_hidden_layers, loaded.config.num_attention_heads, loaded.config.layer_intermediate_sizes)
    assert sizes == (2, 2, [12, 12]) and loaded.config.layer_num_heads is None
    assert [part.layer for part in kept] == [1, 3]
    assert all(part.heads.tolist() == [2, 3] and part.neurons.tolist() == list(range(12, 24)) for part in kept)


def test_the_best_of_all_layers_are_kept_together() -> None:
    found = [
        Importance(np.array([10.0, 9.0, 8.0, 7.0]), np.array([1.0, 1.0, 1.0, 1.0])),
        Importance(np.array([0.0, 0.001, 5.0, 0.0]), np.array([9.0, 0.1, 0.1, 0.1])),
    ]
    kept = choose(found, 0.5, uneven=True)
    assert [part.heads.tolist() for part in kept] == [[0, 1, 2], [2]]
    assert [part.neurons.tolist() for part in kept] == [[0, 1, 2], [0]]
    even = choose(found, 0.5)
    assert [part.heads.tolist() for part in even] == [[0, 1], [1, 2]]
    least = choose(found, 0.01, uneven=True)
    assert [part.heads.tolist() for part in least] == [[0], [2]]
    assert [part.heads.tolist() for part in choose(found, 1.0, uneven=True)] == [[0, 1, 2, 3]] * 2


def test_layers_of_another_kind_are_refused() -> None:
    spec = registry.family("gpt")
    model = models.build("GPTForSequenceClassification", {**spec.tiny, "vocab_size": 50})
    with pytest.raises(UsageError) as caught:
        importance(model, [])
    assert caught.value.code == "not-prunable"
    with pytest.raises(UsageError):
        choose([Importance(np.ones(2), np.ones(2))], 0.5, layers=2)


@pytest.mark.parametrize("family", FAMILIES)
def test_smaller_tables_give_the_same_answers(family: str) -> None:
    model = make(family, max_position_embeddings=support.VOCABULARY)  # as many positions as tokens
    ids = batch_of(model, "sequence_classification")["input_ids"]
    tokens = np.unique(np.concatenate([[0, 1, 2, 3], ids.ravel()]))
    smaller = cut_tables(model, tokens, 12)
    np.testing.assert_allclose(
        outputs_of(smaller, input_ids=np.searchsorted(tokens, ids)), outputs_of(model), atol=1e-6
    )
    assert (smaller.config.vocab_size, smaller.config.max_position_embeddings) == (len(tokens), 12)
    with pytest.raises(UsageError):
        cut_tables(model, None, support.VOCABULARY + 1)
