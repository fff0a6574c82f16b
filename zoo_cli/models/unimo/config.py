"""Configuration of UNIMO-Text."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class UNIMOConfig(ModelConfig):
    """Keys of UNIMO-Text.

    Args:
        type_vocab_size: rows of the token type table.
        normalize_before: LayerNorm in front of each branch of a layer rather than after the sum.
        unk_token_id: unknown token, never generated.
        bos_token_id: [CLS], with which a prompt starts and ends; never generated.
        eos_token_id: [MASK], which ends a generated text.
        mask_token_id: [MASK].
    """

    family: ClassVar[str] = "unimo"
    aliases: ClassVar = {"num_classes": "num_labels"}

    vocab_size: int = Field(default=18000, gt=0)
    hidden_act: str = "relu"
    max_position_embeddings: int = Field(default=513, gt=0)
    type_vocab_size: int = Field(default=4, gt=0)
    normalize_before: bool = False
    unk_token_id: int = 17963
    bos_token_id: int = 1
    eos_token_id: int = 3
    mask_token_id: int = 3

    @property
    def token_logits(self) -> dict[int, float]:
        return dict.fromkeys((self.unk_token_id, self.pad_token_id, self.bos_token_id), -1e9)


FAMILY = FamilySpec(
    name="unimo",
    prefix="unimo",
    config=UNIMOConfig,
    backbone="UNIMOModel",
    architectures={
        "UNIMOModel": "zoo_cli.models.unimo.modeling:UNIMOModel",
        "UNIMOLMHeadModel": "zoo_cli.models.language_model:PrefixLM",
        "UNIMOForMaskedLM": "zoo_cli.models.language_model:PrefixLM",
        "UNIMOForConditionalGeneration": "zoo_cli.models.language_model:PrefixLM",
    },
    tasks={"generation": "UNIMOLMHeadModel"},
    objectives={"prefix": "UNIMOLMHeadModel"},
    tokenizer="UNIMOTokenizer",
    inputs=("input_ids", "token_type_ids", "position_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "unk_token_id": 4,
    },
)
