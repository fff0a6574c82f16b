"""Configuration of TinyBERT."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class TinyBertConfig(ModelConfig):
    """Keys of TinyBERT: those of BERT and the width of the teacher.

    Args:
        type_vocab_size: rows of the token type table (16 unless given, as in PaddleNLP; every published model says 2).
        pool_act: ``tanh``; anything else means no activation in the pooler.
        layer_norm_eps: epsilon of every LayerNorm.
        fit_size: width of the teacher, to which `fit_denses` and `fit_dense` project.
    """

    family: ClassVar[str] = "tinybert"

    type_vocab_size: int = Field(default=16, gt=0)
    pool_act: str = "tanh"
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    fit_size: int = Field(default=768, gt=0)

    @property
    def norm_epsilon(self) -> float:
        return self.layer_norm_eps


FAMILY = FamilySpec(
    name="tinybert",
    prefix="tinybert",
    config=TinyBertConfig,
    backbone="TinyBertModel",
    architectures={
        "TinyBertModel": "zoo_cli.models.tinybert.modeling:TinyBertModel",
        "TinyBertForPretraining": "zoo_cli.models.tinybert.modeling:TinyBertForPretraining",
        "TinyBertForSequenceClassification": "zoo_cli.models.tinybert.modeling:TinyBertForSequenceClassification",
        "TinyBertForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "TinyBertForMultipleChoice": "zoo_cli.models.heads:MultipleChoice",
        "TinyBertForTokenPairs": "zoo_cli.models.heads:TokenPairs",
    },
    tasks={
        "sequence_classification": "TinyBertForSequenceClassification",
        "question_answering": "TinyBertForQuestionAnswering",
        "multiple_choice": "TinyBertForMultipleChoice",
        "matching": "TinyBertForMultipleChoice",
        "closed_extraction": "TinyBertForTokenPairs",
    },
    objectives={"distill": "TinyBertForPretraining"},
    tokenizer="TinyBertTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 2,
        "fit_size": 48,
    },
)
