"""What a model of any family shows of itself: logits, hidden states, attention scores, queries, keys and values."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn

from zoo_cli.base.errors import UsageError
from zoo_cli.distill.losses import Scores
from zoo_cli.distill.strategies import RELATIONS
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.layers import stacks
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.models.base import Model
from zoo_cli.recipe.schema import DistillMatch
from zoo_cli.tasks.base import Task

_PROBABILITIES = {"start_prob": "start_logits", "end_prob": "end_logits"}
"""Outputs of a task that are probabilities of a yes -> the logits behind them."""
_KINDS: dict[str, Literal["softmax", "sigmoid", "number"]] = {
    "multi_label_classification": "sigmoid",
    "regression": "number",
}
_FLAGS = {"hidden": "output_hidden_states", "attention": "output_attention_scores"}


def gives_logits(task: Task[Any]) -> bool:
    """Whether what a task needs of a model are logits as they are, and not probabilities."""
    return not any(name in _PROBABILITIES for name in task.output_names)


class Key(NamedTuple):
    """Something that a model shows.

    Args:
        feature: as in `DistillMatch`, or the name of a field of the model's result (its logits, its loss).
        layer: counted from 1; 0 for the embeddings, and where there are no layers.
    """

    feature: str
    layer: int = 0

    def __str__(self) -> str:
        return f"{self.feature}.{self.layer}"


Answer = dict[Key, Tensor]
"""Logits as the model gives them; hidden states, queries, keys and values [B, S, H]; attention scores [B, A, S, S]. Of
questions with C choices all but the logits have an axis C after the first."""


class Adaptor:
    """Asks a model for what matches compare.

    Args:
        model: any family's model with a head.
        task: names the outputs that are logits; None where none are wanted.
        inputs: names of the model's inputs.
        features: names of features and their layers.

    Raises:
        UsageError: the family cannot show one of them (`no-feature`).
    """

    def __init__(self, model: Model, task: Task[Any] | None, inputs: Sequence[str], features: Collection[Key]) -> None:
        self._model = model
        self._inputs = frozenset(inputs)
        self._keys = frozenset(features)
        names = task.output_names if task is not None and Key("logits") in features else ()
        self._logits = [_PROBABILITIES.get(name, name) for name in names]
        self._flags = {
            flag: True for feature, flag in _FLAGS.items() if any(key.feature == feature for key in features)
        }
        known = inspect.signature(model.backbone.forward).parameters
        for feature, flag in _FLAGS.items():
            if flag in self._flags and flag not in known:
                raise _no_feature(model, feature)
        self._projections = {key: _projection(model, key) for key in self._keys if key.feature in RELATIONS}

    def __call__(self, batch: Arrays, labels: Arrays | None = None) -> Answer:
        """What the model shows on a batch.

        Args:
            batch: inputs; those that the model does not have are left out.
            labels: with them the answer has the model's ``Key("loss")``.
        """
        inputs = to_tensors({name: array for name, array in batch.items() if name in self._inputs})
        with self._capturing() as captured:
            result = self._model(**inputs, **to_tensors(labels or {}), **self._flags)
        answer: Answer = {Key(name): getattr(result, name) for name in self._logits}
        if labels:
            answer[Key("loss")] = result.loss
        layered = dict(captured)
        for key in self._keys:
            if key.feature == "hidden":
                layered[key] = result.hidden_states[key.layer]
            elif key.feature == "attention":
                layered[key] = result.attention_scores[key.layer - 1]
        shape = batch["input_ids"].shape
        for key, value in layered.items():
            answer[key] = value if len(shape) == 2 else value.reshape([*shape[:2], *value.shape[1:]])
        return answer

    @contextmanager
    def _capturing(self) -> Iterator[Answer]:
        """Keep the outputs of the wanted projections while entered."""
        captured: Answer = {}

        def keep(key: Key) -> Any:
            def hook(layer: nn.Layer, inputs: Any, output: Tensor) -> None:
                captured[key] = output

            return hook

        handles = [layer.register_forward_post_hook(keep(key)) for key, layer in self._projections.items()]
        try:
            yield captured
        finally:
            for handle in handles:
                handle.remove()


def _projection(model: Model, key: Key) -> nn.Layer:
    """The layer that computes queries, keys or values."""
    found = list(stacks(model.backbone).values())
    attention = getattr(found[0][key.layer - 1], "self_attn", None) if len(found) == 1 else None
    projection = getattr(attention, f"{key.feature[0]}_proj", None)
    if not isinstance(projection, nn.Linear):
        raise _no_feature(model, key.feature)
    return projection


def _no_feature(model: Model, feature: str) -> UsageError:
    return UsageError(
        "no-feature",
        "{model} does not show its {feature}",
        fix="take strategy logits",
        model=model.config.architecture,
        feature=feature,
    )


def wanted(matches: Sequence[DistillMatch], side: str) -> frozenset[Key]:
    """What matches compare of the ``teacher`` or the ``student``."""
    keys = {Key(match.feature, getattr(match, side) or 0) for match in matches}
    return frozenset(key for key in keys if key.feature != "labels")


def token_mask(batch: Arrays) -> np.ndarray:
    """1 for real tokens: [B, S], or [B, C, S] for questions with choices."""
    mask = batch["attention_mask"]
    if mask.ndim > batch["input_ids"].ndim:  # a token that is not padding sees itself at least
        mask = np.diagonal(mask.reshape(len(mask), *mask.shape[-2:]), axis1=1, axis2=2)
    return mask.astype(np.int64)


def input_names(task: Task[Any], examples: Iterable[Any]) -> frozenset[str]:
    """Names of the model's inputs in features of a task: what a feature has in prediction.

    Args:
        task: the task with the inputs of one model.
        examples: gold examples, of which one has to make a feature.
    """
    for example in task.adapt(examples, training=False):
        features = next(task.steps(task.request(task.request_of(example))))
        if features:
            return frozenset(features[0])
    return frozenset(task.inputs)


def decisions(answer: Mapping[Key, Tensor], batch: Arrays, task: Task[Any], problem_type: str | None) -> list[Scores]:
    """A model's logits as decisions, one entry for each of the task's outputs.

    Args:
        answer: has the logits.
        batch: the inputs.
        task: names its outputs.
        problem_type: of the model's configuration.
    """
    mask = paddle.to_tensor(token_mask(batch))
    found = []
    for name in task.output_names:
        field = _PROBABILITIES.get(name, name)
        values = answer[Key(field)].astype("float32")
        whole = paddle.ones([values.shape[0], 1])
        if name in _PROBABILITIES:
            found.append(Scores(values.unsqueeze(-1), mask, "sigmoid"))
        elif values.ndim == 4:  # of pairs of tokens, [B, C, S, S]
            pairs = (mask.unsqueeze(1) * mask.unsqueeze(2)).flatten(1)
            found.append(Scores(values.flatten(2).transpose([0, 2, 1]), pairs, "sigmoid"))
        elif field == "entity_logits":
            found.append(Scores(values, mask, "sigmoid"))
        elif mask.ndim == 3:  # one score for each choice
            found.append(Scores(values.unsqueeze(1), whole, "softmax", choices=mask.max(axis=-1)))
        elif values.ndim == 3:
            found.append(Scores(values, mask, "softmax"))
        elif field in ("start_logits", "end_logits"):  # the classes are the tokens
            found.append(Scores(values.unsqueeze(1), whole, "softmax", choices=mask))
        elif "omask_positions" in batch:  # one score for each option that the text brings
            there = paddle.to_tensor((batch["omask_positions"] != 0).astype(np.int64))
            found.append(Scores(values.unsqueeze(1), whole, "sigmoid", choices=there))
        else:
            kind = _KINDS.get(problem_type or "", "softmax")
            found.append(Scores(values.unsqueeze(1), whole, kind))
    return found
