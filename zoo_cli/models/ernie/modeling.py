"""ERNIE 1.0, 2.0 and 3.0, and UTC.

Sun et al., 2019, https://arxiv.org/abs/1904.09223; 2020, https://arxiv.org/abs/1907.12412; 2021,
https://arxiv.org/abs/2107.02137. UIE (Lu et al., 2022) is `zoo_cli.models.heads.SpanExtraction` on this backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle import nn

from zoo_cli.models.base import HeadModel, Model
from zoo_cli.models.ernie.config import ErnieConfig
from zoo_cli.models.heads import head_output
from zoo_cli.models.layers import Dropout, Encoder, LayerNorm, Pooler, attention_bias, default_positions
from zoo_cli.models.losses import cross_entropy, multi_label_loss, token_losses
from zoo_cli.models.outputs import Cache, ModelOutput, Tensor


class ErnieEmbeddings(nn.Layer):
    """Word + position [+ token type] [+ task type] embeddings, LayerNorm and dropout.

    Args:
        config: sizes and which tables there are.
    """

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        padding = config.pad_token_id if config.zero_padding_embedding else None
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=padding)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = None
        if config.type_vocab_size > 0:
            self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.task_type_embeddings = None
        if config.use_task_id:
            self.task_type_embeddings = nn.Embedding(config.task_type_vocab_size, config.hidden_size)
        self.task_id = config.task_id
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        task_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        past_key_values: Sequence[Cache] | None = None,
    ) -> Tensor:
        """Embed ids [B, S], or add to given word embeddings [B, S, H]; the result is [B, S, H]."""
        summed = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        shape = paddle.shape(summed)[:2]
        if position_ids is None:
            position_ids = default_positions(summed, past_key_values)
        summed = summed + self.position_embeddings(position_ids)
        if self.token_type_embeddings is not None:
            if token_type_ids is None:
                token_type_ids = paddle.zeros(shape, dtype="int64")
            summed = summed + self.token_type_embeddings(token_type_ids)
        if self.task_type_embeddings is not None:
            if task_type_ids is None:
                task_type_ids = paddle.full(shape, self.task_id, dtype="int64")
            summed = summed + self.task_type_embeddings(task_type_ids)
        return self.dropout(self.layer_norm(summed))


class ErnieModel(Model):
    """Embeddings, a post-norm encoder, and a tanh pooler on the first token.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__(config)
        self.embeddings = ErnieEmbeddings(config)
        self.encoder = Encoder(config)
        self.pooler = Pooler(config.hidden_size)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        task_type_ids: Tensor | None = None,
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
            token_type_ids: [B, S]; 0 unless given; not used where the model has no such table.
            position_ids: [B, S]; 0 to S - 1 unless given, counting on from the cache.
            attention_mask: 1 for tokens to see [B, S], or as `zoo_cli.models.layers.attention_bias` says; tokens that
                are not padding unless given.
            task_type_ids: [B, S]; the configuration's `task_id` unless given.
            inputs_embeds: [B, S, H] in place of the word embeddings of `input_ids`.
            past_key_values: cache of an earlier call with `use_cache`.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], and what the flags ask for.
        """
        bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id, past_key_values)
        hidden = self.embeddings(input_ids, token_type_ids, position_ids, task_type_ids, inputs_embeds, past_key_values)
        output = self.encoder(
            hidden, bias, past_key_values, use_cache, output_hidden_states, output_attentions, output_attention_scores
        )
        output.pooler_output = self.pooler(output.last_hidden_state)
        return output


class UTC(HeadModel):
    """Unified text classification: each option's marker token against the text's [CLS] token.

    Args:
        config: sizes.
    """

    width = 64

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__(config)
        self.linear_q = nn.Linear(config.hidden_size, self.width)
        self.linear_k = nn.Linear(config.hidden_size, self.width)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        omask_positions: Tensor,
        cls_positions: Tensor,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """Score options.

        Args:
            omask_positions: [B, n] places of the options' markers, 0 where a text has fewer options.
            cls_positions: [B] places of the token that stands for the text.
            labels: [B, n], 1 for options that hold, 0 for others, -100 where there is no option.

        Returns:
            `logits` [B, n]; -1e12 is added where there is no option. With `labels` also `loss`, see
            `zoo_cli.models.losses.multi_label_loss`.
        """
        base = self.backbone(input_ids, **inputs)
        hidden = base.last_hidden_state
        shape = paddle.shape(hidden)
        rows = paddle.arange(shape[0], dtype="int64") * shape[1].astype("int64")  # first token of each text, flat
        flat = hidden.flatten(0, 1)  # [B * S, H]
        query = self.linear_q(flat.gather(rows + cls_positions))  # [B, 64]
        places = (rows.unsqueeze(1) + omask_positions).flatten()  # [B * n]
        options = flat.gather(places).reshape([shape[0], -1, hidden.shape[-1]])  # [B, n, H]
        key = self.linear_k(options)  # [B, n, 64]
        logits = paddle.matmul(key, query.unsqueeze(2)).squeeze(2) / self.width**0.5  # [B, n]
        logits = logits - (omask_positions == 0).astype(logits.dtype) * 1e12
        loss = None if labels is None else multi_label_loss(logits, labels)
        return head_output(base, loss=loss, logits=logits)


class ErniePretrainingCriterion(nn.Layer):
    """Loss of ERNIE's pretraining script.

    Args:
        config: `with_nsp_loss` says whether the sentence-order loss is counted.
    """

    def __init__(self, config: ErnieConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        prediction_scores: Tensor,
        seq_relationship_score: Tensor,
        masked_lm_labels: Tensor,
        next_sentence_labels: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The mean masked-token loss, of [n, V] against [n], and with `with_nsp_loss` the sentence loss beside it.

        The first mean divides by all n rows, those with label -1 included, as in PaddleNLP.
        """
        losses, _ = token_losses(prediction_scores, masked_lm_labels, ignore_index=-1)
        masked_lm_loss = losses.mean()
        if not self.config.with_nsp_loss:
            return masked_lm_loss
        return masked_lm_loss, cross_entropy(seq_relationship_score, next_sentence_labels)
