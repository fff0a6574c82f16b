"""Vectors of texts, from what an encoder says of their tokens.

Mean and first token as in sentence-transformers (Reimers & Gurevych, 2019), https://arxiv.org/abs/1908.10084: special
tokens count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import TextExample
from zoo_cli.tasks.base import Metrics, Steps, Task
from zoo_cli.tasks.embedding.spec import EmbeddingOptions
from zoo_cli.tasks.features import filler, model_inputs
from zoo_cli.tokenizers.base import Tokenizer

HIDDEN = "last_hidden_state"


class EmbeddingTask(Task[TextExample]):
    """A vector for each text; the model is a backbone without a head, and is not trained for it."""

    name = "embedding"
    output_names = (HIDDEN,)
    sequence_outputs = frozenset({HIDDEN})
    options: EmbeddingOptions

    def __init__(self, options: EmbeddingOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": filler(tokenizer)}

    def request_of(self, example: TextExample) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: TextExample, training: bool) -> NoReturn:
        """Refuse to learn.

        Raises:
            UsageError: always (`no-training`).
        """
        raise UsageError(
            "no-training",
            "vectors of texts are neither learnt nor scored",
            fix="train the encoder for another task, then export it with task.name=embedding",
        )

    def metrics(self) -> Metrics[TextExample]:
        """Refuse to score, as `encode` does."""
        return self.encode(TextExample(""), False)

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> str:
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        return text

    def steps(self, request: str) -> Steps:
        encoding = self.tokenizer.encode_batch([request])[0]
        truncated = len(encoding.ids) > self.options.max_length
        if truncated:
            encoding = self.tokenizer.encode_batch([request], max_length=self.options.max_length)[0]
        outputs = yield [model_inputs(encoding, self.inputs)]
        answer = {"embedding": self.vector(outputs[0][HIDDEN]).tolist(), "tokens": len(encoding.ids)}
        return {**answer, "truncated": True} if truncated else answer

    def vector(self, hidden: np.ndarray) -> np.ndarray:
        """The vector float32 [H] of a text, from its tokens' float32 [S, H]."""
        pooled = hidden[0] if self.options.pooling == "cls" else hidden.mean(axis=0, dtype=np.float64)
        length = np.linalg.norm(pooled) if self.options.normalize else 1.0
        return (pooled / max(float(length), 1e-12)).astype(np.float32)
