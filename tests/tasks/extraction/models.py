"""Models of rules instead of weights: they read features as a real one does, and know what to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli import tokenizers
from zoo_cli.tasks.base import Feature, Outputs, answer_all
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.extraction.task import ExtractionTask

VOCABS = Path(__file__).parents[2] / "golden" / "cases" / "tokenizers" / "vocabs"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
FILLER = "的一是在不了有和人这中大为上个国我以要他"
"""Characters that are tokens of the vocabulary and of no pattern below."""


@cache
def ernie() -> Any:
    return tokenizers.load(VOCABS / "ernie", class_name="ErnieTokenizer")


def make_task(tokenizer: Any = None, inputs: Sequence[str] = INPUTS, **options: Any) -> ExtractionTask:
    return ExtractionTask(ExtractionOptions(**options), tokenizer or ernie(), inputs)


def ids_of(text: str) -> list[int]:
    return ernie().encode_batch([text], add_special_tokens=False)[0].ids.tolist()


class RuleModel:
    """Marks every occurrence of a prompt's patterns that lies whole in the input.

    Args:
        patterns: prompt -> texts to mark in the content; where one stands in the prompt itself, give it in `classes`.
        classes: prompt -> text to mark in the prompt.
        probability: of each marked position.
    """

    def __init__(
        self,
        patterns: Mapping[str, Sequence[str]],
        classes: Mapping[str, str] | None = None,
        probability: float = 0.9,
    ) -> None:
        self.patterns = {tuple(ids_of(prompt)): [ids_of(text) for text in texts] for prompt, texts in patterns.items()}
        self.classes = {tuple(ids_of(prompt)): ids_of(text) for prompt, text in (classes or {}).items()}
        self.probability = probability
        self.batches: list[int] = []

    def __call__(self, features: list[Feature]) -> list[Outputs]:
        self.batches.append(len(features))
        return [self._one(feature["input_ids"].tolist()) for feature in features]

    def _one(self, ids: list[int]) -> Outputs:
        separator = ids.index(ernie().sep_token_id)
        prompt = tuple(ids[1:separator])
        starts, ends = np.zeros(len(ids), np.float32), np.zeros(len(ids), np.float32)
        marks = [(pattern, separator, len(ids)) for pattern in self.patterns.get(prompt, [])]
        if prompt in self.classes:
            marks.append((self.classes[prompt], 1, separator))
        for pattern, low, high in marks:
            for place in range(low, high - len(pattern) + 1):
                if ids[place : place + len(pattern)] == pattern:
                    starts[place] = ends[place + len(pattern) - 1] = self.probability
        return {"start_prob": starts, "end_prob": ends}


def gold_model(features: list[Feature]) -> list[Outputs]:
    """Says what the labels say."""
    return [{"start_prob": one["start_positions"], "end_prob": one["end_positions"]} for one in features]


def random_model(seed: int, power: float = 4.0) -> Callable[[list[Feature]], list[Outputs]]:
    """Random probabilities that depend on nothing but the ids."""

    def run(features: list[Feature]) -> list[Outputs]:
        outputs = []
        for feature in features:
            generator = np.random.default_rng([seed, *feature["input_ids"].tolist()])
            draws = generator.random((2, len(feature["input_ids"]))).astype(np.float32) ** power
            outputs.append({"start_prob": draws[0], "end_prob": draws[1]})
        return outputs

    return run


def predict(task: ExtractionTask, run: Any, *requests: Any) -> list[Any]:
    return list(answer_all([task.steps(task.request(request)) for request in requests], run))
