"""ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators.

Clark et al., 2020, https://arxiv.org/abs/2003.10555. Generator and discriminator are in
`zoo_cli.models.electra.pretraining`, token classification and question answering in `zoo_cli.models.heads`.
`ElectraForBinaryTokenClassification` and `ElectraForSPO` are the heads that ERNIE-Health has for the CBLUE benchmark of
Chinese medical text (Zhang et al., 2021, https://arxiv.org/abs/2106.08087).

In shape comments B is the batch, S the length, E the embedding size, H the hidden size, C the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.models.base import HeadModel, Model, Weights
from zoo_cli.models.electra.config import ElectraConfig
from zoo_cli.models.heads import MultipleChoice, head_output
from zoo_cli.models.layers import Embeddings, Encoder, activation, attention_bias, integer_mask_bias
from zoo_cli.models.losses import classification_loss, cross_entropy
from zoo_cli.models.outputs import ModelOutput, Tensor


def part_of_pair(weights: Mapping[str, Weights], part: str) -> Mapping[str, Weights]:
    """The weights of one of two models that were pretrained together.

    Args:
        weights: of any file; those that are not of a pair are returned as they are.
        part: ``"generator"`` or ``"discriminator"``.
    """
    own = {name.removeprefix(f"{part}."): value for name, value in weights.items() if name.startswith(f"{part}.")}
    if not own:
        return weights
    tied = "electra.embeddings.word_embeddings.weight"
    for other in ("generator", "discriminator"):  # a file may name a tied weight once, for either of them
        if f"{other}.{tied}" in weights:
            own.setdefault(tied, weights[f"{other}.{tied}"])
    return own


class ElectraModel(Model):
    """Embeddings of width E, a projection to H where these differ, and a post-norm encoder. There is no pooler.

    From a file of a pretrained pair the discriminator is loaded.

    Args:
        config: sizes.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config, config.type_vocab_size, config.embedding_size)
        self.embeddings_project = None
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = nn.Linear(config.embedding_size, config.hidden_size)
        self.encoder = Encoder(config)

    def own_weights(self, weights: Mapping[str, Weights]) -> Mapping[str, Weights]:
        return part_of_pair(weights, "discriminator")

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
        output_attention_scores: bool = False,
    ) -> ModelOutput:
        """Encode a batch.

        Args:
            input_ids: [B, S].
            token_type_ids: [B, S]; 0 unless given.
            position_ids: [B, S]; 0 to S - 1 unless given.
            attention_mask: integers or booleans [B, S], 1 for tokens to see, or any shape that broadcasts to
                [B, A, S, S]; tokens that are not padding unless given. Floats are added to the scores as they stand, in
                two dimensions too, so that a mask of 0.0 and 1.0 hides next to nothing, as in PaddleNLP.

        Returns:
            `last_hidden_state` [B, S, H], and what the flags ask for.
        """
        if attention_mask is not None and attention_mask.ndim == 2:
            bias = integer_mask_bias(attention_mask.unsqueeze([1, 2]))  # [B, 1, 1, S]
        else:
            bias = attention_bias(attention_mask, input_ids, self.config.pad_token_id)
        hidden = self.embeddings(input_ids, token_type_ids, position_ids)  # [B, S, E]
        if self.embeddings_project is not None:
            hidden = self.embeddings_project(hidden)  # [B, S, H]
        return self.encoder(
            hidden,
            bias,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            output_attention_scores=output_attention_scores,
        )


class ClassificationHead(nn.Layer):
    """The first token through dropout, dense, activation, dropout and a linear layer.

    Args:
        config: sizes and activation.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.head_act or config.hidden_act)
        self.dropout = nn.Dropout(config.head_dropout)
        self.out_proj = nn.Linear(config.hidden_size, config.num_labels)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, C]."""
        first = self.dropout(hidden[:, 0])  # [B, H]
        return self.out_proj(self.dropout(self.activation(self.dense(first))))


class ElectraForSequenceClassification(HeadModel):
    """Class scores of a text."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.classifier = ClassificationHead(config)

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, C]; with `labels` also `loss`, see `zoo_cli.models.losses.classification_loss`."""
        base = self.backbone(input_ids, **inputs)
        logits = self.classifier(base.last_hidden_state)
        loss = None if labels is None else classification_loss(logits, labels, self.config.problem_type)
        return head_output(base, loss=loss, logits=logits)


class SequenceSummary(nn.Layer):
    """The first token through a dense layer and an activation.

    Args:
        config: sizes and activation.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.head_act or config.hidden_act)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, H]."""
        return self.activation(self.dense(hidden[:, 0]))


class ElectraForMultipleChoice(MultipleChoice):
    """One score for each of several texts, from a summary of its first token."""

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.sequence_summary = SequenceSummary(config)

    def pooled(self, base: ModelOutput) -> Tensor:
        return self.sequence_summary(base.last_hidden_state)


@dataclass
class BinaryTokenOutput(ModelOutput):
    """Two rows of tag scores for each token.

    Args:
        oth_logits: [B, S, number of tags], of CMeEE's entities other than symptoms.
        sym_logits: [B, S, number of tags], of its symptoms, in which other entities may lie.
    """

    oth_logits: Tensor | None = None
    sym_logits: Tensor | None = None


