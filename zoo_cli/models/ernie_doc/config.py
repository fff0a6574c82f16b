"""Configuration of ERNIE-Doc."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class ErnieDocConfig(ModelConfig):
    """Keys of ERNIE-Doc.

    `intermediate_size` is always 4 times `hidden_size`, whatever a file says, as in PaddleNLP; other widths are given
    by `layer_intermediate_sizes`.

    Args:
        max_position_embeddings: longest segment P; the table of relative positions has 2 P + `memory_len` rows.
        attention_dropout_prob: probability of dropping an attention weight (this family's name for
            `attention_probs_dropout_prob`, which is not used).
        relu_dropout: dropout after the activation of the feed-forward networks.
        memory_len: tokens M of the earlier segments that each layer remembers.
        task_type_vocab_size: rows of the token type table.
        normalize_before: pre-norm layers.
        epsilon: of the encoder's LayerNorms; those of the embeddings have 1e-5.
        rel_pos_params_sharing: sharing biases between layers, which PaddleNLP has a key but no working code for.
        cls_token_idx: place of the token that stands for the text; -1 is the last, padding included.
    """

    family: ClassVar[str] = "ernie_doc"

    vocab_size: int = Field(default=28000, gt=0)
    attention_dropout_prob: float = Field(default=0.1, ge=0, le=1)
    relu_dropout: float = Field(default=0.0, ge=0, le=1)
    memory_len: int = Field(default=128, ge=0)
    task_type_vocab_size: int = Field(default=3, gt=0)
    normalize_before: bool = False
    epsilon: float = Field(default=1e-5, gt=0)
    rel_pos_params_sharing: Literal[False] = False
    cls_token_idx: int = -1

    @model_validator(mode="after")
    def _fix_intermediate_size(self) -> Self:
        self.intermediate_size = 4 * self.hidden_size
        return self

    @property
    def norm_epsilon(self) -> float:
        return self.epsilon

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"memories": (self.num_hidden_layers, self.memory_len, self.hidden_size)}


FAMILY = FamilySpec(
    name="ernie_doc",
    prefix="ernie_doc",
    config=ErnieDocConfig,
    backbone="ErnieDocModel",
    architectures={
        name: f"zoo_cli.models.ernie_doc.modeling:{name}"
        for name in (
            "ErnieDocModel",
            "ErnieDocForSequenceClassification",
            "ErnieDocForTokenClassification",
            "ErnieDocForQuestionAnswering",
            "ErnieDocForMultipleChoice",
            "ErnieDocForPretraining",
        )
    },
    tasks={
        "document_classification": "ErnieDocForSequenceClassification",
        "document_token_classification": "ErnieDocForTokenClassification",
        "document_question_answering": "ErnieDocForQuestionAnswering",
        "document_multiple_choice": "ErnieDocForMultipleChoice",
        "document_matching": "ErnieDocForMultipleChoice",
    },
    objectives={"recurrent": "ErnieDocForPretraining"},
    tokenizer="ErnieDocTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "memory_len": 8,
    },
)
