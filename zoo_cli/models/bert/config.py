"""Configuration of BERT."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class BertConfig(ModelConfig):
    """Keys of BERT.

    Args:
        type_vocab_size: rows of the token type table (16 unless given, as in PaddleNLP; every published model says 2).
        pool_act: ``tanh``; anything else means no activation in the pooler.
        layer_norm_eps: epsilon of every LayerNorm.
    """

    family: ClassVar[str] = "bert"
    huggingface: ClassVar[str | None] = "zoo_cli.models.bert.convert:HUGGING_FACE"

    type_vocab_size: int = Field(default=16, gt=0)
    pool_act: str = "tanh"
    layer_norm_eps: float = Field(default=1e-12, gt=0)

    @property
    def norm_epsilon(self) -> float:
        return self.layer_norm_eps


FAMILY = FamilySpec(
    name="bert",
    prefix="bert",
    config=BertConfig,
    backbone="BertModel",
    architectures={
        "BertModel": "zoo_cli.models.bert.modeling:BertModel",
        "BertForSequenceClassification": "zoo_cli.models.heads:SequenceClassifier",
        "BertForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "BertForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "BertForMultipleChoice": "zoo_cli.models.heads:MultipleChoice",
        "BertForIntentSlot": "zoo_cli.models.heads:IntentSlot",
        "BertForTokenPairs": "zoo_cli.models.heads:TokenPairs",
        "BertForMaskedLM": "zoo_cli.models.heads:MaskedLM",
        "BertForPretraining": "zoo_cli.models.heads:Pretraining",
        "BertForPreTraining": "zoo_cli.models.heads:Pretraining",
        "BertPretrainingCriterion": "zoo_cli.models.bert.modeling:BertPretrainingCriterion",
    },
    tasks={
        "sequence_classification": "BertForSequenceClassification",
        "token_classification": "BertForTokenClassification",
        "question_answering": "BertForQuestionAnswering",
        "multiple_choice": "BertForMultipleChoice",
        "matching": "BertForMultipleChoice",
        "intent_slot": "BertForIntentSlot",
        "closed_extraction": "BertForTokenPairs",
    },
    objectives={"mlm": "BertForMaskedLM", "nsp": "BertForPretraining", "sop": "BertForPretraining"},
    tokenizer="BertTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
    },
)
