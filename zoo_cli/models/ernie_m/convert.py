"""ERNIE-M at Hugging Face, where LayerNorm and the feed-forward width follow their keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_cli.base.errors import Location
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.conversion import HuggingFaceLayout, Rule, same_names

_THEIR_INTERMEDIATE_SIZE = 3072  # where their file does not say


@dataclass(frozen=True)
class _ErnieMLayout(HuggingFaceLayout):
    def config_from(self, values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
        ours = super().config_from(values, at)
        ours["effective_layer_norm_eps"] = ours.get("layer_norm_eps", 1e-5)
        width = ours.get("intermediate_size", _THEIR_INTERMEDIATE_SIZE)
        if width != 4 * ours.get("hidden_size", 768):
            ours["layer_intermediate_sizes"] = [width] * ours.get("num_hidden_layers", 12)
        return ours

    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        widths = set(config.layer_intermediate_sizes or [config.intermediate_size])
        if len(widths) == 1:  # all layers alike, which one key of theirs can say
            config = config.model_copy(update={"layer_intermediate_sizes": None, "intermediate_size": widths.pop()})
        values = super().config_to(config, architecture)
        values["layer_norm_eps"] = values.pop("effective_layer_norm_eps")
        return values


_LAYER = "encoder.layers.{i}."

HUGGING_FACE = _ErnieMLayout(
    model_type="ernie_m",
    prefix="ernie_m",
    family_prefix="ernie_m",
    rules=(
        *(
            Rule(f"{_LAYER}self_attn.self_attn.{name}_proj", f"{_LAYER}self_attn.{name}_proj", linear=True)
            for name in "qkv"
        ),
        Rule(f"{_LAYER}self_attn.out_proj", f"{_LAYER}self_attn.out_proj", linear=True),
        *(Rule(f"{_LAYER}linear{number}", f"{_LAYER}linear{number}", linear=True) for number in (1, 2)),
        *(Rule(f"{_LAYER}norm{number}", f"{_LAYER}norm{number}") for number in (1, 2)),
        *(
            Rule(f"embeddings.{name}", f"embeddings.{name}")
            for name in ("word_embeddings", "position_embeddings", "layer_norm")
        ),
        Rule("pooler.dense", "pooler.dense", linear=True),
        Rule("qa_outputs", "classifier", linear=True, only="ForQuestionAnswering"),
        Rule("classifier", "classifier", linear=True),
        *(Rule(f"linear_{side}", f"linear_{side}", linear=True) for side in ("start", "end")),
    ),
    architectures={
        "ErnieMForInformationExtraction": "UIEM",
        **same_names(
            [
                "ErnieMModel",
                "ErnieMForSequenceClassification",
                "ErnieMForTokenClassification",
                "ErnieMForQuestionAnswering",
                "ErnieMForMultipleChoice",
            ]
        ),
    },
    marker=r"\bself_attn\.self_attn\.",
)
