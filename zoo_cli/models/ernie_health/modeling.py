"""ERNIE-Health: Building Chinese Biomedical Language Models via Multi-Level Text Discrimination.

Wang et al., 2021, https://arxiv.org/abs/2110.07244. ELECTRA with three things for the discriminator to tell: which
tokens were replaced (RTD), which of several candidates the original token is (MTS), and which two texts are views of
the same one (CSP). Fine-tuning uses ELECTRA's classes, see `zoo_cli.models.electra.modeling`.

In shape comments B is the batch, S the length, K the candidates, H the hidden size, C the labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from zoo_cli.base.errors import UsageError
from zoo_cli.models.base import HeadModel
from zoo_cli.models.electra.config import ElectraConfig
from zoo_cli.models.electra.modeling import ClassificationHead
from zoo_cli.models.electra.pretraining import (
    DiscriminatorHead,
    PretrainingPair,
    at,
    detection_loss,
    gumbel_noise,
    put,
)
from zoo_cli.models.layers import activation
from zoo_cli.models.losses import cross_entropy
from zoo_cli.models.outputs import ModelOutput, Tensor

NEGATIVES = 5
"""Candidates for the original token beside itself."""

RTD_WEIGHT, MTS_WEIGHT, CSP_WEIGHT = 50.0, 20.0, 1.0
TEMPERATURE = 0.07
"""Divides the similarities of the contrastive loss."""


@dataclass
class ErnieHealthOutput(ModelOutput):
    """What the discriminator says.

    Args:
        rtd_logits: [B, S], positive for tokens that look replaced.
        mts_logits: [B, S, K], scores of the candidates for the original token.
        csp_logits: [B, C], a vector for each text to compare with others.
    """

    rtd_logits: Tensor | None = None
    mts_logits: Tensor | None = None
    csp_logits: Tensor | None = None


class ErnieHealthDiscriminator(HeadModel):
    """The discriminator with its three heads.

    Args:
        config: sizes; `num_labels` is the width of the vectors that are compared.

    Raises:
        UsageError: hidden states and word embeddings, which are multiplied, differ in width (`embedding-size`).
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config)
        if config.embedding_size != config.hidden_size:
            raise UsageError(
                "embedding-size",
                "ERNIE-Health's discriminator needs embedding_size and hidden_size to be the same, "
                "not {embedding_size} and {hidden_size}",
                embedding_size=config.embedding_size,
                hidden_size=config.hidden_size,
            )
        self.discriminator_rtd = DiscriminatorHead(config)
        self.discriminator_mts = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = activation(config.hidden_act)
        self.bias_mts = nn.Embedding(config.vocab_size, 1)
        self.discriminator_csp = ClassificationHead(config)

    def forward(self, input_ids: Tensor, candidate_ids: Tensor, **inputs: Any) -> ErnieHealthOutput:
        """Judge texts [B, S] with candidates [B, S, K] for each token."""
        base = self.backbone(input_ids, **inputs)
        hidden = base.last_hidden_state
        candidates = self.backbone.embeddings.word_embeddings(candidate_ids)  # [B, S, K, H]
        vectors = self.activation(self.discriminator_mts(hidden)).unsqueeze(3)  # [B, S, H, 1]
        mts_logits = (paddle.matmul(candidates, vectors) + self.bias_mts(candidate_ids)).squeeze(3)  # [B, S, K]
        return ErnieHealthOutput(
            hidden_states=base.hidden_states,
            attentions=base.attentions,
            attention_scores=base.attention_scores,
            rtd_logits=self.discriminator_rtd(hidden),
            mts_logits=mts_logits,
            csp_logits=self.discriminator_csp(hidden),
        )


class CandidateInputs(NamedTuple):
    """`DiscriminatorInputs` with candidates for the original token.

    Args:
        input_ids, labels, sampled_ids: [B, S].
        candidate_ids: [B, S, 6]; the original token first, then others that the generator finds likely.
    """

    input_ids: Tensor
    labels: Tensor
    sampled_ids: Tensor
    candidate_ids: Tensor


@dataclass
class ErnieHealthPretrainingOutput(ModelOutput):
    """Losses, all scalars; `loss` is their weighted sum. A step's result also has what they are computed from.

    Args:
        gen_loss: of the generator.
        disc_rtd_loss, disc_mts_loss, disc_csp_loss: of the discriminator's three heads.
        generator_logits: [B, S, V], or [M, V] of the masked places alone.
        judged: what the discriminator says.
        discriminator_labels: [B, S], 1 where the generator replaced a token by another.
        attention_mask: [B, S], booleans, which tokens count.
    """

    gen_loss: Tensor | None = None
    disc_rtd_loss: Tensor | None = None
    disc_mts_loss: Tensor | None = None
    disc_csp_loss: Tensor | None = None
    generator_logits: Tensor | None = None
    judged: ErnieHealthOutput | None = None
    discriminator_labels: Tensor | None = None
    attention_mask: Tensor | None = None