class ElectraForBinaryTokenClassification(HeadModel):
    """Two token classifiers side by side, for entities of which one kind may enclose others (CMeEE).

    Args:
        config: sizes, `num_labels_oth` and `num_labels_sym`.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier_oth = nn.Linear(config.hidden_size, config.num_labels_oth)
        self.classifier_sym = nn.Linear(config.hidden_size, config.num_labels_sym)

    def forward(
        self,
        input_ids: Tensor,
        *,
        oth_labels: Tensor | None = None,
        sym_labels: Tensor | None = None,
        **inputs: Any,
    ) -> BinaryTokenOutput:
        """`oth_logits` and `sym_logits`; with the labels [B, S] of both (-100 does not count), `loss` is the sum of
        their cross entropies."""
        base = self.backbone(input_ids, **inputs)
        hidden = self.dropout(base.last_hidden_state)
        oth_logits, sym_logits = self.classifier_oth(hidden), self.classifier_sym(hidden)
        loss = None
        if oth_labels is not None and sym_labels is not None:
            loss = cross_entropy(oth_logits, oth_labels) + cross_entropy(sym_logits, sym_labels)
        return BinaryTokenOutput(
            loss=loss,
            hidden_states=base.hidden_states,
            attentions=base.attentions,
            attention_scores=base.attention_scores,
            oth_logits=oth_logits,
            sym_logits=sym_logits,
        )


@dataclass
class SPOOutput(ModelOutput):
    """Subjects, objects and the relations between them.

    Args:
        entity_logits: [B, S, 2], scores of each token being the first and the last of an entity.
        relation_logits: [B, C, S, S], scores of relation c between the entities that start at tokens i and j.
    """

    entity_logits: Tensor | None = None
    relation_logits: Tensor | None = None


class SpanAttention(nn.Layer):
    """Scores of C relations between all pairs of tokens.

    Args:
        hidden_size: H, which is also the width of each of the C heads.
        num_labels: C.
    """

    scale = 768**-0.5
    """768 whatever H is, as in PaddleNLP's script."""

    def __init__(self, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.num_labels = num_labels
        self.q_proj = nn.Linear(hidden_size, hidden_size * num_labels)
        self.k_proj = nn.Linear(hidden_size, hidden_size * num_labels)

    def _split(self, projected: Tensor) -> Tensor:
        """[B, S, C * H] -> [B, C, S, H]."""
        return projected.reshape([0, 0, self.num_labels, self.hidden_size]).transpose([0, 2, 1, 3])

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """[B, S, H] and [B, S, H] -> [B, C, S, S]."""
        query, key = self._split(self.q_proj(query)), self._split(self.k_proj(key))
        return paddle.matmul(query, key, transpose_y=True) * self.scale


class ElectraForSPO(HeadModel):
    """Subject, predicate, object: where entities start and end, and which relation holds between two of them (CMeIE).

    Args:
        config: sizes; `num_labels` is the number of relations.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.hidden_size, 2)
        self.span_attention = SpanAttention(config.hidden_size, config.num_labels)

    def forward(
        self,
        input_ids: Tensor,
        *,
        attention_mask: Tensor | None = None,
        entity_labels: Tensor | None = None,
        relation_labels: Tensor | None = None,
        output_hidden_states: bool = False,
        **inputs: Any,
    ) -> SPOOutput:
        """Score entities and relations.

        Args:
            attention_mask: see `ElectraModel`; [B, S] where labels are given.
            entity_labels: 0 and 1 [B, S, 2], see `SPOOutput.entity_logits`.
            relation_labels: 0 and 1 [B, C, S, S].

        Returns:
            `entity_logits` and `relation_logits`; with both labels also `loss`: binary cross entropies without padding,
            summed over places and relations and averaged over texts.
        """
        base = self.backbone(input_ids, attention_mask=attention_mask, output_hidden_states=True, **inputs)
        assert base.hidden_states is not None
        hidden = self.dropout(base.last_hidden_state)
        entity_logits = self.classifier(hidden)  # [B, S, 2]
        relation_logits = self.span_attention(hidden, base.hidden_states[-2] + hidden[:, :1])  # [B, C, S, S]
        loss = None
        if entity_labels is not None and relation_labels is not None:
            seen = input_ids != self.config.pad_token_id if attention_mask is None else attention_mask
            loss = _spo_loss(entity_logits, relation_logits, entity_labels, relation_labels, seen)
        return SPOOutput(
            loss=loss,
            hidden_states=base.hidden_states if output_hidden_states else None,
            attentions=base.attentions,
            attention_scores=base.attention_scores,
            entity_logits=entity_logits,
            relation_logits=relation_logits,
        )


def _spo_loss(
    entity_logits: Tensor, relation_logits: Tensor, entity_labels: Tensor, relation_labels: Tensor, seen: Tensor
) -> Tensor:
    seen = seen.astype(entity_logits.dtype).unsqueeze(2)  # [B, S, 1]
    pairs = paddle.matmul(seen, seen, transpose_y=True).unsqueeze(1)  # [B, 1, S, S]
    entity_losses, relation_losses = (
        F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype), reduction="none")
        for logits, labels in ((entity_logits, entity_labels), (relation_logits, relation_labels))
    )
    return ((entity_losses * seen).sum() + (relation_losses * pairs).sum()) / entity_logits.shape[0]
