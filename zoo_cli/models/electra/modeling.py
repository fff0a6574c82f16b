"""ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators.

Clark et al., 2020, https://arxiv.org/abs/2003.10555. Token classification and question answering are in
`zoo_cli.models.heads`. `ElectraForBinaryTokenClassification` and `ElectraForSPO` are the heads that ERNIE-Health has
for the CBLUE benchmark of Chinese medical text (Zhang et al., 2021, https://arxiv.org/abs/2106.08087).

In shape comments B is the batch, S the length, E the embedding size, H the hidden size, V the vocabulary, C the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.models.base import HeadModel, Model
from zoo_cli.models.config import parse
from zoo_cli.models.electra.config import ElectraConfig
from zoo_cli.models.heads import MultipleChoice, head_output
from zoo_cli.models.layers import Embeddings, Encoder, activation, attention_bias, integer_mask_bias
from zoo_cli.models.losses import IGNORED, classification_loss, cross_entropy
from zoo_cli.models.outputs import ModelOutput, Tensor

Weights = TypeVar("Weights")


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


# -- fine-tuning ----------------------------------------------------------------------------------------------------


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


# -- pretraining ----------------------------------------------------------------------------------------------------


class GeneratorHead(nn.Layer):
    """Dense, activation, LayerNorm: hidden states as vectors to compare with word embeddings.

    Args:
        config: sizes, activation and `generator_norm_eps`.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.embedding_size)
        self.activation = activation(config.head_act or config.hidden_act)
        self.layer_norm = nn.LayerNorm(config.embedding_size, epsilon=config.generator_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, S, E]."""
        return self.layer_norm(self.activation(self.dense(hidden)))


class ElectraGenerator(HeadModel):
    """Vocabulary scores for each token; the small masked language model that makes the discriminator's input.

    Args:
        config: sizes.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.generator_predictions = GeneratorHead(config)
        self.generator_lm_head_bias = self.create_parameter([config.vocab_size], is_bias=True)

    def own_weights(self, weights: Mapping[str, Weights]) -> Mapping[str, Weights]:
        return part_of_pair(weights, "generator")

    def forward(self, input_ids: Tensor, *, labels: Tensor | None = None, **inputs: Any) -> ModelOutput:
        """`logits` [B, S, V]; with `labels` [B, S] (-100 does not count) also `loss`."""
        base = self.backbone(input_ids, **inputs)
        embedding = self.backbone.embeddings.word_embeddings.weight  # [V, E]
        vectors = self.generator_predictions(base.last_hidden_state)
        logits = paddle.matmul(vectors, embedding, transpose_y=True) + self.generator_lm_head_bias
        loss = None if labels is None else cross_entropy(logits, labels)
        return head_output(base, loss=loss, logits=logits)


class DiscriminatorHead(nn.Layer):
    """How likely each token is to have been replaced.

    Args:
        config: sizes and activation.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.dense_prediction = nn.Linear(config.hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """[B, S, H] -> [B, S], also for a batch of one, whose axis PaddleNLP drops."""
        return self.dense_prediction(self.activation(self.dense(hidden))).squeeze(-1)


class ElectraDiscriminator(HeadModel):
    """Tells replaced tokens from original ones.

    Args:
        config: sizes.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        self.discriminator_predictions = DiscriminatorHead(config)

    def forward(self, input_ids: Tensor, **inputs: Any) -> ModelOutput:
        """`logits` [B, S], positive for tokens that look replaced."""
        base = self.backbone(input_ids, **inputs)
        return head_output(base, logits=self.discriminator_predictions(base.last_hidden_state))


class DiscriminatorInputs(NamedTuple):
    """What the generator made of a masked text.

    Args:
        input_ids: [B, S], the masked text with the generator's tokens at the masked places.
        labels: [B, S], 1 where the token is not that of the original text.
        sampled_ids: [B, S], the generator's token at every place.
    """

    input_ids: Tensor
    labels: Tensor
    sampled_ids: Tensor


def gumbel_noise(like: Tensor) -> Tensor:
    """Noise of the shape of `like`: the arg-max of logits plus this noise is a sample of their softmax."""
    uniform = paddle.rand(paddle.shape(like), dtype=like.dtype)
    return -paddle.log(-paddle.log(uniform + 1e-9) + 1e-9)


