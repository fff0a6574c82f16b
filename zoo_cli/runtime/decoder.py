"""A language model's exported graph as the model behind the decoding engine, with its cache in numpy.

One graph reads prompts and single tokens alike: some tokens behind a cache. Its inputs are those of each token [B, S],
``attention_mask`` [B, 1, S, T + S], ``past_0`` to ``past_{2 L - 1}`` [B, A, T, d] (keys and values of each layer by
turns), and ``last`` [B]: the place of each row's last token; its outputs the logits after that token [B, V], and
``new`` [B, 2 L, A, S, d]. Buffers of the cache go into the graph as they are, and nothing in it copies them.
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
from zoo_cli.decoding.cache import KeyValueCache
from zoo_cli.decoding.engine import Prompt
from zoo_cli.decoding.processors import TokenLogits
from zoo_cli.runtime.backends import Backend

DECODER = "decoder.json"
OUTPUTS = ("logits", "new")
_VERSION = 2


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
        return ("input_ids", "position_ids", *self.token_inputs, "attention_mask", *self.past, "last")

    @property
    def past(self) -> tuple[str, ...]:
        """The inputs that are the cache."""
        return tuple(f"past_{index}" for index in range(self.cache[0]))

    def save(self, bundle: Path) -> None:
        """Write `decoder.json`."""
        write_json(bundle / DECODER, {**vars(self), "version": _VERSION})

    @classmethod
    def load(cls, bundle: Path) -> DecoderFacts:
        """Read `decoder.json`.

        Raises:
            ArtifactError: it is missing, broken or of another version.
        """
        value = read_json(bundle / DECODER)
        try:
            if value["version"] != _VERSION:
                raise ValueError
            logits = {int(token): float(logit) for token, logit in value["token_logits"].items()}
            layers, heads, width = value["cache"]
            return cls(int(value["positions"]), dict(value["token_inputs"]), logits, (layers, heads, width))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                "broken-decoder",
                "this does not describe a decoder of version {version}",
                at=Location.of(bundle / DECODER),
                fix="export the model again with `zoo export`",
                version=_VERSION,
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
        self._cache = KeyValueCache(layers // 2, heads, width)
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
        past = [np.zeros((count, heads, 1, size), np.float32)] * layers
        hidden = np.zeros((count, 1, width, 1), bool)
        logits, keys, values = self._run(inputs, np.concatenate([hidden, sees], axis=-1), past, ends)
        self._cache.add_rows(keys, values, _up_to(sees[rows, 0, ends], lengths))
        last = {name: values[rows, ends] for name, values in inputs.items()}
        self._last = {name: np.concatenate([self._last.get(name, last[name][:0]), last[name]]) for name in last}
        return logits

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self._last = {**self._last, "input_ids": tokens, "position_ids": self._last["position_ids"] + 1}
        inputs = {name: values[:, None] for name, values in self._last.items()}
        past = [part for layer in range(self._facts.cache[0] // 2) for part in self._cache.layer(layer)]
        sees = self._cache.mask()[:, None, None]
        logits, keys, values = self._run(inputs, sees, past, np.zeros(len(tokens), np.int64))
        self._cache.add_tokens(keys, values)
        return logits

    def select(self, rows: np.ndarray) -> None:
        self._last = {name: values[rows] for name, values in self._last.items()}
        self._cache.select(rows)

    def _run(
        self, inputs: dict[str, np.ndarray], sees: np.ndarray, past: Sequence[np.ndarray], last: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Logits [m, V], and keys and values of the new tokens, each [L, m, A, S, d]."""
        cache = dict(zip(self._facts.past, past, strict=True))
        mask = sees.astype(np.int64, copy=False)
        batch: dict[str, Any] = {**inputs, "attention_mask": mask, **cache, "last": last}
        logits, new = self._backend({name: np.ascontiguousarray(value) for name, value in batch.items()})
        by_layer = new.swapaxes(0, 1)
        return logits, by_layer[::2], by_layer[1::2]


def _up_to(visible: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What rows see [m, S], ending with their last tokens, which see themselves."""
    ending = visible & (np.arange(visible.shape[1]) < lengths[:, None])
    ending[np.arange(len(lengths)), lengths - 1] = True
    return ending
