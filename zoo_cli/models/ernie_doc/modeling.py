"""ERNIE-Doc: A Retrospective Long-Document Modeling Transformer.

Ding et al., 2020, https://arxiv.org/abs/2012.15688; relative positions as in "Transformer-XL" (Dai et al., 2019),
https://arxiv.org/abs/1901.02860. A document is read segment by segment. Each layer remembers its own last M outputs
(not its inputs, which makes the memory reach further back with every segment) and attends to them.

The published models were trained on segments that are all filled up to one length S, with [CLS] as the last token and
the padding in front of it. S is part of what they know: the row of the position table that stands for a distance to an
earlier token is counted from S, so segments of another length mean something else to them.

In shape comments B is the batch, S the length, M the memory, T = M + S, L the layers, H the hidden size, A the heads, d
the width of a head, C the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models.base import HeadModel, Model
from zoo_cli.models.config import LayerSizes
from zoo_cli.models.ernie_doc.config import ErnieDocConfig
from zoo_cli.models.heads import LMHead
from zoo_cli.models.layers import Dropout, LayerNorm, Linear, activation, softmax
from zoo_cli.models.losses import classification_loss, cross_entropy, span_loss
from zoo_cli.models.outputs import ModelOutput, Tensor


class ErnieDocEmbeddings(nn.Layer):
    """Embeddings of words, relative positions and token types, which are not added but used apart.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__()
        self.word_emb = nn.Embedding(config.vocab_size, config.hidden_size)
        self.pos_emb = nn.Embedding(2 * config.max_position_embeddings + config.memory_len, config.hidden_size)
        self.token_type_emb = nn.Embedding(config.task_type_vocab_size, config.hidden_size)
        self.norms = nn.LayerList([LayerNorm(config.hidden_size, epsilon=1e-5) for _ in range(3)])
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor, position_ids: Tensor, token_type_ids: Tensor) -> list[Tensor]:
        """[B, S], [B or 1, 2S + M] and [B, T], each to its embedding [..., H]."""
        embedded = self.word_emb(input_ids), self.pos_emb(position_ids), self.token_type_emb(token_type_ids)
        return [self.dropout(norm(value)) for norm, value in zip(self.norms, embedded)]  # noqa: B905 (not traced)


def relative_positions(length: Tensor, memory_len: int) -> Tensor:
    """Rows of the position table as PaddleNLP's scripts give them, [1, 2S + M].

    2S + M - 1 down to S are for distances to earlier tokens, then 0 up to S - 1 for those to later ones.
    """
    place = paddle.arange(0, 2 * length + memory_len, dtype="int64")
    split = length + memory_len
    return paddle.where(place < split, 2 * length + memory_len - 1 - place, place - split).unsqueeze(0)


class RelativeAttention(nn.Layer):
    """Attention to memory and segment by content, relative position and token type.

    Args:
        config: sizes and dropout.
        sizes: heads of this layer.
    """

    def __init__(self, config: ErnieDocConfig, sizes: LayerSizes) -> None:
        super().__init__()
        self.num_heads = sizes.num_heads
        self.head_dim = sizes.head_dim
        width = self.num_heads * self.head_dim
        for name in ("q", "k", "v", "r", "t"):
            self.add_sublayer(f"{name}_proj", Linear(config.hidden_size, width))
        self.out_proj = Linear(width, config.hidden_size)
        self.r_w_bias = self.create_parameter([width], is_bias=True)
        self.r_r_bias = self.create_parameter([width], is_bias=True)
        self.r_t_bias = self.create_parameter([width], is_bias=True)
        self.dropout = Dropout(config.attention_dropout_prob)

    def _split(self, projected: Tensor) -> Tensor:
        """[B, n, A * d] -> [B, A, n, d]."""
        return projected.reshape([0, 0, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])

    def forward(self, hidden: Tensor, memory: Tensor, positions: Tensor, types: Tensor, bias: Tensor) -> Tensor:
        """Attend from `hidden` [B, S, H] to `memory` [B, M, H] and itself.

        Args:
            positions: [B or 1, 2S + M, H].
            types: [B, T, H].
            bias: added to the scores, broadcasts to [B, A, S, T].

        Returns:
            [B, S, H].
        """
        context = paddle.concat([memory, hidden], axis=1)  # [B, T, H]
        query = self.q_proj(hidden)
        key, value = self._split(self.k_proj(context)), self._split(self.v_proj(context))  # [B, A, T, d]
        by_content = paddle.matmul(self._split(query + self.r_w_bias), key, transpose_y=True)  # [B, A, S, T]
        by_position = paddle.matmul(
            self._split(query + self.r_r_bias), self._split(self.r_proj(positions)), transpose_y=True
        )  # [B, A, S, 2S + M]
        by_type = paddle.matmul(self._split(query + self.r_t_bias), self._split(self.t_proj(types)), transpose_y=True)
        scores = by_content + shift(by_position, paddle.shape(context)[1]) + by_type
        weights = self.dropout(softmax(scores * self.head_dim**-0.5 + bias))
        merged = paddle.matmul(weights, value).transpose([0, 2, 1, 3])  # [B, S, A, d]
        return self.out_proj(merged.reshape([0, 0, self.num_heads * self.head_dim]))


