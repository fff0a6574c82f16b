"""ELECTRA at Hugging Face, whose heads have activations and LayerNorms of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.conversion import HuggingFaceLayout, Rule, encoder_rules, same_names, unsupported
from zoo_cli.models.electra.config import ElectraConfig

_HEADS_WITH_GELU = ("ElectraGenerator", "ElectraForSequenceClassification", "ElectraForMultipleChoice")
_SUMMARY = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}


@dataclass(frozen=True)
class _ElectraLayout(HuggingFaceLayout):
    def config_from(self, values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
        ours = super().config_from(values, at)
        if "ElectraForMultipleChoice" in (ours["architectures"] or ()):
            for key, supported in _SUMMARY.items():
                if values.get(key, supported) != supported:
                    raise unsupported(key, values[key], at)
        ours["head_act"] = "gelu"
        ours["generator_norm_eps"] = ours.get("layer_norm_eps", 1e-12)
        return ours

    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        values = super().config_to(config, architecture)
        assert isinstance(config, ElectraConfig)
        act = config.head_act or config.hidden_act
        if architecture in _HEADS_WITH_GELU and act != "gelu":
            raise UsageError(
                "unsupported-config",
                "Hugging Face's ELECTRA always has gelu in this head, this model has {act}",
                fix='choose the layout "paddlenlp"',
                act=act,
            )
        if architecture == "ElectraGenerator" and config.generator_norm_eps != config.layer_norm_eps:
            raise UsageError(
                "unsupported-config",
                "Hugging Face's ELECTRA has one epsilon for all LayerNorms, this model's generator has another",
                fix='choose the layout "paddlenlp"',
            )
        ours_only = set(ElectraConfig.model_fields) - set(ModelConfig.model_fields)
        for key in ours_only - {"embedding_size", "type_vocab_size", "layer_norm_eps"}:
            values.pop(key, None)
        return values | _SUMMARY


HUGGING_FACE = _ElectraLayout(
    model_type="electra",
    prefix="electra",
    family_prefix="electra",
    rules=(
        *encoder_rules(),
        Rule("embeddings_project", "embeddings_project", linear=True),
        Rule("qa_outputs", "classifier", linear=True, only="ForQuestionAnswering"),
        Rule("classifier", "classifier", linear=True),
        *(Rule(f"classifier.{name}", f"classifier.{name}", linear=True) for name in ("dense", "out_proj")),
        Rule("sequence_summary.summary", "sequence_summary.dense", linear=True),
        *(
            Rule(f"discriminator_predictions.{name}", f"discriminator_predictions.{name}", linear=True)
            for name in ("dense", "dense_prediction")
        ),
        Rule("generator_predictions.dense", "generator_predictions.dense", linear=True),
        Rule("generator_predictions.LayerNorm", "generator_predictions.layer_norm"),
        Rule("generator_lm_head.bias", "generator_lm_head_bias"),
        # Tied to the word embeddings, which files may leave out in favour of it.
        Rule("generator_lm_head.weight", "electra.embeddings.word_embeddings.weight"),
    ),
    architectures={
        "ElectraForPreTraining": "ElectraDiscriminator",
        "ElectraForMaskedLM": "ElectraGenerator",
        **same_names(
            [
                "ElectraModel",
                "ElectraForSequenceClassification",
                "ElectraForTokenClassification",
                "ElectraForQuestionAnswering",
                "ElectraForMultipleChoice",
            ]
        ),
    },
    defaults={
        "vocab_size": 30522,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    },
)
