"""Configuration of ERNIE-M and UIE-M."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, model_validator

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class ErnieMConfig(ModelConfig):
    """Keys of ERNIE-M.

    `intermediate_size` is always 4 times `hidden_size`, whatever a file says, as in PaddleNLP; other widths are given
    by `layer_intermediate_sizes`.

    Args:
        effective_layer_norm_eps: epsilon of every LayerNorm. PaddleNLP always uses 1e-5; Hugging Face follows its key
            ``layer_norm_eps``, so a folder read from there sets this key.
    """

    family: ClassVar[str] = "ernie_m"
    huggingface: ClassVar[str | None] = "zoo_cli.models.ernie_m.convert:HUGGING_FACE"

    vocab_size: int = Field(default=250002, gt=0)
    max_position_embeddings: int = Field(default=514, gt=2)
    pad_token_id: int = 1
    effective_layer_norm_eps: float = Field(default=1e-5, gt=0)

    @model_validator(mode="after")
    def _fix_intermediate_size(self) -> Self:
        self.intermediate_size = 4 * self.hidden_size
        return self

    @property
    def longest_text(self) -> int:
        return self.max_position_embeddings - 2  # the first token has row 2 of the position table

    @property
    def norm_epsilon(self) -> float:
        return self.effective_layer_norm_eps


FAMILY = FamilySpec(
    name="ernie_m",
    prefix="ernie_m",
    config=ErnieMConfig,
    backbone="ErnieMModel",
    architectures={
        "ErnieMModel": "zoo_cli.models.ernie_m.modeling:ErnieMModel",
        "ErnieMForSequenceClassification": "zoo_cli.models.heads:SequenceClassifier",
        "ErnieMForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "ErnieMForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "ErnieMForMultipleChoice": "zoo_cli.models.heads:MultipleChoice",
        "ErnieMForTokenPairs": "zoo_cli.models.heads:TokenPairs",
        "ErnieMForMaskedLM": "zoo_cli.models.heads:MaskedLM",
        "UIEM": "zoo_cli.models.heads:SpanExtraction",
        "ErnieMForInformationExtraction": "zoo_cli.models.heads:SpanExtraction",
    },
    tasks={
        "sequence_classification": "ErnieMForSequenceClassification",
        "token_classification": "ErnieMForTokenClassification",
        "question_answering": "ErnieMForQuestionAnswering",
        "multiple_choice": "ErnieMForMultipleChoice",
        "matching": "ErnieMForMultipleChoice",
        "closed_extraction": "ErnieMForTokenPairs",
        "extraction": "UIEM",
    },
    objectives={"cross_lingual": "ErnieMForMaskedLM", "mlm": "ErnieMForMaskedLM", "spans": "UIEM"},
    tokenizer="ErnieMTokenizer",
    inputs=("input_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 66,
    },
)
