"""Attention heads, feed-forward neurons and layers: which matter, and how a model is cut down to them.

Width pruning follows DynaBERT (Hou et al., 2020, https://arxiv.org/abs/2004.04037): the importance of a head is how
fast the loss changes with it (Michel et al., 2019, https://arxiv.org/abs/1905.10650), that of a neuron is the
first-order change of the loss without its weights. Both are summed over examples whose gradients are normalised one by
one: otherwise a single example with a large loss decides alone.

What stays is cut out of the weights, and the result is an ordinary, smaller model. PaddleSlim 2.6, which PaddleNLP
used, fails on PaddlePaddle 3.3, hence this code: the layers of its one-shot network (OFA) call Embedding and LayerNorm
with arguments and results that these no longer have; its L1-norm and FPGM pruners look for a mode switch that is gone,
and leave the process in static mode when they fail; its unstructured ones multiply float by boolean tensors. Unlike in
OFA each width is cut out before it is trained, so that it shares no weights with a wider one. Single weights are not
pruned: no back end here is faster with zeros in its matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_cli import models
from zoo_cli.base.errors import UsageError
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.layers import stacks
from zoo_cli.engine.objectives.supervised import Supervised
from zoo_cli.models.base import Model
from zoo_cli.models.layers import EncoderLayer


@dataclass(frozen=True)
class Importance:
    """How much the parts of a layer matter.

    Args:
        heads: float64 [A].
        neurons: float64 [I].
    """

    heads: np.ndarray
    neurons: np.ndarray


@dataclass(frozen=True)
class Kept:
    """What stays of a layer.

    Args:
        layer: its number in the unpruned model, from 0.
        heads: numbers of heads, ascending.
        neurons: numbers of neurons, ascending.
    """

    layer: int
    heads: np.ndarray
    neurons: np.ndarray


def importance(model: Model, examples: Iterable[Arrays]) -> list[Importance]:
    """The importance of every head and neuron.

    A head scales its context by a factor of 1; the gradient of that factor is the sum, over the rows of the output
    projection that belong to the head, of weight times gradient. For a neuron the sums of weight times gradient over
    its incoming weights (with the bias) and over its outgoing ones count.

    Args:
        model: a model with a loss; its gradients are cleared.
        examples: batches with labels, of one example each.

    Returns:
        One entry for each layer.

    Raises:
        UsageError: the layers are of another kind (`not-prunable`).
    """
    layers = _layers(model)[1]
    heads = [np.zeros(layer.self_attn.num_heads) for layer in layers]
    neurons = [np.zeros(layer.linear1.weight.shape[1]) for layer in layers]
    model.eval()
    objective = Supervised()
    for batch in examples:
        objective.loss(model, batch, 0).total.backward()
        found = [_of_example(layer) for layer in layers]
        norm = float(np.sqrt(sum(each[2] for each in found)))
        for index, (head, neuron, _) in enumerate(found if norm > 0 and np.isfinite(norm) else ()):
            heads[index] += head / norm
            neurons[index] += neuron / norm
        model.clear_gradients()
    return [Importance(head, neuron) for head, neuron in zip(heads, neurons, strict=True)]


def _of_example(layer: EncoderLayer) -> tuple[np.ndarray, np.ndarray, float]:
    """Importance of heads [A] and neurons [I] by the gradients there are, and the squared norm of those."""
    attention = layer.self_attn
    parameters = (attention.out_proj.weight, layer.linear1.weight, layer.linear1.bias, layer.linear2.weight)
    values = [parameter.numpy().astype(np.float64) for parameter in parameters]
    gradients = [parameter.grad.numpy().astype(np.float64) for parameter in parameters]
    out, into, bias, onward = (value * gradient for value, gradient in zip(values, gradients, strict=True))
    heads = np.abs(out.reshape(attention.num_heads, -1).sum(axis=1))  # out_proj is [A * d, H]
    neurons = np.abs(into.sum(axis=0) + bias) + np.abs(onward.sum(axis=1))
    return heads, neurons, float(sum((gradient**2).sum() for gradient in gradients))


def choose(found: Sequence[Importance], width: float, layers: int | None = None, uneven: bool = False) -> list[Kept]:
    """The most important heads and neurons of each layer that stays.

    Args:
        found: the importance in each layer.
        width: share of heads and neurons that is kept, at least one of each.
        layers: number of layers that is kept, evenly spread and the last among them; None keeps all.
        uneven: keep that share of all layers together instead of each. Importance is then divided by its norm in the
            layer, as layers differ in scale (Michel et al.).

    Raises:
        UsageError: there are not so many layers (`no-layer`).
    """
    total = len(found)
    count = total if layers is None else layers
    if count > total:
        raise UsageError("no-layer", "{count} layers cannot be kept, there are {total}", count=count, total=total)
    numbers = [round((index + 1) * total / count) - 1 for index in range(count)]
    choice = _best_of_all if uneven else _best_of_each
    heads = choice([found[number].heads for number in numbers], width)
    neurons = choice([found[number].neurons for number in numbers], width)
    return [Kept(*kept) for kept in zip(numbers, heads, neurons, strict=True)]


def _best_of_each(values: Sequence[np.ndarray], width: float) -> list[np.ndarray]:
    """Numbers of the best in each layer, the same share of each."""
    return [np.sort(np.argsort(-layer, kind="stable")[: max(1, int(len(layer) * width + 1e-9))]) for layer in values]


def _best_of_all(values: Sequence[np.ndarray], width: float) -> list[np.ndarray]:
    """Numbers of the best in each layer, as many as are among the best of all; the best one of a layer is always."""
    scaled = [layer / (float(np.linalg.norm(layer)) or 1.0) for layer in values]
    for layer in scaled:
        layer[layer.argmax()] = np.inf
    joined = np.concatenate(scaled)
    count = max(len(scaled), int(len(joined) * width + 1e-9))
    kept = np.zeros(len(joined), bool)
    kept[np.argsort(-joined, kind="stable")[:count]] = True
    return [np.flatnonzero(part) for part in np.split(kept, np.cumsum([len(layer) for layer in scaled])[:-1])]


def cut(model: Model, kept: Sequence[Kept]) -> Model:
    """A model of the same class that has only what is kept; its outputs are those of the model with the rest masked.

    Args:
        model: stays as it is.
        kept: for each layer of the new model what it is made of.

    Raises:
        UsageError: the layers are of another kind (`not-prunable`).
    """
    stack, layers = _layers(model)
    weights: dict[str, np.ndarray] = {}
    for name, parameter in model.state_dict().items():
        if not name.startswith(f"{stack}."):
            weights[name] = parameter.numpy()
    for index, part in enumerate(kept):
        layer = layers[part.layer]
        columns = _columns(part.heads, layer.self_attn.head_dim)
        for name, parameter in layer.state_dict().items():
            weights[f"{stack}.{index}.{name}"] = _slice(name, parameter.numpy(), columns, part.neurons)
    changes = _sizes(model, layers, kept)
    smaller = models.build(str(model.config.architecture), {**model.config.as_dict(), **changes})
    known = smaller.state_dict()
    # What a model has for each of its layers beside them (TinyBERT's projections to a teacher) has no use any more.
    models.load_weights(smaller, {name: value for name, value in weights.items() if name in known})
    smaller.eval()
    return smaller


def _columns(heads: np.ndarray, size: int) -> np.ndarray:
    """Numbers of the columns that belong to heads, int64 [heads * size]."""
    return (heads[:, None] * size + np.arange(size)).ravel()


def _slice(name: str, value: np.ndarray, columns: np.ndarray, neurons: np.ndarray) -> np.ndarray:
    """A layer's parameter without what goes."""
    match name.split("."):
        case ["self_attn", "q_proj" | "k_proj" | "v_proj", _]:
            return value[..., columns]
        case ["self_attn", "out_proj", "weight"]:
            return value[columns]
        case ["linear1", _]:
            return value[..., neurons]
        case ["linear2", "weight"]:
            return value[neurons]
    return value


def _sizes(model: Model, layers: Sequence[EncoderLayer], kept: Sequence[Kept]) -> dict[str, Any]:
    """Configuration keys of the smaller model."""
    heads = [len(part.heads) for part in kept]
    alike = len(set(heads)) == 1
    return {
        "num_hidden_layers": len(kept),
        "head_dim": layers[0].self_attn.head_dim,
        **({"num_attention_heads": heads[0], "layer_num_heads": None} if alike else {"layer_num_heads": heads}),
        # For each layer even where they are alike: some families fix `intermediate_size` themselves.
        "layer_intermediate_sizes": [len(part.neurons) for part in kept],
    }


def _layers(model: Model) -> tuple[str, list[EncoderLayer]]:
    """Name and layers of the one encoder."""
    found = stacks(model)
    name, layers = next(iter(found.items()), ("", []))
    if len(found) != 1 or not all(isinstance(layer, EncoderLayer) for layer in layers):
        raise UsageError(
            "not-prunable",
            "the layers of {name} cannot be pruned",
            fix="take a model of BERT, ERNIE, ERNIE-M, ELECTRA, TinyBERT or UIE",
            name=type(model).__name__,
        )
    return name, list(layers)
