"""Models of any family with weights that are not all alike, and tasks without text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import paddle

from zoo_cli import models, registry
from zoo_cli.models.base import Model
from zoo_cli.tasks.base import Feature, Metrics, Steps, Task

VOCABULARY = 60
HEADS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sequence_classification": ("SequenceClassification", ("logits",)),
    "token_classification": ("TokenClassification", ("logits",)),
    "question_answering": ("QuestionAnswering", ("start_logits", "end_logits")),
    "multiple_choice": ("MultipleChoice", ("logits",)),
    "extraction": ("", ("start_prob", "end_prob")),
}


class Ids(Task[Feature]):
    """A task whose examples are features."""

    padding: Mapping[str, float] = MappingProxyType({"labels": -100})

    def __init__(self, name: str, inputs: Sequence[str]) -> None:
        super().__init__(None, None, inputs)  # type: ignore[arg-type]
        self.name = name
        self.output_names = HEADS[name][1]

    def request_of(self, example: Feature) -> dict[str, Any]:
        return {key: value for key, value in example.items() if key in self.inputs}

    def encode(self, example: Feature, training: bool) -> list[Feature]:
        return [example]

    def metrics(self) -> Metrics[Feature]:
        raise NotImplementedError

    def request(self, value: Any) -> Any:
        return value

    def steps(self, request: Any) -> Steps:
        yield [request]
        return None


def inputs_of(family: str) -> tuple[str, ...]:
    return registry.family(family).inputs


def build(family: str, task: str, seed: int = 0, **config: Any) -> Model:
    """A tiny model of a family for a task, with wide weights."""
    spec = registry.family(family)
    paddle.seed(seed)
    values = {**spec.tiny, "vocab_size": VOCABULARY, "initializer_range": 0.3, "num_labels": 3, **config}
    model: Model = models.build(spec.tasks[task], values)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # biases and norms, which start alike
            parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.1)
    return model


def features(task: str, inputs: Sequence[str], count: int = 10, seed: int = 0) -> list[Feature]:
    """Texts of 3 to 9 tokens, or questions of 2 to 4 choices, with labels."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        length = int(generator.integers(3, 10))
        shape = (int(generator.integers(2, 5)), length) if task == "multiple_choice" else (length,)
        feature: Feature = {"input_ids": generator.integers(3, VOCABULARY, shape)}
        for name in inputs:
            if name == "attention_mask":
                feature[name] = np.ones(shape, np.int64)
            elif name == "token_type_ids":
                feature[name] = np.zeros(shape, np.int64)
            elif name == "position_ids":
                feature[name] = np.broadcast_to(np.arange(length), shape)
        if task == "question_answering":
            feature |= {"start_positions": np.array(1), "end_positions": np.array(2)}
        elif task == "extraction":
            feature |= {name: np.eye(1, length, dtype=np.float32)[0] for name in ("start_positions", "end_positions")}
        elif task == "token_classification":
            feature["labels"] = generator.integers(0, 3, length)
        else:
            feature["labels"] = generator.integers(0, 2, ())
        rows.append(feature)
    return rows
