"""What the pretraining objectives have in common: a sum of losses, each with labels that scores can be counted on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
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
        chance: how often a guess without looking is right, where that is not the share of the most frequent label.
    """

    name: str
    loss: paddle.Tensor
    logits: paddle.Tensor
    labels: paddle.Tensor
    weight: float = 1.0
    chance: float | None = None

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


def places_of(labels: paddle.Tensor) -> paddle.Tensor:
    """Where labels count, as places in the flattened array, int64 [n]."""
    return paddle.nonzero(labels.flatten() != IGNORED).flatten()


class Pretraining(ABC):
    """A pretraining objective; implements `zoo_cli.engine.objectives.base.Objective`.

    Class attributes:
        pooled: all labels of all terms count alike: what is minimised is the mean over them instead of the sum of the
            terms' means.
        models_language: the terms are (the first one of a sum is) losses of a language model, which has a perplexity.
    """

    pooled: ClassVar[bool] = False
    models_language: ClassVar[bool] = True

    @abstractmethod
    def terms(self, model: paddle.nn.Layer, batch: Tensors) -> Sequence[Term]:
        """The losses of a batch of `zoo_cli.data.corpus`."""

    def counts(self, batch: Arrays) -> Sequence[int]:
        """Labels of each term, see `zoo_cli.engine.objectives.base.Counting`; none here: all terms have as many."""
        return ()

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int, shares: Sequence[float] | None = None) -> Losses:
        """The weighted sum of all terms, or their mean over all labels, and each of them."""
        terms = self.terms(model, to_tensors(batch))
        if self.pooled:
            counts = [term.count for term in terms]
            weight = sum(counts)
            weights = [count / max(1, weight) for count in counts]
        else:
            weight, weights = terms[0].count, [term.weight for term in terms]
        losses = {term.name: term.loss for term in terms}
        if shares is not None:
            weight = 1
            losses = {name: loss * share for (name, loss), share in zip(losses.items(), shares, strict=True)}
        first, *others = (loss * factor for loss, factor in zip(losses.values(), weights, strict=True))
        parts = {f"{name}_loss": loss for name, loss in losses.items()} if len(terms) > 1 else {}
        return Losses(sum(others, start=first), weight, parts)


def label_count(labels: np.ndarray) -> int:
    """Number of labels that count."""
    return int((labels != IGNORED).sum())
