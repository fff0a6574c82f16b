"""ERNIE-M: Enhanced Multilingual Representation by Aligning Cross-lingual Semantics with Monolingual Corpora.

Ouyang et al., 2020, https://arxiv.org/abs/2012.15674. The heads are in `zoo_cli.models.heads`; UIE-M is
`SpanExtraction` there on this backbone.
"""

from __future__ import annotations

from paddle import nn

from zoo_cli.models.base import Model
from zoo_cli.models.ernie_m.config import ErnieMConfig
from zoo_cli.models.layers import Dropout, Encoder, LayerNorm, Pooler, attention_bias, default_positions
from zoo_cli.models.outputs import ModelOutput, Tensor

FIRST_POSITION = 2
"""Row of the position table that the first token has; the rows before it are never used."""

HIDDEN_WITHOUT_MASK = 0
"""Id that is hidden where no mask is given: PaddleNLP's choice, although it is [CLS] in the published vocabulary."""


class ErnieMEmbeddings(nn.Layer):
    """Word + position embeddings, LayerNorm and dropout. There are no token types.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieMConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Ids [B, S], and positions [B, S] counted from 0, to [B, S, H]."""
        if position_ids is None:
            position_ids = default_positions(input_ids)
        summed = self.word_embeddings(input_ids) + self.position_embeddings(position_ids + FIRST_POSITION)
        return self.dropout(self.layer_norm(summed))


class ErnieMModel(Model):
    """Embeddings, a post-norm encoder, and a tanh pooler on the first token.

    Always give an `attention_mask`: without one, the published vocabulary's [CLS] is hidden and padding is not.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieMConfig) -> None:
        super().__init__(config)
        self.embeddings = ErnieMEmbeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size)

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Encode a batch.

        Args:
            input_ids: [B, S].
            position_ids: [B, S]; 0 to S - 1 unless given. At most `max_position_embeddings` - 3.
            attention_mask: 1 for tokens to see [B, S], or as `zoo_cli.models.layers.attention_bias` says; unless given,
                tokens whose id is not 0, as in PaddleNLP.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, HIDDEN_WITHOUT_MASK)
        output = self.encoder(
            self.embeddings(input_ids, position_ids),
            bias,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_attention_scores=output_attention_scores,
        )
        output.pooler_output = self.pooler(output.last_hidden_state)
        return output
