"""A tokenizer over a small made-up vocabulary, and a model that is a function of each sequence."""

from __future__ import annotations

import string
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.tasks.base import Feature, Outputs, Task, answer_all
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.base import Tokenizer

INPUTS = ("input_ids", "token_type_ids", "attention_mask")
_LETTERS = string.ascii_lowercase + string.digits


@cache
def tokenizer() -> Tokenizer:
    """BERT's, with the common Chinese characters, and English words in pieces of one letter."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{letter}" for letter in _LETTERS)]
    tokens += [*string.punctuation, *"，。？！《》“”", *map(chr, range(0x4E00, 0x9FA6))]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
        return load(folder, class_name="BertTokenizer")


Forward = Callable[[np.ndarray], Outputs]
"""A model: token ids of one sequence without padding -> outputs of it."""


def runner(task: Task[Any], forward: Forward, batch_size: int = 1) -> Callable[[Sequence[Feature]], list[Outputs]]:
    """Run features as the engine does: padded to batches, with nonsense as outputs of padding, and cut apart again."""

    def run(features: Sequence[Feature]) -> list[Outputs]:
        results: list[Outputs] = []
        for start in range(0, len(features), batch_size):
            rows = features[start : start + batch_size]
            batch = task.stack([{name: row[name] for name in task.inputs} for row in rows])
            outputs = [forward(ids[mask == 1]) for ids, mask in zip(*(batch[n] for n in INPUTS[::2]), strict=True)]
            stacked = {name: _stack([output[name] for output in outputs]) for name in task.output_names}
            results += task.unstack(stacked, [len(row["input_ids"]) for row in rows])
        return results

    return run


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    rows = np.full((len(arrays), *shape), 1e4)
    for row, array in zip(rows, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return rows


def predict(task: Task[Any], inputs: Sequence[Any], forward: Forward, batch_size: int = 1) -> list[Any]:
    """Answers to all inputs."""
    return list(answer_all([task.steps(task.request(value)) for value in inputs], runner(task, forward, batch_size)))


def evaluate(task: Task[Any], examples: Sequence[Any], forward: Forward) -> dict[str, Any]:
    """Scores on gold examples."""
    metrics = task.metrics()
    for example in task.adapt(examples, training=False):
        features = task.encode(example, training=False)
        metrics.add(example, features, runner(task, forward)(features))
    return metrics.result()