class ErnieHealthForTotalPretraining(PretrainingPair):
    """Generator and discriminator. Unlike ELECTRA's they have word embeddings of their own, as in PaddleNLP.

    Args:
        config: see `PretrainingPair`.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__(config, ErnieHealthDiscriminator, "ErnieHealthDiscriminator")
        self.criterion = ErnieHealthPretrainingCriterion(config)

    def get_discriminator_inputs_ernie_health(
        self,
        inputs: Tensor,
        raw_inputs: Tensor,
        generator_logits: Tensor,
        generator_labels: Tensor,
        use_softmax_sample: bool,
        masked_positions: Tensor | None = None,
    ) -> CandidateInputs:
        """Put the generator's tokens into the masked places and find candidates; arguments as in
        `PretrainingPair.get_discriminator_inputs`."""
        replaced = self.get_discriminator_inputs(
            inputs, raw_inputs, generator_logits, generator_labels, use_softmax_sample, masked_positions
        )
        logits = generator_logits.detach()
        if use_softmax_sample:
            # The best after adding noise are distributed as if they were drawn one after another.
            logits = logits + gumbel_noise(logits)
        others = logits - F.one_hot(at(raw_inputs, masked_positions), logits.shape[-1]) * 1e4
        originals = raw_inputs.unsqueeze(2)  # [B, S, 1]
        # Candidates count for replaced tokens only: elsewhere any do.
        negatives = put(originals.tile([1, 1, NEGATIVES]), masked_positions, others.topk(NEGATIVES, axis=-1)[1])
        return CandidateInputs(*replaced, paddle.concat([originals, negatives], axis=2))

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
    ) -> ErnieHealthPretrainingOutput:
        """One step on masked text.

        Args:
            input_ids: the masked text [B, S]; rows i and i + B / 2 are two maskings of the same text.
            token_type_ids, position_ids, attention_mask: [B, S], see `ElectraModel`.
            raw_input_ids: the original text [B, S].
            generator_labels: [B, S], the original id where it is masked, -100 elsewhere.
            masked_positions: the masked places in the flattened text [M]; the generator then scores these alone.
        """
        inputs = {"token_type_ids": token_type_ids, "position_ids": position_ids, "attention_mask": attention_mask}
        generator_logits = self.generator(input_ids, masked_positions=masked_positions, **inputs).logits
        replaced = self.get_discriminator_inputs_ernie_health(
            input_ids, raw_input_ids, generator_logits, generator_labels, self.use_softmax_sample, masked_positions
        )
        generator_labels = at(generator_labels, masked_positions)
        judged = self.discriminator(replaced.input_ids, replaced.candidate_ids, **inputs)
        seen = self.visible(input_ids, attention_mask)
        losses = self.criterion(
            generator_logits,
            generator_labels,
            judged.rtd_logits,
            judged.mts_logits,
            judged.csp_logits,
            replaced.labels,
            seen,
        )
        return replace(
            losses,
            generator_logits=generator_logits,
            judged=judged,
            discriminator_labels=replaced.labels,
            attention_mask=seen,
        )


class ErnieHealthPretrainingCriterion(nn.Layer):
    """Weighted sum of the generator's loss and the three of the discriminator.

    Args:
        config: `gen_weight`; the other weights are fixed.
    """

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.config = config

    def forward(
        self,
        generator_logits: Tensor,
        generator_labels: Tensor,
        logits_rtd: Tensor,
        logits_mts: Tensor,
        logits_csp: Tensor,
        discriminator_labels: Tensor,
        attention_mask: Tensor | None,
    ) -> ErnieHealthPretrainingOutput:
        """The losses.

        Args:
            generator_logits: [B, S, V].
            generator_labels: [B, S], -100 where nothing is masked.
            logits_rtd: [B, S].
            logits_mts: [B, S, K], the original token first; only replaced tokens count.
            logits_csp: [B, C]; rows i and i + B / 2 belong together.
            discriminator_labels: [B, S], 1 where a token was replaced.
            attention_mask: [B, S], which tokens count for detection; all where None.
        """
        gen_loss = cross_entropy(generator_logits, generator_labels)
        rtd_loss = detection_loss(logits_rtd, discriminator_labels, attention_mask)
        mts_loss = cross_entropy(logits_mts, discriminator_labels - 1, ignore_index=-1)  # target 0 where replaced
        csp_loss = cross_entropy(*partner_scores(logits_csp))
        disc_loss = RTD_WEIGHT * rtd_loss + MTS_WEIGHT * mts_loss + CSP_WEIGHT * csp_loss
        return ErnieHealthPretrainingOutput(
            loss=self.config.gen_weight * gen_loss + disc_loss,
            gen_loss=gen_loss,
            disc_rtd_loss=rtd_loss,
            disc_mts_loss=mts_loss,
            disc_csp_loss=csp_loss,
        )


def partner_scores(vectors: Tensor) -> tuple[Tensor, Tensor]:
    """How like each of the vectors [B, C] is to each other one, [B, B], and the number of its partner, which is B / 2
    rows further, [B]."""
    size = vectors.shape[0]
    vectors = F.normalize(vectors, axis=-1)
    similarities = paddle.matmul(vectors, vectors, transpose_y=True) / TEMPERATURE  # [B, B]
    similarities = similarities - paddle.eye(size, dtype=similarities.dtype) * 1e4
    return similarities, (paddle.arange(size, dtype="int64") + size // 2) % size
