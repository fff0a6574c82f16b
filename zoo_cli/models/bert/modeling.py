"""BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding.

Devlin et al., 2018, https://arxiv.org/abs/1810.04805. The heads are in `zoo_cli.models.heads`.
"""

from __future__ import annotations

from collections.abc import Sequence

from paddle import nn

from zoo_cli.models.base import Model
from zoo_cli.models.bert.config import BertConfig
from zoo_cli.models.layers import Embeddings, Encoder, Pooler, attention_bias
from zoo_cli.models.losses import cross_entropy, token_losses
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor


class BertModel(Model):
    """Embeddings, a post-norm encoder, and a pooler on the first token.

    Args:
        config: sizes.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config, config.type_vocab_size)
        self.encoder = Encoder(config)
        # PaddleNLP knows "tanh" and no activation at all.
        self.pooler = Pooler(config.hidden_size, "tanh" if config.pool_act == "tanh" else "linear")

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Sequence[Cache] | None = None,
        use_cache: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Encode a batch.

        Args:
            input_ids: [B, S].
            token_type_ids: [B, S]; 0 unless given.
            position_ids: [B, S]; 0 to S - 1 unless given, counting on from the cache.
            attention_mask: 1 for tokens to see [B, S], or as `zoo_cli.models.layers.attention_bias` says; tokens that
                are not padding unless given.
            inputs_embeds: [B, S, H] in place of the word embeddings of `input_ids`.
            past_key_values: cache of an earlier call with `use_cache`.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id, past_key_values)
        hidden = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds, past_key_values)
        output = self.encoder(
            hidden, bias, past_key_values, use_cache, output_hidden_states, output_attentions, output_attention_scores
        )
        output.pooler_output = self.pooler(output.last_hidden_state)
        return output


class BertPretrainingCriterion(nn.Layer):
    """Loss of BERT's pretraining script, which divides by the number of masked tokens of all devices itself.

    Args:
        config: not needed, here so that all classes are built alike.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        prediction_scores: Tensor,
        seq_relationship_score: Tensor,
        masked_lm_labels: Tensor,
        next_sentence_labels: Tensor,
        masked_lm_scale: Tensor | float,
    ) -> Tensor:
        """Sum of the cross entropies of [n, V] against labels [n] (-1 does not count) / `masked_lm_scale`, plus the
        mean one of [B, 2] against [B]."""
        losses, _ = token_losses(prediction_scores, masked_lm_labels, ignore_index=-1)
        return losses.sum() / masked_lm_scale + cross_entropy(seq_relationship_score, next_sentence_labels)
