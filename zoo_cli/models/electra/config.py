"""Configuration of ELECTRA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


def _known_values(values: dict[str, Any] | None) -> dict[str, Any] | None:
    """Check the names and types of a generator's values."""
    fields = ElectraConfig.model_fields
    for name, value in (values or {}).items():
        if name not in fields or name == "generator_config":
            raise ValueError(f"keys of ELECTRA, not {name!r}")
        kind: TypeAdapter[Any] = TypeAdapter(fields[name].annotation or Any)
        try:
            kind.validate_python(value, strict=True)
        except ValidationError as error:
            expected = error.errors()[0]["msg"].removeprefix("Input should be ")
            raise ValueError(f"{name} to be {expected}, not {value!r}") from error
    return values


class ElectraConfig(ModelConfig):
    """Keys of ELECTRA.

    Args:
        embedding_size: width E of the embedding tables.
        type_vocab_size: rows of the token type table.
        layer_norm_eps: epsilon of every LayerNorm but that of the generator's head.
        generator_norm_eps: epsilon of that one. PaddleNLP uses 1e-12 whatever ``layer_norm_eps`` says; Hugging Face
            follows it, so a folder read from there sets this key.
        head_act: activation in the heads of classification, multiple choice and the generator; `hidden_act` unless
            given. Hugging Face always has ``gelu`` there, so a folder read from there sets this key.
        gen_weight, disc_weight: weights of the generator's and the discriminator's loss in pretraining.
        generator_config: keys in which the generator of `ElectraForTotalPretraining` differs from the discriminator,
            which all other keys describe. Both are alike unless given, as in PaddleNLP; the papers' generators are a
            quarter to a half as wide.
        num_labels_oth, num_labels_sym: tags of the two rows of `ElectraForBinaryTokenClassification`; CMeEE's unless
            given.
    """

    family: ClassVar[str] = "electra"
    aliases: ClassVar[Mapping[str, str]] = {"num_classes": "num_labels"}
    huggingface: ClassVar[str | None] = "zoo_cli.models.electra.convert:HUGGING_FACE"

    vocab_size: int = Field(default=22608, gt=0)
    embedding_size: int = Field(default=768, gt=0)
    type_vocab_size: int = Field(default=2, gt=0)
    layer_norm_eps: float = Field(default=1e-12, gt=0)
    generator_norm_eps: float = Field(default=1e-12, gt=0)
    head_act: str | None = None
    gen_weight: float = Field(default=1.0, ge=0)
    disc_weight: float = Field(default=50.0, ge=0)
    generator_config: Annotated[dict[str, Any] | None, AfterValidator(_known_values)] = None
    num_labels_oth: int = Field(default=33, gt=0)
    num_labels_sym: int = Field(default=5, gt=0)

    @property
    def norm_epsilon(self) -> float:
        return self.layer_norm_eps


_MODELING = "zoo_cli.models.electra.modeling"
_PRETRAINING = "zoo_cli.models.electra.pretraining"

FAMILY = FamilySpec(
    name="electra",
    prefix="electra",
    config=ElectraConfig,
    backbone="ElectraModel",
    architectures={
        "ElectraModel": f"{_MODELING}:ElectraModel",
        "ElectraForSequenceClassification": f"{_MODELING}:ElectraForSequenceClassification",
        "ElectraForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "ElectraForQuestionAnswering": "zoo_cli.models.heads:QuestionAnswering",
        "ElectraForMultipleChoice": f"{_MODELING}:ElectraForMultipleChoice",
        "ElectraForBinaryTokenClassification": f"{_MODELING}:ElectraForBinaryTokenClassification",
        "ElectraForSPO": f"{_MODELING}:ElectraForSPO",
        "ElectraForTokenPairs": "zoo_cli.models.heads:TokenPairs",
        "ElectraGenerator": f"{_PRETRAINING}:ElectraGenerator",
        "ElectraForMaskedLM": f"{_PRETRAINING}:ElectraGenerator",
        "ElectraDiscriminator": f"{_PRETRAINING}:ElectraDiscriminator",
        "ElectraForPreTraining": f"{_PRETRAINING}:ElectraDiscriminator",  # so called by Hugging Face
        "ElectraForTotalPretraining": f"{_PRETRAINING}:ElectraForTotalPretraining",
        "ElectraForPretraining": f"{_PRETRAINING}:ElectraForTotalPretraining",  # so called by PaddleNLP
        "ElectraPretrainingCriterion": f"{_PRETRAINING}:ElectraPretrainingCriterion",
    },
    tasks={
        "sequence_classification": "ElectraForSequenceClassification",
        "token_classification": "ElectraForTokenClassification",
        "question_answering": "ElectraForQuestionAnswering",
        "multiple_choice": "ElectraForMultipleChoice",
        "matching": "ElectraForMultipleChoice",
        "nested_ner": "ElectraForBinaryTokenClassification",
        "spo": "ElectraForSPO",
        "closed_extraction": "ElectraForTokenPairs",
    },
    objectives={"rtd": "ElectraForTotalPretraining"},
    tokenizer="ElectraTokenizer",
    inputs=("input_ids", "token_type_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "embedding_size": 24,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
    },
)
