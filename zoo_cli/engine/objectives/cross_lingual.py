"""Masked language models across languages: ERNIE-M, Ouyang et al., 2020, https://arxiv.org/abs/2012.15674.

On pairs of a text and its translation masked tokens are guessed from both (TLM, Conneau and Lample, 2019,
https://arxiv.org/abs/1901.07291), or from the other text alone (CAMLM). A model that has learnt the latter puts words
of its own translation behind single texts, and guesses their masked tokens with the help of those (BTMLM).
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle

from zoo_cli.data.corpus.cross_lingual import NAMES
from zoo_cli.engine.objectives.pretraining import Pretraining, Tensors, Term, where_seen
from zoo_cli.models.losses import cross_entropy

UNLIKELY = -1e9


class CrossLingualModel(Pretraining):
    """Learns masked tokens of the batches of `zoo_cli.data.corpus.cross_lingual`; all of them count alike.

    Args:
        kinds: names of the kinds of rows that batches have.
        special_ids: tokens that no translation has.
    """

    pooled = True

    def __init__(self, kinds: Sequence[str], special_ids: Sequence[int]) -> None:
        self._kinds, self._special = kinds, list(special_ids)

    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> list[Term]:
        inputs = dict(batch)
        labels, kinds = inputs.pop("labels"), inputs.pop("kinds")  # [n]
        if "translated_ids" in inputs:
            inputs["input_ids"] = self._translated(model, inputs)
        names = ("input_ids", "attention_mask", "masked_positions")
        logits = model(**{name: inputs[name] for name in names}).logits  # [n, V]
        terms = []
        for name in self._kinds:
            own = where_seen(labels, kinds == NAMES.index(name))
            terms.append(Term(name, cross_entropy(logits, own), logits, own))
        return terms

    def _translated(self, model: paddle.nn.Layer, inputs: Tensors) -> paddle.Tensor:
        """The ids [B, S] with the likeliest words in their empty places; nothing is learnt from finding them."""
        learns = model.training
        model.eval()
        with paddle.no_grad():
            logits = model(
                inputs["translated_ids"],
                attention_mask=inputs["translated_mask"],
                masked_positions=inputs["translated_places"],
            ).logits  # [m, V]
            logits[:, self._special] = UNLIKELY
            ids = inputs["input_ids"]
            words = logits.argmax(axis=-1).astype(ids.dtype)
            found = paddle.scatter(ids.flatten(), inputs["pseudo_places"], words).reshape(ids.shape)
        if learns:
            model.train()
        return found