class PretrainingPair(Model):
    """A generator and a discriminator that are trained together.

    Args:
        config: sizes of the discriminator, and of the generator but for `generator_config`.
        discriminator: class of the discriminator.
        architecture: its published name.

    Attributes:
        use_softmax_sample: whether the generator's tokens are drawn from its distribution, and not its likeliest ones.
    """

    use_softmax_sample = True

    def __init__(self, config: ElectraConfig, discriminator: type[HeadModel], architecture: str) -> None:
        super().__init__(config)
        values = {**config.as_dict(), "generator_config": None}
        changes = {**(config.generator_config or {}), "architectures": ["ElectraGenerator"]}
        self.generator = ElectraGenerator(parse(type(config), {**values, **changes}))
        self.discriminator = discriminator(parse(type(config), {**values, "architectures": [architecture]}))

    def get_discriminator_inputs(
        self,
        inputs: Tensor,
        raw_inputs: Tensor,
        generator_logits: Tensor,
        generator_labels: Tensor,
        use_softmax_sample: bool,
    ) -> DiscriminatorInputs:
        """Put the generator's tokens into the masked places.

        Args:
            inputs: the masked text [B, S].
            raw_inputs: the original text [B, S].
            generator_logits: [B, S, V].
            generator_labels: [B, S], -100 where nothing is masked.
            use_softmax_sample: draw the tokens rather than take the likeliest.
        """
        logits = generator_logits.detach()
        if use_softmax_sample:
            logits = logits + gumbel_noise(logits)
        sampled = logits.argmax(axis=-1)  # [B, S]
        masked = generator_labels != IGNORED
        input_ids = paddle.where(masked, sampled, inputs)
        labels = paddle.logical_and(masked, input_ids != raw_inputs).astype("int64")
        return DiscriminatorInputs(input_ids, labels, sampled)

    def visible(self, input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Which tokens count for the discriminator's loss, as booleans [B, S]."""
        if attention_mask is None:
            return input_ids != self.config.pad_token_id
        return attention_mask.astype("bool")


@dataclass
class ElectraPretrainingOutput(ModelOutput):
    """Result of one pretraining step; `loss` is that of `ElectraPretrainingCriterion`.

    Args:
        generator_logits: [B, S, V].
        discriminator_logits: [B, S].
        discriminator_labels: [B, S], 1 where the generator replaced a token by another.
        attention_mask: [B, S], booleans, which tokens count.
    """

    generator_logits: Tensor | None = None
    discriminator_logits: Tensor | None = None
    discriminator_labels: Tensor | None = None
    attention_mask: Tensor | None = None


class ElectraForTotalPretraining(PretrainingPair):
    """Generator and discriminator with shared word embeddings.

    Args:
        config: see `PretrainingPair`.

    Raises:
        UsageError: the embeddings cannot be shared as they differ in size (`embedding-size`).
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config, ElectraDiscriminator, "ElectraDiscriminator")
        own, other = (part.backbone.embeddings.word_embeddings for part in (self.generator, self.discriminator))
        if own.weight.shape != other.weight.shape:
            raise UsageError(
                "embedding-size",
                "generator and discriminator share word embeddings, but have them of the sizes {own} and {other}",
                fix="leave embedding_size and vocab_size out of generator_config",
                own=own.weight.shape,
                other=other.weight.shape,
            )
        other.weight = own.weight
        self.criterion = ElectraPretrainingCriterion(config)

    def forward(
        self,
        input_ids: Tensor,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *,
        raw_input_ids: Tensor,
        generator_labels: Tensor,
    ) -> ElectraPretrainingOutput:
        """One step on masked text.

        Args:
            input_ids: the masked text [B, S].
            token_type_ids, position_ids, attention_mask: [B, S], see `ElectraModel`.
            raw_input_ids: the original text [B, S].
            generator_labels: [B, S], the original id where it is masked, -100 elsewhere.
        """
        inputs = {"token_type_ids": token_type_ids, "position_ids": position_ids, "attention_mask": attention_mask}
        generator_logits = self.generator(input_ids, **inputs).logits
        replaced = self.get_discriminator_inputs(
            input_ids, raw_input_ids, generator_logits, generator_labels, self.use_softmax_sample
        )
        discriminator_logits = self.discriminator(replaced.input_ids, **inputs).logits
        seen = self.visible(input_ids, attention_mask)
        return ElectraPretrainingOutput(
            loss=self.criterion(generator_logits, discriminator_logits, generator_labels, replaced.labels, seen),
            generator_logits=generator_logits,
            discriminator_logits=discriminator_logits,
            discriminator_labels=replaced.labels,
            attention_mask=seen,
        )


def detection_loss(logits: Tensor, labels: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Mean binary cross entropy of replaced-token detection over the tokens that count; all inputs [B, S]."""
    losses = F.binary_cross_entropy_with_logits(logits, labels.astype(logits.dtype), reduction="none")
    if attention_mask is None:
        return losses.mean()
    counts = attention_mask.astype(losses.dtype)
    return (losses * counts).sum() / counts.sum().clip(min=1.0)


class ElectraPretrainingCriterion(nn.Layer):
    """Weighted sum of the generator's and the discriminator's loss.

    Args:
        config: `gen_weight` and `disc_weight`.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        generator_prediction_scores: Tensor,
        discriminator_prediction_scores: Tensor,
        generator_labels: Tensor,
        discriminator_labels: Tensor,
        attention_mask: Tensor | None,
    ) -> Tensor:
        """The loss, a scalar.

        Args:
            generator_prediction_scores: [B, S, V].
            discriminator_prediction_scores: [B, S].
            generator_labels: [B, S], -100 where nothing is masked.
            discriminator_labels: [B, S], 0 and 1.
            attention_mask: [B, S], which tokens count for the discriminator; all where None.
        """
        generator_loss = cross_entropy(generator_prediction_scores, generator_labels)
        discriminator_loss = detection_loss(discriminator_prediction_scores, discriminator_labels, attention_mask)
        return self.config.gen_weight * generator_loss + self.config.disc_weight * discriminator_loss
