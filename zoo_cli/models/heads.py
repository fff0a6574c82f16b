"""Heads, each written once: any family's backbone goes under them.

They follow BERT (Devlin et al., 2018), https://arxiv.org/abs/1810.04805; `SpanExtraction` is UIE's (Lu et al., 2022),
https://arxiv.org/abs/2203.12277, and `TokenPairs` PaddleNLP's GPLinker. A head passes the arguments it does not know to
its backbone, so that it accepts exactly the inputs of the family: ``input_ids``, ``token_type_ids``, ``position_ids``,
``attention_mask``, ``output_hidden_states``, ``output_attentions``, ``output_attention_scores`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models import cpu
from zoo_cli.models.base import HeadModel
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.layers import LayerNorm, Linear, activation
from zoo_cli.models.losses import classification_loss, cross_entropy, pair_loss, span_loss
from zoo_cli.models.outputs import ModelOutput, Tensor


def head_output(base: ModelOutput, **named: Tensor | None) -> ModelOutput:
    """The fields of a head, with what was asked of the backbone."""
    return ModelOutput(
        past_key_values=base.past_key_values,
        hidden_states=base.hidden_states,
        attentions=base.attentions,
        attention_scores=base.attention_scores,
        **named,
    )


class SequenceClassifier(HeadModel):
    """One vector of class scores for each text: dropout and a linear layer on the pooled first token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor | None = None, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, C]; with `labels` also `loss`, see `zoo_cli.models.losses.classification_loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.classifier(self.dropout(base.pooler_output))
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return head_output(base, loss=loss, logits=logits)


class TokenClassifier(HeadModel):
    """Class scores for each token."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, input_ids: Tensor | None = None, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, S, C]; with `labels` [B, S] (-100 does not count) also `loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.classifier(self.dropout(base.last_hidden_state))
        loss = None if labels is None else cross_entropy(logits, labels)
        return head_output(base, loss=loss, logits=logits)


