"""UNIMO: Towards Unified-Modal Understanding and Generation via Cross-Modal Contrastive Learning.

Li et al., 2021, https://arxiv.org/abs/2012.15409; the text part. The head is `zoo_cli.models.language_model.PrefixLM`.
"""

from __future__ import annotations

from collections.abc import Sequence

from paddle import nn

from zoo_cli.models.language_model import LanguageBackbone, TokenEmbeddings, left_padded_positions
from zoo_cli.models.layers import Encoder, attention_bias
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor
from zoo_cli.models.unimo.config import UNIMOConfig


class UNIMOModel(LanguageBackbone):
    """Embeddings, a LayerNorm and an encoder, by default post-norm. There is no pooler.

    Args:
        config: sizes.
    """

    def __init__(self, config: UNIMOConfig) -> None:
        super().__init__(config)
        self.embeddings = TokenEmbeddings(config, config.type_vocab_size)
        self.encoder_norm = nn.LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = Encoder(config, config.normalize_before)

    @property
    def stack(self) -> Encoder:
        return self.encoder

    def embed(
        self,
        input_ids: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        hidden = self.embeddings(input_ids, position_ids, token_type_ids, inputs_embeds)
        return self.dropout(self.encoder_norm(hidden))

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
            position_ids: [B, S]; unless given 0 for left padding, then counted from 0, or on from the cache.
            attention_mask: who sees whom [B, 1, S, T]: floats that are added (0 and -1e4), or 1 = see; also
                [B, T] with 1 at tokens that all see. Tokens that are not padding unless given.
            inputs_embeds: [B, S, H] in place of the word embeddings of `input_ids`.
            past_key_values: cache of an earlier call with `use_cache`.

        Returns:
            `last_hidden_state` [B, S, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id, past_key_values)
        if position_ids is None:
            position_ids = left_padded_positions(input_ids, inputs_embeds, self.config.pad_token_id, past_key_values)
        hidden = self.embed(input_ids, position_ids, token_type_ids, inputs_embeds)
        return self.encoder(
            hidden, bias, past_key_values, use_cache, output_hidden_states, output_attentions, output_attention_scores
        )
