"""A language model's exported graph as the model behind the decoding engine, with its cache in numpy.

One graph reads prompts and single tokens alike: some tokens behind a cache. Its inputs are those of each token [B, S],
``attention_mask`` [B, 1, S, T + S], ``past`` [B, 2 L, A, T, d] (keys and values of each layer), and ``last`` [B]: the
place of each row's last token; its outputs the logits after that token [B, V], and ``new`` [B, 2 L, A, S, d].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import read_json, write_json
from zoo_cli.decoding.arrays import stack_prompts
from zoo_cli.decoding.engine import Prompt
from zoo_cli.decoding.processors import TokenLogits
from zoo_cli.runtime.backends import Backend

DECODER = "decoder.json"
OUTPUTS = ("logits", "new")
_BLOCK = 64
"""Tokens by which the cache grows."""


@dataclass(frozen=True)
class DecoderFacts:
    """What the engine has to know of a language model beside its graph.

    Args:
        positions: rows of the position table.
        token_inputs: inputs beside ids and positions that each token has -> value where a prompt does not say.
        token_logits: logits that certain tokens always get.
        cache: 2 L, A and d of the cache.
    """

    positions: int
    token_inputs: dict[str, int]
    token_logits: dict[int, float]
    cache: tuple[int, int, int]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs, in order."""
        return ("input_ids", "position_ids", *self.token_inputs, "attention_mask", "past", "last")

    def save(self, bundle: Path) -> None:
        """Write `decoder.json`."""
        write_json(bundle / DECODER, {**vars(self), "version": 1})

    @classmethod
    def load(cls, bundle: Path) -> DecoderFacts:
        """Read `decoder.json`.

        Raises:
            ArtifactError: it is missing, broken or of another version.
        """
        value = read_json(bundle / DECODER)
        try:
            if value["version"] != 1:
                raise ValueError
            logits = {int(token): float(logit) for token, logit in value["token_logits"].items()}
            layers, heads, width = value["cache"]
            return cls(int(value["positions"]), dict(value["token_inputs"]), logits, (layers, heads, width))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                "broken-decoder", "this does not describe a decoder of version 1", at=Location.of(bundle / DECODER)
            ) from error


class GraphBatch:
    """A graph with a running batch of rows: the `zoo_cli.decoding.engine.StepModel` of bundles.

    Args:
        backend: the loaded graph.
        facts: of the model.
    """

    def __init__(self, backend: Backend, facts: DecoderFacts) -> None:
        self._backend = backend
        self._facts = facts
        layers, heads, width = facts.cache
        self._cache = np.zeros((0, layers, heads, 0, width), np.float32)  # [n, 2 L, A, room, d]
        self._visible = np.zeros((0, 0), bool)  # [n, room]: what the next token of each row sees
        self._lengths = np.zeros(0, np.int64)
        self._last: dict[str, np.ndarray] = {}  # what each row's last token had as inputs, int64 [n]

    @property
    def token_logits(self) -> TokenLogits:
        return self._facts.token_logits

    def room(self, prompt: Prompt) -> int:
        last = int(prompt["position_ids"][-1]) if "position_ids" in prompt else len(prompt["input_ids"]) - 1
        return self._facts.positions - last  # the last token generated is not read

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        inputs, mask, lengths = stack_prompts(prompts, self._facts.token_inputs)
        count, width = inputs["input_ids"].shape
        rows, ends = np.arange(count), lengths - 1
        sees = mask if mask.ndim == 4 else np.repeat(mask[:, None, None], width, axis=2)  # [m, 1, S, S]
        # A cache of one hidden token: not every engine takes arrays without elements.
        layers, heads, size = self._facts.cache
        past = np.zeros((count, layers, heads, 1, size), np.float32)
        hidden = np.zeros((count, 1, width, 1), bool)
        logits, new = self._run(inputs, np.concatenate([hidden, sees], axis=-1), past, ends)
        self._join(new, lengths, sees[rows, 0, ends])
        last = {name: values[rows, ends] for name, values in inputs.items()}
        self._last = {name: np.concatenate([self._last.get(name, last[name][:0]), last[name]]) for name in last}
        return logits

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self._last = {**self._last, "input_ids": tokens, "position_ids": self._last["position_ids"] + 1}
        rows = np.arange(len(tokens))
        self._make_room(int(self._lengths.max()) + 1)
        sees = np.concatenate([self._visible, np.ones((len(rows), 1), bool)], axis=1)[:, None, None]
        inputs = {name: values[:, None] for name, values in self._last.items()}
        logits, new = self._run(inputs, sees, self._cache, np.zeros_like(rows))
        self._cache[rows, :, :, self._lengths] = new[:, :, :, 0]
        self._visible[rows, self._lengths] = True
        self._lengths = self._lengths + 1
        return logits

    def select(self, rows: np.ndarray) -> None:
        self._last = {name: values[rows] for name, values in self._last.items()}
        self._lengths = self._lengths[rows]
        room = _whole_blocks(int(self._lengths.max(initial=0)))
        self._cache, self._visible = self._cache[rows, :, :, :room], self._visible[rows, :room]

    def _run(
        self, inputs: dict[str, np.ndarray], sees: np.ndarray, past: np.ndarray, last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Logits [m, V], and keys and values of the new tokens [m, 2 L, A, S, d]."""
        batch: dict[str, Any] = {**inputs, "attention_mask": sees.astype(np.int64), "past": past, "last": last}
        logits, new = self._backend({name: np.ascontiguousarray(value) for name, value in batch.items()})
        return logits, new

    def _join(self, new: np.ndarray, lengths: np.ndarray, visible: np.ndarray) -> None:
        """Add rows behind the present ones; what lies behind a row's length is overwritten later."""
        width = visible.shape[1]
        self._make_room(width)
        room = self._visible.shape[1]
        added = np.pad(new, ((0, 0),) * 3 + ((0, room - width), (0, 0)))
        self._cache = np.concatenate([self._cache, added])
        self._visible = np.concatenate([self._visible, np.pad(visible, ((0, 0), (0, room - width)))])
        self._lengths = np.concatenate([self._lengths, lengths])

    def _make_room(self, length: int) -> None:
        more = _whole_blocks(length) - self._visible.shape[1]
        if more > 0:
            self._cache = np.pad(self._cache, ((0, 0),) * 3 + ((0, more), (0, 0)))
            self._visible = np.pad(self._visible, ((0, 0), (0, more)))


def _whole_blocks(length: int) -> int:
    return -(-length // _BLOCK) * _BLOCK
