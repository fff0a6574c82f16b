"""Configuration of UnifiedTransformer."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class UnifiedTransformerConfig(ModelConfig):
    """Keys of UnifiedTransformer.

    Args:
        type_vocab_size: rows of the token type table.
        role_type_size: rows of the table of speakers; None means that there is none.
        normalize_before: LayerNorm in front of each branch of a layer rather than after the sum.
        unk_token_id: unknown token, never generated; published vocabularies pad with it too.
        bos_token_id: [CLS], with which a response starts; never generated.
        eos_token_id: [SEP], which ends a response.
        mask_token_id: [MASK], never generated.
    """

    family: ClassVar[str] = "unified_transformer"
    aliases: ClassVar = {"num_classes": "num_labels"}

    vocab_size: int = Field(default=30004, gt=0)
    type_vocab_size: int = Field(default=2, gt=0)
    role_type_size: int | None = Field(default=None, gt=0)
    normalize_before: bool = True
    unk_token_id: int = 0
    bos_token_id: int = 1
    eos_token_id: int = 2
    mask_token_id: int = 30000

    @property
    def token_logits(self) -> dict[int, float]:
        return dict.fromkeys((self.unk_token_id, self.bos_token_id, self.mask_token_id), -1e4)


FAMILY = FamilySpec(
    name="unified_transformer",
    prefix="unified_transformer",
    config=UnifiedTransformerConfig,
    backbone="UnifiedTransformerModel",
    architectures={
        "UnifiedTransformerModel": "zoo_cli.models.unified_transformer.modeling:UnifiedTransformerModel",
        "UnifiedTransformerLMHeadModel": "zoo_cli.models.language_model:PrefixLM",
        "UnifiedTransformerForMaskedLM": "zoo_cli.models.language_model:PrefixLM",
    },
    tasks={"generation": "UnifiedTransformerLMHeadModel", "dialogue": "UnifiedTransformerLMHeadModel"},
    objectives={"prefix": "UnifiedTransformerLMHeadModel"},
    tokenizer="UnifiedTransformerTokenizer",
    inputs=("input_ids", "token_type_ids", "position_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "mask_token_id": 4,
    },
)
