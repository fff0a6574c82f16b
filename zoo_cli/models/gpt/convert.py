"""GPT-2 at Hugging Face, where query, key and value are one matrix, stored [in, out] as here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.conversion import HuggingFaceLayout, Rule, unsupported
from zoo_cli.models.gpt.config import GPTConfig

_FUSED = ".attn.c_attn."
_PARTS = ("q_proj", "k_proj", "v_proj")
_BUFFER = re.compile(r"\bh\.\d+\.attn\.(masked_)?bias$")
_TANH_GELU = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh")

# their key -> ours, where the meaning is the same
_KEYS = {
    "n_embd": "hidden_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
    "n_inner": "intermediate_size",
    "resid_pdrop": "hidden_dropout_prob",
    "attn_pdrop": "attention_probs_dropout_prob",
    "layer_norm_epsilon": "effective_layer_norm_eps",
}
_THEIR_DEFAULTS = {
    "vocab_size": 50257,
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "resid_pdrop": 0.1,
    "attn_pdrop": 0.1,
    "layer_norm_epsilon": 1e-5,
    "activation_function": "gelu_new",
    "bos_token_id": 50256,
    "eos_token_id": 50256,
}
_UNUSED_THERE = (
    "hidden_act",
    "hidden_activation",
    "normalize_before",
    "fuse_attention_qkv",
    "scale_qk_coeff",
    "eol_token_id",
    "max_predict_len",
)


@dataclass(frozen=True)
class _GPT2Layout(HuggingFaceLayout):
    def weights_from(self, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        parts: dict[str, np.ndarray] = {}
        for name, value in weights.items():
            if _BUFFER.search(name):
                continue
            if _FUSED in name:
                for part, piece in zip(_PARTS, np.split(value, 3, axis=-1), strict=True):
                    parts[name.replace(_FUSED, f".attn.{part}.")] = np.ascontiguousarray(piece)
            else:
                parts[name] = value
        return super().weights_from(parts)

    def weights_to(self, weights: Mapping[str, np.ndarray], architecture: str) -> dict[str, np.ndarray]:
        converted = super().weights_to(weights, architecture)
        joined: dict[str, np.ndarray] = {}
        for name, value in converted.items():
            start, part, end = name.rpartition(f".attn.{_PARTS[0]}.")
            if part:
                pieces = [converted[f"{start}.attn.{each}.{end}"] for each in _PARTS]
                joined[start + _FUSED + end] = np.concatenate(pieces, axis=-1)
            elif not any(f".attn.{each}." in name for each in _PARTS):
                joined[name] = value
        return joined

    def config_from(self, values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
        theirs = {**_THEIR_DEFAULTS, **super().config_from(values, at)}
        for key, supported in (
            ("scale_attn_weights", True),
            ("scale_attn_by_inverse_layer_idx", False),
            ("tie_word_embeddings", True),
        ):
            if theirs.pop(key, None) not in (supported, None):
                raise unsupported(key, values[key], at)
        name = theirs.pop("activation_function")
        if name == "gelu":  # the exact form, which goes by another name than here
            raise unsupported("activation_function", name, at)
        ours = {_KEYS.get(key, key): value for key, value in theirs.items()}
        ours["hidden_activation"] = "gelu" if name in _TANH_GELU else name
        if ours.get("intermediate_size") is None:
            ours["intermediate_size"] = 4 * ours["hidden_size"]
        if ours.get("pad_token_id") is None:
            ours["pad_token_id"] = ours["eos_token_id"]  # their models know no padding; id 0 is a word
        ours.setdefault("ignore_index", -100)
        return ours

    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        assert isinstance(config, GPTConfig)
        for key, only in (("normalize_before", True), ("fuse_attention_qkv", False), ("scale_qk_coeff", 1.0)):
            if getattr(config, key) != only:
                raise UsageError(
                    "unsupported-config",
                    "Hugging Face's GPT-2 has no models with {key} = {value}",
                    fix='choose the layout "paddlenlp"',
                    key=key,
                    value=getattr(config, key),
                )
        values = super().config_to(config, architecture)
        values["activation_function"] = "gelu_new" if config.hidden_activation == "gelu" else config.hidden_activation
        for key in ("position_embedding_type", *_UNUSED_THERE):
            del values[key]
        names = {ours: theirs for theirs, ours in _KEYS.items()}
        values = {names.get(key, key): value for key, value in values.items()}
        values["embd_pdrop"] = values["resid_pdrop"]
        return values

    def our_architecture(self, name: str) -> str:
        return "GPTForCausalLM" if name == "GPTLMHeadModel" else super().our_architecture(name)


HUGGING_FACE = _GPT2Layout(
    model_type="gpt2",
    prefix="transformer",
    family_prefix="gpt",
    rules=(
        Rule("wte", "embeddings.word_embeddings"),
        Rule("wpe", "embeddings.position_embeddings"),
        Rule("h.{i}.ln_1", "decoder.layers.{i}.norm1"),
        Rule("h.{i}.ln_2", "decoder.layers.{i}.norm2"),
        *(Rule(f"h.{{i}}.attn.{part}", f"decoder.layers.{{i}}.self_attn.{part}") for part in _PARTS),
        Rule("h.{i}.attn.c_proj", "decoder.layers.{i}.self_attn.out_proj"),
        Rule("h.{i}.mlp.c_fc", "decoder.layers.{i}.linear1"),
        Rule("h.{i}.mlp.c_proj", "decoder.layers.{i}.linear2"),
        Rule("ln_f", "decoder.norm"),
        Rule("lm_head", "lm_head"),
        Rule("classifier", "classifier", linear=True),
    ),
    architectures={
        "GPT2Model": "GPTModel",
        "GPT2LMHeadModel": "GPTForCausalLM",
        "GPT2ForTokenClassification": "GPTForTokenClassification",
    },
    marker=r"\bh\.\d+\.attn\.c_attn\b",
    ignored=(),
)
