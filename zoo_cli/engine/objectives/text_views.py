"""Multi-level text discrimination: ERNIE-Health, Wang et al., 2021, https://arxiv.org/abs/2110.07244.

As in ELECTRA a generator fills in masked tokens. The discriminator tells which tokens were replaced (RTD), which of
several candidates the original one is (MTS), and which two texts are maskings of the same one (CSP).
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, label_count, places_of, where_seen
from zoo_cli.models.ernie_health.modeling import CSP_WEIGHT, MTS_WEIGHT, RTD_WEIGHT, partner_scores


class TextViews(Pretraining):
    """Trains `zoo_cli.models.ernie_health.modeling.ErnieHealthForTotalPretraining`."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        """Labels of each term. How many tokens the generator replaces shows later; candidates count as the masked ones.

        Texts are compared with the others of their pass, so that the last term depends on how passes are cut.
        """
        masked = label_count(batch["generator_labels"])
        return masked, int(batch["attention_mask"].sum()), masked, len(batch["generator_labels"])

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        places = places_of(batch["generator_labels"])
        result = model(**batch, masked_positions=places)
        replaced, judged = result.discriminator_labels, result.judged
        detected = where_seen(replaced, result.attention_mask)
        chosen = where_seen(paddle.zeros_like(replaced), replaced == 1)  # the original is the first candidate
        partner_logits, partners = partner_scores(judged.csp_logits)
        return [
            Term(
                "generator",
                result.gen_loss,
                result.generator_logits,
                batch["generator_labels"].flatten()[places],
                model.config.gen_weight,
            ),
            Term("rtd", result.disc_rtd_loss, judged.rtd_logits, detected, RTD_WEIGHT),
            Term("mts", result.disc_mts_loss, judged.mts_logits, chosen, MTS_WEIGHT, 1 / judged.mts_logits.shape[-1]),
            # A view is not its own partner.
            Term("csp", result.disc_csp_loss, partner_logits, partners, CSP_WEIGHT, 1 / (len(partners) - 1)),
        ]
