"""What the tasks on long documents share: segments that a model reads in order, remembering the earlier ones.

ERNIE-Doc (Ding et al., 2020, https://arxiv.org/abs/2012.15688) hands its memory from segment to segment. All segments
are filled up to the length that the model was trained on, since the distances between tokens that it learnt are
counted from that length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from zoo_cli.base.errors import UsageError
from zoo_cli.recipe.schema import Section
from zoo_cli.tasks.base import Feature, Outputs, Steps, Task
from zoo_cli.tokenizers.base import Encoding, Tokenizer

MEMORIES = "memories"


class DocumentOptions(Section):
    """Options of all tasks on long documents."""

    max_length: Annotated[int, Field(ge=16)] = 512
    """Tokens of a segment, special ones included; all segments are filled up to it. It is part of what a model has
    learnt: published ones were trained on 512."""
    retrospective: bool = False
    """Read every document twice, the second time with a memory of its end; only the second reading is learnt from and
    answers."""
    memory_shape: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=3, max_length=3)] | None = None
    """Layers, tokens and width of what the model remembers; always taken from the model."""


class DocumentTask(Task[Any]):
    """Mixin, named before the task whose features are to be read in order.

    Class attributes:
        padding_before_last: the padding of a segment stands in front of its last token, not behind it.
    """

    states = (MEMORIES,)
    fixed = frozenset({MEMORIES})
    # A memory of ERNIE-Doc base takes 5 MB, and each open document holds two.
    most_at_once = 32
    padding_before_last = False
    options: DocumentOptions

    def __init__(self, options: Any, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.readings = 2 if options.retrospective else 1

    def fit_model(self, state_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.options = self.options.model_copy(update={"memory_shape": list(state_shapes[MEMORIES])})

    def memory_shape(self) -> list[int]:
        """Layers, tokens and width of the memory.

        Raises:
            UsageError: no model has said (`no-memory-shape`).
        """
        if self.options.memory_shape is None:
            raise UsageError("no-memory-shape", "the memory's shape is not known", fix="load or train a model first")
        return self.options.memory_shape

    def initial_state(self) -> dict[str, np.ndarray]:
        return {MEMORIES: np.zeros(self.memory_shape(), np.float32)}

    def comparable(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Not what the model makes of padding, which depends on how a sum is rounded; see `ErnieDocModel`."""
        seen = inputs["attention_mask"].astype(bool)  # [B, S], or [B, C, S] where there are choices
        _, slots, _ = self.memory_shape()
        before = np.ones((*seen.shape[:-1], slots), bool)
        remembered = np.concatenate([before, seen], axis=-1)[..., seen.shape[-1] :]  # [..., M]
        return {**dict.fromkeys(self.sequence_outputs, seen), MEMORIES: remembered[..., None, :]}

    def stride(self, given: int | None) -> int:
        """Tokens from one segment's start to the next one's: as given, else as many as are remembered."""
        return given or self.memory_shape()[1] or self.options.max_length

    def filled(self, feature: Feature) -> Feature:
        """A feature of at most `max_length` tokens [..., S] as a segment of exactly so many."""
        size = feature["input_ids"].shape[-1]
        place = size - 1 if self.padding_before_last else size
        result = dict(feature)
        for name, array in feature.items():
            if array.ndim and name not in self.fixed:
                shape = (*array.shape[:-1], self.options.max_length - size)
                padding = np.full(shape, self.padding.get(name, 0), array.dtype)
                result[name] = np.concatenate([array[..., :place], padding, array[..., place:]], axis=-1)
        return result

    def read(self, features: list[Feature]) -> Steps:
        """Have the model read segments one by one, each with the memory of those before it.

        With `retrospective` twice, and the second reading begins with the memory that the first one ended with.
        """
        segments = [self.filled(feature) for feature in features]
        state, outputs = self.initial_state(), list[Outputs]()
        for _ in range(self.readings):
            outputs = []
            for segment in segments:
                (output,) = yield [{**segment, **state}]
                state = {name: output[name] for name in state}
                outputs.append({name: array for name, array in output.items() if name not in state})
        return outputs


def framed(*parts: Encoding | int) -> Encoding:
    """One encoding, all of type 0, made of others and of special tokens.

    Args:
        parts: in order, texts without special tokens, and ids of special tokens.
    """
    texts = 0
    columns: list[tuple[np.ndarray, ...]] = []  # ids, offsets, special tokens, sequences
    for part in parts:
        if isinstance(part, Encoding):
            size = len(part.ids)
            columns.append((part.ids, part.offsets, np.zeros(size, np.int64), np.full(size, texts, np.int64)))
            texts += 1
        else:
            one = np.ones(1, np.int64)
            columns.append((one * part, np.zeros((1, 2), np.int64), one, -one))
    ids, offsets, special, sequences = map(np.concatenate, zip(*columns, strict=True))
    return Encoding(ids, np.zeros_like(ids), offsets, special, sequences)
