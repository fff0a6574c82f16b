"""UnifiedTransformer, the model of PLATO-2 and PLATO-XL.

Bao et al., 2020, https://arxiv.org/abs/2006.16779; 2021, https://arxiv.org/abs/2109.09519. The head is
`zoo_cli.models.language_model.PrefixLM`.
"""

from __future__ import annotations

from collections.abc import Sequence

from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.models.language_model import LanguageBackbone, TokenEmbeddings, left_padded_positions
from zoo_cli.models.layers import Encoder, attention_bias
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor
from zoo_cli.models.unified_transformer.config import UnifiedTransformerConfig


class UnifiedTransformerEmbeddings(TokenEmbeddings):
    """Word + position + token type [+ role] embeddings.

    Args:
        config: sizes and which tables there are.
    """

    def __init__(self, config: UnifiedTransformerConfig) -> None:
        super().__init__(config, config.type_vocab_size)
        self.role_embeddings = None
        if config.role_type_size is not None:
            self.role_embeddings = nn.Embedding(config.role_type_size, config.hidden_size)

    def roles(self, role_ids: Tensor) -> Tensor:
        """Embeddings [B, S, H] of roles [B, S]; zero where the role is -1.

        Raises:
            UsageError: the model knows no roles (`no-roles`).
        """
        if self.role_embeddings is None:
            raise UsageError("no-roles", "the model has no role embeddings", fix="leave role_ids out")
        embedded = self.role_embeddings(role_ids.clip(min=0))
        return embedded * (role_ids >= 0).astype(embedded.dtype).unsqueeze(-1)


class UnifiedTransformerModel(LanguageBackbone):
    """Embeddings without a norm and an encoder with a final one, by default pre-norm. There is no pooler.

    Args:
        config: sizes.
    """

    def __init__(self, config: UnifiedTransformerConfig) -> None:
        super().__init__(config)
        self.embeddings = UnifiedTransformerEmbeddings(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = Encoder(config, config.normalize_before, final_norm=True)

    @property
    def stack(self) -> Encoder:
        return self.encoder

    def embed(
        self,
        input_ids: Tensor | None,
        position_ids: Tensor,
        token_type_ids: Tensor | None = None,
        role_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        hidden = self.embeddings(input_ids, position_ids, token_type_ids, inputs_embeds)
        if role_ids is not None:
            hidden = hidden + self.embeddings.roles(role_ids)
        return self.dropout(hidden)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        role_ids: Tensor | None = None,
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
            role_ids: who says each token [B, S], -1 for nobody; nobody unless given.
            inputs_embeds: [B, S, H] in place of the word embeddings of `input_ids`.
            past_key_values: cache of an earlier call with `use_cache`.

        Returns:
            `last_hidden_state` [B, S, H], and what the flags ask for.

        Raises:
            UsageError: there are roles that the model does not know (`no-roles`).
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id, past_key_values)
        if position_ids is None:
            position_ids = left_padded_positions(input_ids, inputs_embeds, self.config.pad_token_id, past_key_values)
        hidden = self.embed(input_ids, position_ids, token_type_ids, role_ids, inputs_embeds)
        return self.encoder(
            hidden, bias, past_key_values, use_cache, output_hidden_states, output_attentions, output_attention_scores
        )