class QuestionAnswering(HeadModel):
    """Scores of each token being the first and the last of the answer. Without dropout, as in PaddleNLP."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`start_logits` and `end_logits` [B, S]; with both positions [B] also `loss`."""
        base = self.backbone(input_ids, **inputs)
        start_logits, end_logits = self.classifier(base.last_hidden_state).unbind(axis=-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = span_loss(start_logits, end_logits, start_positions, end_positions)
        return head_output(base, loss=loss, start_logits=start_logits, end_logits=end_logits)


class MultipleChoice(HeadModel):
    """One score for each of several texts. The number of choices is that of the input."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, 1)

    def pooled(self, base: ModelOutput) -> Tensor:
        """One vector [n, H] for each of n texts."""
        return base.pooler_output

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """Inputs are [B, choices, S]; `logits` [B, choices]; with `labels` [B] also `loss`."""
        flat = {
            name: value.flatten(0, 1) if getattr(value, "ndim", 0) == 3 else value for name, value in inputs.items()
        }
        base = self.backbone(input_ids.flatten(0, 1), **flat)  # [B * choices, S]
        scores = self.classifier(self.dropout(self.pooled(base)))  # [B * choices, 1]
        logits = scores.reshape(paddle.shape(input_ids)[:2])  # [B, choices]
        loss = None if labels is None else cross_entropy(logits, labels)
        return head_output(base, loss=loss, logits=logits)


def vocabulary_scores(hidden: Tensor, embedding: Tensor) -> Tensor:
    """Products of hidden states [..., H] with each row of the word embedding table [V, H]: [..., V]."""
    if paddle.in_dynamic_mode() and hidden.ndim == 2 and 6 < hidden.shape[0] < 16:
        # The usual order makes MKL read the table once for every three rows: 21 ms for 8 rows of 512 and 30,000 tokens.
        return paddle.matmul(embedding, hidden, transpose_y=True).transpose([1, 0])  # 14 ms
    return paddle.matmul(hidden, embedding, transpose_y=True)


class LMHead(nn.Layer):
    """Vocabulary scores: dense, activation, LayerNorm, then the transposed word embedding and a bias.

    Args:
        config: sizes, `hidden_act` and `norm_epsilon`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.transform = Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.layer_norm = LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
        self.decoder_bias = self.create_parameter([config.vocab_size], is_bias=True)

    def forward(self, hidden: Tensor, embedding: Tensor, masked_positions: Tensor | None = None) -> Tensor:
        """Score tokens.

        Args:
            hidden: [B, S, H].
            embedding: word embedding table [V, H].
            masked_positions: [n] numbers of the tokens to score, counted through the batch (row * S + column).

        Returns:
            [B, S, V], or [n, V] at the masked positions.
        """
        if masked_positions is not None:
            hidden = hidden.flatten(0, 1).gather(masked_positions)  # [n, H]
        hidden = self.layer_norm(self.activation(self.transform(hidden)))
        if cpu.fits_training(embedding, hidden, self.decoder_bias):
            return cpu.linear(hidden, embedding, self.decoder_bias, transposed=True)
        return vocabulary_scores(hidden, embedding) + self.decoder_bias


class MaskedLM(HeadModel):
    """Vocabulary scores for each token, or for the masked ones."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.cls = nn.Layer()
        self.cls.predictions = LMHead(config)

    def aliases(self) -> Mapping[str, str]:
        return {
            "cls.predictions.decoder.weight": f"{self.prefix}.embeddings.word_embeddings.weight",
            "cls.predictions.decoder.bias": "cls.predictions.decoder_bias",
        }

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        masked_positions: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`logits` [B, S, V], or [n, V] at `masked_positions` [n]; with `labels` of the same places also `loss`."""
        base = self.backbone(input_ids, **inputs)
        embedding = self.backbone.embeddings.word_embeddings.weight
        logits = self.cls.predictions(base.last_hidden_state, embedding, masked_positions)
        loss = None if labels is None else cross_entropy(logits, labels)
        return head_output(base, loss=loss, logits=logits)


class Pretraining(MaskedLM):
    """Masked language model and sentence relation (next sentence or sentence order)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.cls.seq_relationship = nn.Linear(config.hidden_size, 2)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        masked_positions: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`prediction_logits` as `MaskedLM`, `seq_relationship_logits` [B, 2].

        With `labels` and `next_sentence_label` [B], `loss` is the sum of both cross entropies.
        """
        base = self.backbone(input_ids, **inputs)
        embedding = self.backbone.embeddings.word_embeddings.weight
        predictions = self.cls.predictions(base.last_hidden_state, embedding, masked_positions)
        relations = self.cls.seq_relationship(base.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = cross_entropy(predictions, labels) + cross_entropy(relations, next_sentence_label)
        return head_output(base, loss=loss, prediction_logits=predictions, seq_relationship_logits=relations)


class SpanExtraction(HeadModel):
    """UIE: how probable each token is as the first and as the last of a span that the prompt asks for."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.linear_start = nn.Linear(config.hidden_size, 1)
        self.linear_end = nn.Linear(config.hidden_size, 1)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`start_logits`, `end_logits`, `start_prob`, `end_prob`, each [B, S].

        With `start_positions` and `end_positions` (0 and 1 as floats [B, S]), `loss` is the mean of both binary cross
        entropies over all positions. It is computed from the logits, which is stable where the probabilities round to
        0 or 1.
        """
        base = self.backbone(input_ids, **inputs)
        start_logits = self.linear_start(base.last_hidden_state).squeeze(-1)  # [B, S]
        end_logits = self.linear_end(base.last_hidden_state).squeeze(-1)
        loss = None
        if start_positions is not None and end_positions is not None:
            start_loss = F.binary_cross_entropy_with_logits(start_logits, start_positions.astype(start_logits.dtype))
            end_loss = F.binary_cross_entropy_with_logits(end_logits, end_positions.astype(end_logits.dtype))
            loss = (start_loss + end_loss) / 2
        return head_output(
            base,
            loss=loss,
            start_logits=start_logits,
            end_logits=end_logits,
            start_prob=F.sigmoid(start_logits),
            end_prob=F.sigmoid(end_logits),
        )


@dataclass
class IntentSlotOutput(ModelOutput):
    """What a command wants, and the parts of it that say so.

    Args:
        intent_logits: [B, number of intents].
        slot_logits: [B, S, number of slot tags].
    """

    intent_logits: Tensor | None = None
    slot_logits: Tensor | None = None


class IntentSlot(HeadModel):
    """Intent of a text and slot tags of its tokens from one encoder.

    Chen et al., 2019, https://arxiv.org/abs/1902.10909; PaddleNLP's ERNIE 3.0 Tiny has it for spoken commands.

    Args:
        config: sizes; `num_labels` is the number of slot tags, `num_intents` that of intents.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.intent_classifier = nn.Linear(config.hidden_size, config.num_intents)
        self.slot_classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        intent_labels: Tensor | None = None,
        labels: Tensor | None = None,
        **inputs: Any,
    ) -> IntentSlotOutput:
        """`intent_logits` and `slot_logits`; with `intent_labels` [B] and slot `labels` [B, S] (-100 does not count),
        `loss` is the sum of both cross entropies."""
        base = self.backbone(input_ids, **inputs)
        intent_logits = self.intent_classifier(self.dropout(base.pooler_output))
        slot_logits = self.slot_classifier(self.dropout(base.last_hidden_state))
        loss = None
        if intent_labels is not None and labels is not None:
            loss = cross_entropy(intent_logits, intent_labels) + cross_entropy(slot_logits, labels)
        return IntentSlotOutput(
            loss=loss,
            hidden_states=base.hidden_states,
            attentions=base.attentions,
            attention_scores=base.attention_scores,
            intent_logits=intent_logits,
            slot_logits=slot_logits,
        )


class RotaryPositions(nn.Layer):
    """Turns each two numbers of a vector by an angle that grows with the place of the token, so that products of two
    vectors depend on how far apart they are (Su et al., 2021), https://arxiv.org/abs/2104.09864.

    Args:
        width: of the vectors.
        longest: number of places.
    """

    def __init__(self, width: int, longest: int) -> None:
        super().__init__()
        speeds = 10000.0 ** (-np.arange(0, width, 2) / width)
        angles = np.outer(np.arange(longest), speeds)  # [P, width / 2]
        for name, values in (("sin", np.sin(angles)), ("cos", np.cos(angles))):
            self.register_buffer(name, paddle.to_tensor(values.astype(np.float32)), persistable=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """[B, S, width] -> [B, S, width]."""
        length = paddle.shape(vectors)[1]
        sin, cos = self.sin[:length], self.cos[:length]
        even, odd = vectors[..., ::2], vectors[..., 1::2]
        return paddle.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).flatten(-2)


class GlobalPointer(nn.Layer):
    """Scores of pairs of tokens, in the efficient form (Su et al., 2022), https://arxiv.org/abs/2208.03054: all kinds
    of pairs share one product, and each kind adds a bias for the first and one for the second token.

    Args:
        config: sizes.
        kinds: C.
        spans: the pairs are first and last tokens: places count, and no span ends before it starts.
    """

    width = 64
    """Of queries and keys, as in PaddleNLP."""
    masked = -1e4
    """Score of what is no pair. PaddleNLP's -1e12 does not survive addition, nor half precision."""

    def __init__(self, config: ModelConfig, kinds: int, spans: bool) -> None:
        super().__init__()
        self.dense1 = nn.Linear(config.hidden_size, 2 * self.width)
        self.dense2 = nn.Linear(2 * self.width, 2 * kinds)
        self.rotary = RotaryPositions(self.width, config.max_position_embeddings) if spans else None

    def forward(self, hidden: Tensor, seen: Tensor) -> Tensor:
        """Score all pairs.

        Args:
            hidden: [B, S, H].
            seen: false for padding, [B, S].

        Returns:
            [B, C, S, S], first tokens before second ones.
        """
        projected = self.dense1(hidden)  # [B, S, 2 d], queries and keys by turns
        query, key = projected[..., ::2], projected[..., 1::2]
        pairs = seen.unsqueeze(2).logical_and(seen.unsqueeze(1))  # [B, S, S]
        if self.rotary is not None:
            query, key = self.rotary(query), self.rotary(key)
            places = paddle.arange(paddle.shape(hidden)[1])
            pairs = pairs.logical_and(places.unsqueeze(1) <= places)
        products = paddle.matmul(query, key, transpose_y=True) * self.width**-0.5
        biases = self.dense2(projected).transpose([0, 2, 1]) / 2  # [B, 2 C, S], of second and first tokens by turns
        scores = products.unsqueeze(1) + biases[:, ::2].unsqueeze(2) + biases[:, 1::2].unsqueeze(3)
        return paddle.where(pairs.unsqueeze(1), scores, paddle.full([], self.masked, scores.dtype))


@dataclass
class TokenPairOutput(ModelOutput):
    """Spans of a text and the links between them.

    Args:
        entity_logits: [B, C, S, S], scores of a span of kind c from token i to token j.
        head_logits: [B, R, S, S], scores of a link of kind r between the spans that start at tokens i and j.
        tail_logits: [B, R, S, S], the same of the spans that end there.
    """

    entity_logits: Tensor | None = None
    head_logits: Tensor | None = None
    tail_logits: Tensor | None = None


class TokenPairs(HeadModel):
    """GlobalPointer for entities, GPLinker for entities and links, as PaddleNLP's students of UIE have them.

    Su, 2022, https://kexue.fm/archives/8888.

    Args:
        config: sizes; `num_labels` is the number of kinds of spans, `num_links` that of kinds of links.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.entity_output = GlobalPointer(config, config.num_labels, spans=True)
        if config.num_links:
            self.head_output = GlobalPointer(config, config.num_links, spans=False)
            self.tail_output = GlobalPointer(config, config.num_links, spans=False)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        entity_labels: Tensor | None = None,
        head_labels: Tensor | None = None,
        tail_labels: Tensor | None = None,
        **inputs: Any,
    ) -> TokenPairOutput:
        """Score spans, and links if there are kinds of them.

        Args:
            attention_mask: 1 for tokens and 0 for padding, [B, S].
            entity_labels: kind, first and last token of each span, [B, T, 3]; negative ones fill up.
            head_labels: kind of each link with the first tokens of both spans, [B, T, 3].
            tail_labels: the same with the last tokens.

        Returns:
            See `TokenPairOutput`; with all labels also `loss`, a third of the sum of `pair_loss`. PaddleNLP takes a
            third without links, too.
        """
        base = self.backbone(input_ids, attention_mask=attention_mask, **inputs)
        seen = input_ids != self.config.pad_token_id if attention_mask is None else attention_mask != 0
        entity_logits = self.entity_output(base.last_hidden_state, seen)
        head_logits = tail_logits = None
        scored = [(entity_logits, entity_labels)]
        if self.config.num_links:
            head_logits = self.head_output(base.last_hidden_state, seen)
            tail_logits = self.tail_output(base.last_hidden_state, seen)
            scored += [(head_logits, head_labels), (tail_logits, tail_labels)]
        loss = None
        if all(labels is not None for _, labels in scored):
            loss = sum(pair_loss(logits, labels) for logits, labels in scored) / 3
        return TokenPairOutput(
            loss=loss,
            hidden_states=base.hidden_states,
            attentions=base.attentions,
            attention_scores=base.attention_scores,
            entity_logits=entity_logits,
            head_logits=head_logits,
            tail_logits=tail_logits,
        )
