"""BERT at Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zoo_cli.base.errors import UsageError
from zoo_cli.models.bert.config import BertConfig
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.conversion import HuggingFaceLayout, bert_head_rules, encoder_rules, same_names


@dataclass(frozen=True)
class _BertLayout(HuggingFaceLayout):
    def config_to(self, config: ModelConfig, architecture: str) -> dict[str, Any]:
        values = super().config_to(config, architecture)
        if isinstance(config, BertConfig) and config.pool_act != "tanh":
            raise UsageError("unsupported-config", "Hugging Face's BERT always has tanh in its pooler")
        del values["pool_act"]
        return values


HUGGING_FACE = _BertLayout(
    model_type="bert",
    prefix="bert",
    family_prefix="bert",
    rules=(*encoder_rules(), *bert_head_rules()),
    architectures={
        "BertForPreTraining": "BertForPretraining",
        **same_names(
            [
                "BertModel",
                "BertForMaskedLM",
                "BertForSequenceClassification",
                "BertForTokenClassification",
                "BertForQuestionAnswering",
                "BertForMultipleChoice",
            ]
        ),
    },
    defaults={"type_vocab_size": 2},
)
