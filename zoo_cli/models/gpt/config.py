"""Configuration of GPT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field

from zoo_cli.models.config import ModelConfig
from zoo_cli.registry import FamilySpec


class GPTConfig(ModelConfig):
    """Keys of GPT.

    Args:
        hidden_activation: of the feed-forward networks; ``gelu`` means its tanh approximation. The key ``hidden_act``
            has no effect, as in PaddleNLP.
        normalize_before: LayerNorm in front of each branch of a layer rather than after the sum.
        fuse_attention_qkv: one matrix for query, key and value instead of three.
        scale_qk_coeff: c in ``(q * (c * d) ** -0.5) @ k * c``, where d is the width of a head; 1 leaves both c out.
        effective_layer_norm_eps: epsilon of every LayerNorm. PaddleNLP uses 1e-5 whatever its key ``layer_norm_eps``
            says; a folder read from Hugging Face, which follows ``layer_norm_epsilon``, sets this key.
        ignore_index: label that does not count in the loss. PaddleNLP's 0 means that id 0 is never learnt.
        bos_token_id: begin token.
        eos_token_id: end token, which ends a generated text.
        eol_token_id: end of a line, which ends `GPTForGreedyGeneration`.
        type_vocab_size: not used; published configurations have it.
        max_predict_len: tokens that `GPTForGreedyGeneration` generates at most after the first.
    """

    family: ClassVar[str] = "gpt"
    huggingface: ClassVar[str | None] = "zoo_cli.models.gpt.convert:HUGGING_FACE"
    aliases: ClassVar[Mapping[str, str]] = {
        **ModelConfig.aliases,
        "n_positions": "max_position_embeddings",
        "n_embd": "hidden_size",
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_inner": "intermediate_size",
        "activation_function": "hidden_act",
        "resid_pdrop": "attention_probs_dropout_prob",
    }

    vocab_size: int = Field(default=50304, gt=0)
    hidden_activation: str = "gelu"
    normalize_before: bool = True
    fuse_attention_qkv: bool = False
    scale_qk_coeff: float = Field(default=1.0, gt=0)
    effective_layer_norm_eps: float = Field(default=1e-5, gt=0)
    ignore_index: int = 0
    bos_token_id: int = 0
    eos_token_id: int = 7
    eol_token_id: int = 3
    type_vocab_size: int = Field(default=16, ge=0)
    max_predict_len: int = Field(default=32, ge=0)

    @property
    def norm_epsilon(self) -> float:
        return self.effective_layer_norm_eps


FAMILY = FamilySpec(
    name="gpt",
    prefix="gpt",
    config=GPTConfig,
    backbone="GPTModel",
    architectures={
        "GPTModel": "zoo_cli.models.gpt.modeling:GPTModel",
        "GPTForCausalLM": "zoo_cli.models.gpt.modeling:GPTForCausalLM",
        "GPTLMHeadModel": "zoo_cli.models.gpt.modeling:GPTForCausalLM",
        "GPTForSequenceClassification": "zoo_cli.models.gpt.modeling:GPTForSequenceClassification",
        "GPTForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
        "GPTForGreedyGeneration": "zoo_cli.models.gpt.modeling:GPTForGreedyGeneration",
        "GPTPretrainingCriterion": "zoo_cli.models.gpt.modeling:GPTPretrainingCriterion",
        "GPT2Model": "zoo_cli.models.gpt.modeling:GPTModel",
        "GPT2LMHeadModel": "zoo_cli.models.gpt.modeling:GPTForCausalLM",
        "GPT2ForTokenClassification": "zoo_cli.models.heads:TokenClassifier",
    },
    tasks={
        "language_modeling": "GPTForCausalLM",
        "sequence_classification": "GPTForSequenceClassification",
        "token_classification": "GPTForTokenClassification",
    },
    objectives={"causal": "GPTForCausalLM"},
    tokenizer="GPTTokenizer",
    inputs=("input_ids", "attention_mask"),
    tiny={
        "vocab_size": 120,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 128,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
)
