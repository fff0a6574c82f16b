"""Replaced-token detection: ELECTRA, Clark et al., 2020, https://arxiv.org/abs/2003.10555.

A generator learns to fill in masked tokens, a discriminator to tell which tokens are the generator's.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, label_count, places_of, where_seen


class ReplacedTokens(Pretraining):
    """Trains `zoo_cli.models.electra.pretraining.ElectraForTotalPretraining`."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        return label_count(batch["generator_labels"]), int(batch["attention_mask"].sum())

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        places = places_of(batch["generator_labels"])
        result, config = model(**batch, masked_positions=places), model.config
        masked = batch["generator_labels"].flatten()[places]
        replaced = where_seen(result.discriminator_labels, result.attention_mask)
        return [
            Term("generator", result.generator_loss, result.generator_logits, masked, config.gen_weight),
            Term("rtd", result.discriminator_loss, result.discriminator_logits, replaced, config.disc_weight),
        ]
