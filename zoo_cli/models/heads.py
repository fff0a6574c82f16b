"""Heads, each written once: any family's backbone goes under them.

They follow BERT (Devlin et al., 2018), https://arxiv.org/abs/1810.04805; `SpanExtraction` is UIE's (Lu et al., 2022),
https://arxiv.org/abs/2203.12277. A head passes the arguments it does not know to its backbone, so that it accepts
exactly the inputs of the family: ``input_ids``, ``token_type_ids``, ``position_ids``, ``attention_mask``,
``output_hidden_states``, ``output_attentions``, ``output_attention_scores`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models.base import HeadModel
from zoo_cli.models.config import ModelConfig
from zoo_cli.models.layers import activation
from zoo_cli.models.losses import classification_loss, cross_entropy, span_loss
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
        self.transform = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.layer_norm = nn.LayerNorm(config.hidden_size, epsilon=config.norm_epsilon)
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
