"""Reference models in plain numpy, written from the family facts alone: slow, exact, and independent of paddle.

`NumpyModel` recomputes every row from the start at each step; `CachedModel` keeps keys and values in `KeyValueCache`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from zoo_cli.base.files import read_json
from zoo_cli.decoding.cache import KeyValueCache
from zoo_cli.decoding.engine import Prompt

HIDDEN = -1e4
_erf = np.vectorize(math.erf, otypes=[np.float64])


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5) * weight + bias


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def gelu(x: np.ndarray) -> np.ndarray:
    return (x * 0.5 * (1 + _erf(x / math.sqrt(2)))).astype(np.float32)


def gelu_tanh(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class Network:
    """UNIMO, UnifiedTransformer or GPT with its language-model head, from a golden case."""

    def __init__(self, folder: Path) -> None:
        self.config: dict[str, Any] = read_json(folder / "config.json")
        self.weights = load_file(folder / "weights.safetensors")
        self.prefix = next(name for name in self.weights if name.endswith("word_embeddings.weight")).split(".")[0]
        self.gpt = self.prefix == "gpt"
        self.layers = self.config["num_hidden_layers"]
        self.heads = self.config["num_attention_heads"]
        self.head_dim = self.config["hidden_size"] // self.heads
        if self.gpt:
            self.activation = gelu_tanh
        else:
            self.activation = {"relu": relu, "gelu": gelu}[self.config["hidden_act"]]

    @property
    def token_logits(self) -> dict[int, float]:
        c = self.config
        if self.prefix == "unimo":
            return {c[name]: -1e9 for name in ("unk_token_id", "pad_token_id", "bos_token_id")}
        if self.prefix == "unified_transformer":
            return {c[name]: -1e4 for name in ("unk_token_id", "bos_token_id", "mask_token_id")}
        return {}

    def defaults(self, prompt: Prompt) -> dict[str, np.ndarray]:
        """The prompt with everything that the network reads for each token, and an additive mask [S, S]."""
        length = len(prompt["input_ids"])
        full = {"token_type_ids": np.zeros(length, np.int64), "position_ids": np.arange(length), **prompt}
        mask = np.asarray(full.get("attention_mask", np.zeros((length, length), np.float32)))
        if mask.dtype.kind != "f":
            mask = (1 - mask) * HIDDEN
        if self.gpt:
            mask = np.minimum(mask, np.triu(np.full((length, length), HIDDEN), 1))
        full["attention_mask"] = mask.astype(np.float32)
        return full

    def __call__(
        self, inputs: Mapping[str, np.ndarray], mask: np.ndarray, past: KeyValueCache | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Run rows [n, S] with an additive mask broadcastable to [n, 1, S, past + S].

        Returns:
            Logits [n, S, V], and keys and values [layers, n, heads, S, head_dim] of the tokens read.
        """
        x = (
            self._table("word_embeddings")[inputs["input_ids"]]
            + self._table("position_embeddings")[inputs["position_ids"]]
        )
        if not self.gpt:
            x = x + self._table("token_type_embeddings")[inputs["token_type_ids"]]
        if "role_ids" in inputs:
            x = x + self._table("role_embeddings")[inputs["role_ids"]]
        if self.prefix == "unimo":
            x = self._norm("unimo.encoder_norm", x)
        stack = f"{self.prefix}.{'decoder' if self.gpt else 'encoder'}"
        pre = self.config["normalize_before"]
        keys, values = [], []
        for i in range(self.layers):
            name = f"{stack}.layers.{i}"
            h = self._norm(f"{name}.norm1", x) if pre else x
            q, k, v = (self._split(self._linear(f"{name}.self_attn.{p}_proj", h)) for p in "qkv")
            keys.append(k)
            values.append(v)
            if past is not None:
                k, v = (np.concatenate(pair, axis=2) for pair in zip(past.layer(i), (k, v), strict=True))
            attention = softmax(q * self.head_dim**-0.5 @ k.transpose(0, 1, 3, 2) + mask)
            merged = (attention @ v).transpose(0, 2, 1, 3).reshape(x.shape)
            x = x + self._linear(f"{name}.self_attn.out_proj", merged)
            x = x if pre else self._norm(f"{name}.norm1", x)
            h = self._norm(f"{name}.norm2", x) if pre else x
            x = x + self._linear(f"{name}.linear2", self.activation(self._linear(f"{name}.linear1", h)))
            x = x if pre else self._norm(f"{name}.norm2", x)
        if f"{stack}.norm.weight" in self.weights:
            x = self._norm(f"{stack}.norm", x)
        if not self.gpt:
            x = self._norm("lm_head.layer_norm", self.activation(self._linear("lm_head.transform", x)))
        logits = x @ self._table("word_embeddings").T + self.weights.get("lm_head.decoder_bias", np.float32(0))
        return logits.astype(np.float32), np.stack(keys), np.stack(values)

    def _table(self, name: str) -> np.ndarray:
        return self.weights[f"{self.prefix}.embeddings.{name}.weight"]

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return layer_norm(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _split(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(*x.shape[:2], self.heads, self.head_dim).transpose(0, 2, 1, 3)


class _Base:
    def __init__(self, network: Network) -> None:
        self.network = network
        self.token_logits = network.token_logits

    def room(self, prompt: Prompt) -> int:
        last = int(self.network.defaults(prompt)["position_ids"][-1])
        return int(self.network.config["max_position_embeddings"]) - last  # the last token is not read


class NumpyModel(_Base):
    """Every row by itself and from the start: what batching and caching must agree with."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.batch: list[dict[str, np.ndarray]] = []

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        new = [self.network.defaults(prompt) for prompt in prompts]
        self.batch += new
        return self._logits(new)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        assert len(tokens) == len(self.batch)
        self.batch = [self._grown(row, token) for row, token in zip(self.batch, tokens, strict=True)]
        return self._logits(self.batch)

    def select(self, rows: np.ndarray) -> None:
        self.batch = [self.batch[row] for row in rows]

    def _grown(self, row: dict[str, np.ndarray], token: int) -> dict[str, np.ndarray]:
        grown = {name: np.append(values, values[-1]) for name, values in row.items() if name != "attention_mask"}
        grown["input_ids"][-1] = token
        grown["position_ids"][-1] += 1
        mask = np.pad(row["attention_mask"], ((0, 1), (0, 0)), mode="edge")
        mask = np.pad(mask, ((0, 0), (0, 1)), constant_values=-1e6)
        mask[-1, -1] = 0
        return {**grown, "attention_mask": mask}

    def _logits(self, batch: Sequence[dict[str, np.ndarray]]) -> np.ndarray:
        outputs = []
        for row in batch:
            inputs = {name: values[None] for name, values in row.items() if name != "attention_mask"}
            outputs.append(self.network(inputs, row["attention_mask"][None, None])[0][0, -1])
        return np.stack(outputs)


class CachedModel(_Base):
    """One token a step for the whole batch, with keys and values of the past in a `KeyValueCache`."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.cache = KeyValueCache(network.layers, network.heads, network.head_dim)
        self.last: dict[str, np.ndarray] = {}  # [n]: each input's value for the last token

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        rows = [self.network.defaults(prompt) for prompt in prompts]
        lengths = np.array([len(row["input_ids"]) for row in rows])
        width, ends = int(lengths.max()), lengths - 1
        mask = np.full((len(rows), 1, width, width), -1e9, np.float32)
        inputs = {name: np.zeros((len(rows), width), np.int64) for name in rows[0] if name != "attention_mask"}
        for i, row in enumerate(rows):
            mask[i, 0, : lengths[i], : lengths[i]] = row["attention_mask"]
            for name, values in inputs.items():
                values[i, : lengths[i]] = row[name]
        logits, keys, values = self.network(inputs, mask)
        every = np.arange(len(rows))
        self.cache.add_rows(keys, values, mask[every, 0, ends] > HIDDEN / 2)
        ended = {name: values[every, ends] for name, values in inputs.items()}
        self.last = {name: np.concatenate([self.last.get(name, ended[name][:0]), ended[name]]) for name in ended}
        return logits[every, ends]

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self.last["position_ids"] = self.last["position_ids"] + 1
        self.last["input_ids"] = tokens
        mask = (1 - self.cache.mask()[:, None, None, :]) * np.float32(-1e9)
        logits, keys, values = self.network({name: v[:, None] for name, v in self.last.items()}, mask, self.cache)
        self.cache.add_tokens(keys, values)
        return logits[:, 0]

    def select(self, rows: np.ndarray) -> None:
        self.cache.select(rows)
        self.last = {name: values[rows] for name, values in self.last.items()}


class MarkovModel:
    """A toy: logits depend on the last two tokens and the length. Checks that it is told of every row."""

    def __init__(self, vocab_size: int = 12, seed: int = 0, sharpness: float = 2.0) -> None:
        self.table = np.random.default_rng(seed).normal(size=(7, vocab_size, vocab_size, vocab_size)) * sharpness
        self.token_logits: dict[int, float] = {}
        self.rows: list[list[int]] = []
        self.most_rows = 0

    def room(self, prompt: Prompt) -> int:
        return 100 - len(prompt["input_ids"])

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        self.rows += [list(map(int, prompt["input_ids"])) for prompt in prompts]
        return self._logits(self.rows[-len(prompts) :])

    def step(self, tokens: np.ndarray) -> np.ndarray:
        self.rows = [[*row, int(token)] for row, token in zip(self.rows, tokens, strict=True)]
        self.most_rows = max(self.most_rows, len(self.rows))
        return self._logits(self.rows)

    def select(self, rows: np.ndarray) -> None:
        self.rows = [list(self.rows[row]) for row in rows]

    def _logits(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        return np.stack([self.logits(row) for row in rows])

    def logits(self, row: Sequence[int]) -> np.ndarray:
        return self.table[len(row) % 7, row[-2] if len(row) > 1 else 0, row[-1]].astype(np.float32)
