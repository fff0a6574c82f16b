"""Pretraining of ELECTRA: a generator fills in masked tokens, a discriminator tells which ones it replaced.

Clark et al., 2020, https://arxiv.org/abs/2003.10555. In shape comments B is the batch, S the length, E the embedding
size, H the hidden size, V the vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.models.base import HeadModel, Model, Weights
from zoo_cli.models.config import parse
from zoo_cli.models.electra.config import ElectraConfig
from zoo_cli.models.electra.modeling import part_of_pair
from zoo_cli.models.heads import head_output
from zoo_cli.models.layers import activation
from zoo_cli.models.losses import IGNORED, cross_entropy
from zoo_cli.models.outputs import ModelOutput, Tensor


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

    def forward(
        self,
        input_ids: Tensor,
        *,
        labels: Tensor | None = None,
        masked_positions: Tensor | None = None,
        **inputs: Any,
    ) -> ModelOutput:
        """`logits` [B, S, V], or those of `masked_positions` [M] of the flattened text, [M, V]; with `labels` of the
        same places (-100 does not count) also `loss`."""
        base = self.backbone(input_ids, **inputs)
        embedding = self.backbone.embeddings.word_embeddings.weight  # [V, E]
        hidden = base.last_hidden_state
        vectors = self.generator_predictions(hidden if masked_positions is None else at(hidden, masked_positions))
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
        sampled_ids: [B, S], the generator's token at every place that it has scores of.
    """

    input_ids: Tensor
    labels: Tensor
    sampled_ids: Tensor


def at(values: Tensor, positions: Tensor | None) -> Tensor:
    """What [B, S, ...] has at places [M] of the flattened text, [M, ...]; all of it where there are none given."""
    return values if positions is None else values.flatten(0, 1).index_select(positions)


def put(values: Tensor, positions: Tensor | None, rows: Tensor) -> Tensor:
    """[B, S, ...] with `rows` [M, ...] at places [M] of the flattened text; or `rows` for all places where none are
    given."""
    if positions is None:
        return rows
    return paddle.scatter(values.flatten(0, 1), positions, rows).reshape(values.shape)


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
        masked_positions: Tensor | None = None,
    ) -> DiscriminatorInputs:
        """Put the generator's tokens into the masked places.

        Args:
            inputs: the masked text [B, S].
            raw_inputs: the original text [B, S].
            generator_logits: [B, S, V]; or [M, V], of the masked places alone.
            generator_labels: [B, S], -100 where nothing is masked.
            use_softmax_sample: draw the tokens rather than take the likeliest.
            masked_positions: the masked places in the flattened text [M], where there are scores of these alone.
        """
        logits = generator_logits.detach()
        if use_softmax_sample:
            logits = logits + gumbel_noise(logits)
        sampled = put(inputs, masked_positions, logits.argmax(axis=-1))  # [B, S]
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
        generator_loss, discriminator_loss: its two parts.
        generator_logits: [B, S, V], or [M, V] of the masked places alone.
        discriminator_logits: [B, S].
        discriminator_labels: [B, S], 1 where the generator replaced a token by another.
        attention_mask: [B, S], booleans, which tokens count.
    """

    generator_loss: Tensor | None = None
    discriminator_loss: Tensor | None = None
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
        masked_positions: Tensor | None = None,
    ) -> ElectraPretrainingOutput:
        """One step on masked text.

        Args:
            input_ids: the masked text [B, S].
            token_type_ids, position_ids, attention_mask: [B, S], see `ElectraModel`.
            raw_input_ids: the original text [B, S].
            generator_labels: [B, S], the original id where it is masked, -100 elsewhere.
            masked_positions: the masked places in the flattened text [M]; the generator then scores these alone, as
                ELECTRA's first implementation did, and PaddleNLP does not.
        """
        inputs = {"token_type_ids": token_type_ids, "position_ids": position_ids, "attention_mask": attention_mask}
        generator_logits = self.generator(input_ids, masked_positions=masked_positions, **inputs).logits
        replaced = self.get_discriminator_inputs(
            input_ids, raw_input_ids, generator_logits, generator_labels, self.use_softmax_sample, masked_positions
        )
        generator_labels = at(generator_labels, masked_positions)
        discriminator_logits = self.discriminator(replaced.input_ids, **inputs).logits
        seen = self.visible(input_ids, attention_mask)
        losses = self.criterion.losses(generator_logits, discriminator_logits, generator_labels, replaced.labels, seen)
        return ElectraPretrainingOutput(
            loss=self.criterion.weighted(*losses),
            generator_loss=losses[0],
            discriminator_loss=losses[1],
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
        return self.weighted(
            *self.losses(
                generator_prediction_scores,
                discriminator_prediction_scores,
                generator_labels,
                discriminator_labels,
                attention_mask,
            )
        )

    def losses(
        self,
        generator_logits: Tensor,
        discriminator_logits: Tensor,
        generator_labels: Tensor,
        discriminator_labels: Tensor,
        attention_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """The generator's and the discriminator's loss; arguments as in `forward`."""
        return (
            cross_entropy(generator_logits, generator_labels),
            detection_loss(discriminator_logits, discriminator_labels, attention_mask),
        )

    def weighted(self, generator_loss: Tensor, discriminator_loss: Tensor) -> Tensor:
        """The sum that is minimised."""
        return self.config.gen_weight * generator_loss + self.config.disc_weight * discriminator_loss
