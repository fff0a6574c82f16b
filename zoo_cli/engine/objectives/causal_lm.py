"""Causal language models: GPT-2, Radford et al., 2019, "Language Models are Unsupervised Multitask Learners"."""

from __future__ import annotations

import paddle

from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, where_seen
from zoo_cli.models.losses import cross_entropy


class CausalLanguageModel(Pretraining):
    """Learns the next token. Unlike in PaddleNLP the token with the id 0 is learnt as well."""

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        labels = where_seen(batch["labels"], batch["loss_mask"] == 1)  # [B, S]
        logits = model(batch["input_ids"]).logits
        return [Term("lm", cross_entropy(logits, labels), logits, labels)]