def shift(scores: Tensor, keys: Tensor | int) -> Tensor:
    """From scores of places in the position table to scores of keys: row i takes the places from S - i on.

    Args:
        scores: [B, A, S, n].
        keys: number T of keys.

    Returns:
        [B, A, S, T].
    """
    length = paddle.shape(scores)[2]
    flat = scores.flatten(2)[:, :, length:]  # one place less in each row moves each row by one more
    return flat.reshape([0, 0, length, -1])[:, :, :, :keys]


class FeedForward(nn.Layer):
    """Two linear layers with an activation and dropout between them.

    Args:
        config: sizes.
        sizes: width of this layer.
    """

    def __init__(self, config: ErnieDocConfig, sizes: LayerSizes) -> None:
        super().__init__()
        self.linear1 = Linear(config.hidden_size, sizes.intermediate_size)
        self.linear2 = Linear(sizes.intermediate_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.dropout = Dropout(config.relu_dropout)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, H]."""
        return self.linear2(self.dropout(self.activation(self.linear1(hidden))))


class ErnieDocLayer(nn.Layer):
    """Attention and a feed-forward network, each with a residual connection and a LayerNorm.

    Args:
        config: sizes.
        index: number of the layer.
    """

    def __init__(self, config: ErnieDocConfig, index: int) -> None:
        super().__init__()
        sizes = config.layer_sizes(index)
        self.normalize_before = config.normalize_before
        self.attn = RelativeAttention(config, sizes)
        self.ffn = FeedForward(config, sizes)
        self.norm1 = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.norm2 = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor, memory: Tensor, positions: Tensor, types: Tensor, bias: Tensor) -> Tensor:
        """`hidden` [B, S, H] -> [B, S, H]; other arguments as in `RelativeAttention`."""
        inner = self.norm1(hidden) if self.normalize_before else hidden  # the memory is not normed
        hidden = self.dropout(self.attn(inner, memory, positions, types, bias), hidden)
        if not self.normalize_before:
            hidden = self.norm1(hidden)
        inner = self.norm2(hidden) if self.normalize_before else hidden
        hidden = self.dropout(self.ffn(inner), hidden)
        return hidden if self.normalize_before else self.norm2(hidden)


class ErnieDocEncoder(nn.Layer):
    """A stack of layers, each with its memory.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__()
        self.memory_len = config.memory_len
        self.layers = nn.LayerList([ErnieDocLayer(config, index) for index in range(config.num_hidden_layers)])

    def forward(
        self, hidden: Tensor, memories: Sequence[Tensor], positions: Tensor, types: Tensor, bias: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """`hidden` [B, S, H] -> [B, S, H] and the memories for the next segment, L of [B, M, H]."""
        remembered = []
        for index, layer in enumerate(self.layers):
            hidden = layer(hidden, memories[index], positions, types, bias)
            kept = memories[index]
            if self.memory_len:
                kept = paddle.concat([kept, hidden], axis=1)[:, -self.memory_len :]
            remembered.append(kept)
        return hidden, remembered


class ErnieDocPooler(nn.Layer):
    """The token at `cls_token_idx` through a dense layer and tanh.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.cls_token_idx = config.cls_token_idx

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, H]."""
        return F.tanh(self.dense(hidden[:, self.cls_token_idx]))


class ErnieDocModel(Model):
    """One segment of each of B documents, with what is remembered of the earlier ones.

    Args:
        config: sizes.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config)
        self.embeddings = ErnieDocEmbeddings(config)
        self.encoder = ErnieDocEncoder(config)
        self.pooler = ErnieDocPooler(config)
        self.memory_len = config.memory_len

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        memories: Tensor | None = None,
    ) -> ModelOutput:
        """Read a segment.

        The whole memory is always visible, the zeros of a first segment too, and its tokens have the type of the first
        token of the first document in the batch, as in PaddleNLP; documents of one batch must begin with the same type
        if that is not to matter. A padded token attends to everything alike.

        Args:
            input_ids: [B, S].
            token_type_ids: [B, S]; 0 unless given.
            position_ids: [B, 2S + M] rows of the position table; see `relative_positions` unless given.
            attention_mask: 1 for tokens to see [B, S]; tokens that are not padding unless given.
            memories: [B, L, M, H], the `memories` of the call on the segment before; zeros unless given.

        Returns:
            `last_hidden_state` [B, S, H], `pooler_output` [B, H], `memories` [B, L, M, H], through which no gradient
            flows.
        """
        shape = paddle.shape(input_ids)
        layers, width = len(self.encoder.layers), self.config.hidden_size
        if memories is None:
            memories = paddle.zeros([shape[0], layers, self.memory_len, width])
        if token_type_ids is None:
            token_type_ids = paddle.zeros_like(input_ids)
        if attention_mask is None:
            attention_mask = input_ids != self.config.pad_token_id
        if position_ids is None:
            position_ids = relative_positions(shape[1], self.memory_len)
        memory_types = paddle.zeros([shape[0], self.memory_len], dtype="int64") + token_type_ids[:1, :1]
        types = paddle.concat([memory_types, token_type_ids], axis=1)  # [B, T]
        words, positions, types = self.embeddings(input_ids, position_ids, types)
        hidden, remembered = self.encoder(
            words, memories.unbind(1), positions, types, self._bias(attention_mask.astype(words.dtype))
        )
        state = paddle.stack(remembered, axis=1)
        state.stop_gradient = True
        return ModelOutput(last_hidden_state=hidden, pooler_output=self.pooler(hidden), memories=state)

    def _bias(self, mask: Tensor) -> Tensor:
        """What is added to scores, [B, 1, S, T]: 0 where a token that counts [B, S] attends to one that does.

        Scores of padding are rounded to multiples of 8 by it, as in PaddleNLP, whose memories have padding in them.
        Where a score is close to an odd multiple of 4, back ends differ in what they make of padding.
        """
        memory = paddle.ones([paddle.shape(mask)[0], self.memory_len], dtype=mask.dtype)
        keys = paddle.concat([memory, mask], axis=1)  # [B, T]
        return ((mask.unsqueeze(2) * keys.unsqueeze(1) - 1.0) * 1e8).unsqueeze(1)


class _ErnieDocHead(HeadModel):
    """Dropout and a linear layer on the backbone.

    Args:
        config: sizes.
        outputs: of the linear layer.
    """

    def __init__(self, config: ErnieDocConfig, outputs: int) -> None:
        super().__init__(config)
        self.dropout = Dropout(config.head_dropout)
        self.linear = nn.Linear(config.hidden_size, outputs)


class ErnieDocForSequenceClassification(_ErnieDocHead):
    """Class scores of a segment, from its [CLS]."""

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config, config.num_labels)

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, C] and `memories`; with `labels` also `loss`, see
        `zoo_cli.models.losses.classification_loss`. Other arguments as in `ErnieDocModel`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.linear(self.dropout(base.pooler_output))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return ModelOutput(loss=loss, logits=logits, memories=base.memories)


class ErnieDocForTokenClassification(_ErnieDocHead):
    """Class scores of each token of a segment."""

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config, config.num_labels)

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, S, C] and `memories`; with `labels` [B, S] (-100 does not count) also `loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.linear(self.dropout(base.last_hidden_state))
        loss = None if labels is None else cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits, memories=base.memories)


class ErnieDocForQuestionAnswering(_ErnieDocHead):
    """Scores of each token of a segment being the first and the last of the answer."""

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config, 2)

    def forward(
        self,
        input_ids: Tensor,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`start_logits`, `end_logits` [B, S] and `memories`; with both positions [B] also `loss`."""
        base = self.backbone(input_ids, **inputs)
        start_logits, end_logits = self.linear(self.dropout(base.last_hidden_state)).unbind(axis=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return ModelOutput(loss=loss, start_logits=start_logits, end_logits=end_logits, memories=base.memories)


class ErnieDocForMultipleChoice(_ErnieDocHead):
    """One score for each of `num_choices` texts, which are read side by side, each with a memory of its own.

    With one output and the weights' names of `ErnieDocForSequenceClassification`, as PaddleNLP's script for C3 has it.
    The script for CAIL 2019 scores the difference of two texts' [CLS] with two outputs; a softmax over the single
    scores of two texts is the same function, without a bias towards either place.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config, 1)
        self.num_choices = config.num_choices or 2

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """Inputs are [B, choices, S], and `memories` [B, choices, L, M, H]; `logits` [B, choices] and `memories`; with
        `labels` [B] also `loss`. `position_ids` are those of one text, for all."""
        flat = {name: value.flatten(0, 1) for name, value in inputs.items() if value is not None and value.ndim > 2}
        base = self.backbone(input_ids.flatten(0, 1), **{**inputs, **flat})  # [B * choices, S]
        logits = self.linear(self.dropout(base.pooler_output)).reshape([-1, self.num_choices])
        memories = base.memories.reshape([-1, self.num_choices, *base.memories.shape[1:]])
        loss = None if labels is None else cross_entropy(logits, labels)
        return ModelOutput(loss=loss, logits=logits, memories=memories)


class ErnieDocForPretraining(HeadModel):
    """Vocabulary scores of masked tokens, and scores of `num_labels` orders of the document's parts, from its [CLS].

    PaddleNLP has no such class.
    """

    def __init__(self, config: ErnieDocConfig) -> None:
        super().__init__(config)
        self.lm_head = LMHead(config)
        self.order_classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor, *, masked_positions: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`prediction_logits` [B, S, V], or [n, V] at `masked_positions` [n] (row * S + column); `logits` [B, C] of the
        orders; `memories`. Other arguments as in `ErnieDocModel`."""
        base = self.backbone(input_ids, **inputs)
        words = self.lm_head(base.last_hidden_state, self.backbone.embeddings.word_emb.weight, masked_positions)
        orders = self.order_classifier(base.pooler_output)
        return ModelOutput(prediction_logits=words, logits=orders, memories=base.memories)
