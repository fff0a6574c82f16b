"""ERNIE at Hugging Face, where LayerNorm follows its key and the padding token has an embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.conversion import HuggingFaceLayout, bert_head_rules, encoder_rules, same_names


@dataclass(frozen=True)
class _ErnieLayout(HuggingFaceLayout):
    def config_from(self, values: Mapping[str, Any], at: Location | None = None) -> dict[str, Any]:
        ours = super().config_from(values, at)
        ours["task_id"] = 0  # their classes take 0 for tokens without a task type, whatever the file says
        ours["effective_layer_norm_eps"] = ours.get("layer_norm_eps", 1e-12)
        ours["zero_padding_embedding"] = False
        return ours

    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        values = super().config_to(config, architecture)
        if values["use_task_id"] and values["task_id"]:
            raise UsageError(
                "unsupported-config",
                "Hugging Face's ERNIE has task type 0 for every token, this model has {task_id}",
                fix='choose the layout "paddlenlp"',
                task_id=values["task_id"],
            )
        values["layer_norm_eps"] = values.pop("effective_layer_norm_eps")
        for key in ("zero_padding_embedding", "with_nsp_loss"):
            del values[key]
        return values


HUGGING_FACE = _ErnieLayout(
    model_type="ernie",
    prefix="ernie",
    family_prefix="ernie",
    rules=(*encoder_rules(), *bert_head_rules()),
    architectures={
        "ErnieForPreTraining": "ErnieForPretraining",
        **same_names(
            [
                "ErnieModel",
                "ErnieForMaskedLM",
                "ErnieForSequenceClassification",
                "ErnieForTokenClassification",
                "ErnieForQuestionAnswering",
                "ErnieForMultipleChoice",
            ]
        ),
    },
    defaults={"type_vocab_size": 2},
)
