"""What the pretraining objectives have in common: a sum of losses, each with labels that scores can be counted on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.base import Losses, to_tensors
from zoo_cli.engine.objectives.supervised import IGNORED

Tensors = Mapping[str, paddle.Tensor]


@dataclass(frozen=True)
class Term:
    """One loss of an objective.

    Args:
        name: what is learnt, e.g. ``mlm``; the prefix of its scores.
        loss: its mean over the labels that count, a scalar.
        logits: scores of C classes [..., C]; or one score [...], above 0 where the label is held to be 1.
        labels: class numbers [...], or 0 and 1; -100 where nothing counts.
        weight: factor of the loss in the sum.
    """

    name: str
    loss: paddle.Tensor
    logits: paddle.Tensor
    labels: paddle.Tensor
    weight: float = 1.0

    @property
    def is_binary(self) -> bool:
        """Whether there is one score for each label."""
        return self.logits.ndim == self.labels.ndim

    @property
    def count(self) -> int:
        """Number of labels that count."""
        return int((self.labels != IGNORED).sum().item())

    def guesses(self) -> paddle.Tensor:
        """The labels that the model holds to be right, int64 [...]."""
        return (self.logits > 0).astype("int64") if self.is_binary else self.logits.argmax(axis=-1)


def where_seen(labels: paddle.Tensor, counts: paddle.Tensor) -> paddle.Tensor:
    """Labels that are -100 where `counts` is false; both of one shape."""
    return paddle.where(counts, labels, paddle.full_like(labels, IGNORED))


class Pretraining(ABC):
    """A pretraining objective; implements `zoo_cli.engine.objectives.base.Objective`."""

    @abstractmethod
    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> Sequence[Term]:
        """The losses of a batch of `zoo_cli.data.corpus.inputs`; the first one is that of a language model."""

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        """The weighted sum of all terms, and each of them."""
        terms = self.terms(model, to_tensors(batch))
        total = sum((term.loss * term.weight for term in terms[1:]), start=terms[0].loss * terms[0].weight)
        parts = {f"{term.name}_loss": term.loss for term in terms} if len(terms) > 1 else {}
        return Losses(total, terms[0].count, parts)
