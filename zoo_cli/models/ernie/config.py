"""Configuration of ERNIE, UIE and UTC."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class ErnieConfig(ModelConfig):
    """Keys of ERNIE 1.0, 2.0 and 3.0.

    Args:
        type_vocab_size: rows of the token type table; 0 means that there is none.
        task_type_vocab_size: rows of the task type table.
        task_id: task type of every token where the caller gives none.
        use_task_id: whether there is a task type table.
        effective_layer_norm_eps: epsilon of every LayerNorm. PaddleNLP uses 1e-12 whatever its key ``layer_norm_eps``
            says; Hugging Face follows ``layer_norm_eps``, so a folder read from there sets this key.
        zero_padding_embedding: whether the word embedding of ``pad_token_id`` is zero whatever the stored row holds, as
            in PaddleNLP. Hugging Face looks the row up, so a folder read from there sets this key to false.
        with_nsp_loss: whether `ErniePretrainingCriterion` counts the sentence-order loss.
    """

    family: ClassVar[str] = "ernie"
    huggingface: ClassVar[str | None] = "zoo_cli.models.ernie.convert:HUGGING_FACE"

    type_vocab_size: int = Field(default=16, ge=0)
    task_type_vocab_size: int = Field(default=3, gt=0)
    task_id: int = Field(default=0, ge=0)
    use_task_id: bool = False
    effective_layer_norm_eps: float = Field(default=1e-12, gt=0)
    zero_padding_embedding: bool = True
    with_nsp_loss: bool = True

    @property
    def norm_epsilon(self) -> float:
        return self.effective_layer_norm_eps


FAMILY = FamilySpec(
    name="ernie",
    prefix="ernie",
    config=ErnieConfig,
    backbone="ErnieModel",
    architectures={
        "ErnieModel": "zoo_cli.models.ernie.modeling:ErnieModel",
        "ErnieForSequenceClassification": "zoo_cli.models.heads:SequenceClassifier",
        "ErnieForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "ErnieForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "ErnieForMultipleChoice": "zoo_cli.models.heads:MultipleChoice",
        "ErnieForIntentSlot": "zoo_cli.models.heads:IntentSlot",
        "ErnieForTokenPairs": "zoo_cli.models.heads:TokenPairs",
        "ErnieForMaskedLM": "zoo_cli.models.heads:MaskedLM",
        "ErnieForPretraining": "zoo_cli.models.heads:Pretraining",
        "ErnieForPreTraining": "zoo_cli.models.heads:Pretraining",
        "UIE": "zoo_cli.models.heads:SpanExtraction",
        "UTC": "zoo_cli.models.ernie.modeling:UTC",
        "ErniePretrainingCriterion": "zoo_cli.models.ernie.modeling:ErniePretrainingCriterion",
    },
    tasks={
        "sequence_classification": "ErnieForSequenceClassification",
        "token_classification": "ErnieForTokenClassification",
        "question_answering": "ErnieForQuestionAnswering",
        "multiple_choice": "ErnieForMultipleChoice",
        "matching": "ErnieForMultipleChoice",
        "intent_slot": "ErnieForIntentSlot",
        "closed_extraction": "ErnieForTokenPairs",
        "extraction": "UIE",
        "utc": "UTC",
    },
    objectives={
        "mlm": "ErnieForMaskedLM",
        "nsp": "ErnieForPretraining",
        "sop": "ErnieForPretraining",
        "spans": "UIE",
    },
    tokenizer="ErnieTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "type_vocab_size": 4,
        "use_task_id": True,
    },
)
