"""What it costs a student to differ from its teacher.

R is the number of sequences, S their length, H a width, A the heads, K the classes. Padding never counts: each loss is
a mean over what is real in a sequence, then over the sequences, so that neither padding nor the other sequences of a
batch change what one of them costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from zoo_cli.models import cpu
from zoo_cli.models.cache import HIDDEN

_VISIBLE = HIDDEN / 2
"""Attention scores below this are of keys that the model hides from the query."""


@dataclass(frozen=True)
class Scores:
    """One set of logits.

    Args:
        values: [R, N, K] for N decisions in each sequence: 1 for a class of the whole, S for a class of each token.
        counts: [R, N], 1 for decisions that count.
        kind: ``softmax`` for one of K classes, ``sigmoid`` for any number of them, ``number`` for K numbers.
        choices: [R, K], 1 for classes that there are in the sequence; all unless given.
    """

    values: Tensor
    counts: Tensor
    kind: Literal["softmax", "sigmoid", "number"]
    choices: Tensor | None = None


def mean(values: Tensor, counts: Tensor) -> Tensor:
    """Mean over what counts in each sequence, then over the sequences in which anything does.

    Args:
        values: [R, ...].
        counts: 1 for values that count, else 0, of the same shape.

    Returns:
        A scalar; 0 where nothing counts.
    """
    values, counts = values.flatten(1), counts.flatten(1).astype(values.dtype)
    number = counts.sum(axis=1)  # [R]
    each = (values * counts).sum(axis=1) / number.clip(min=1.0)
    return each.sum() / (number > 0).astype(values.dtype).sum().clip(min=1.0)


def hidden_loss(student: Tensor, teacher: Tensor, mask: Tensor, loss: str) -> Tensor:
    """Difference of hidden states.

    Args:
        student, teacher: [R, S, H].
        mask: [R, S], 1 for real tokens.
        loss: ``mse``, or ``cosine`` for 1 - cosine similarity.
    """
    if loss == "cosine":
        return mean(1.0 - F.cosine_similarity(student, teacher, axis=-1), mask)
    return mean((student - teacher).square().mean(axis=-1), mask)


def attention_loss(student: Tensor, teacher: Tensor, mask: Tensor, loss: str, heads: str = "each") -> Tensor:
    """Difference of attention.

    Args:
        student, teacher: scores before the softmax, masked, [R, A, S, S].
        mask: [R, S], 1 for real tokens.
        loss: ``mse`` of the scores of real keys that both models see; ``kl`` from the teacher's distribution over keys.
        heads: ``each`` compares head with head, ``mean`` the mean of all heads (which may then differ in number).
    """
    if loss == "kl":
        hidden = _hide(mask, student.dtype)
        compare = _divergence if heads == "each" else _mean_divergence
        return mean(compare(student + hidden, teacher + hidden).mean(axis=1), mask)
    seen = (student > _VISIBLE).all(axis=1) & (teacher > _VISIBLE).all(axis=1)  # [R, S, S]
    real = (mask.unsqueeze(1) * mask.unsqueeze(2)).astype("bool")
    if heads == "mean":
        student, teacher = student.mean(axis=1, keepdim=True), teacher.mean(axis=1, keepdim=True)
    return mean((student - teacher).square().mean(axis=1), seen & real)


def _hide(mask: Tensor, dtype: paddle.dtype) -> Tensor:
    """What hides padding from a softmax over keys, [R, 1, 1, S]."""
    return (1.0 - mask.astype(dtype)).unsqueeze([1, 2]) * HIDDEN


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL divergence from the teacher's softmax to the student's over the last axis, which vanishes."""
    if teacher.stop_gradient and cpu.fits_training(student, teacher):
        return cpu.divergence(student, teacher)
    return (F.softmax(teacher) * (F.log_softmax(teacher) - F.log_softmax(student))).sum(axis=-1)


def _mean_divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """The same of distributions that are means over heads: [R, A, S, S] -> [R, 1, S]."""
    below, above = (F.softmax(scores).mean(axis=1, keepdim=True) for scores in (student, teacher))
    tiny = 1e-12
    return (above * ((above + tiny).log() - (below + tiny).log())).sum(axis=-1)


def relation_loss(student: Tensor, teacher: Tensor, mask: Tensor, heads: int) -> Tensor:
    """KL divergence of the relations between tokens: softmax of the scaled products of their vectors.

    Args:
        student, teacher: queries, keys or values, [R, S, width]; the widths may differ.
        mask: [R, S], 1 for real tokens.
        heads: number that the vectors are cut into.
    """
    hidden = _hide(mask, student.dtype)
    divergence = _divergence(_relations(student, heads) + hidden, _relations(teacher, heads) + hidden)
    return mean(divergence.mean(axis=1), mask)


def _relations(vectors: Tensor, heads: int) -> Tensor:
    """[R, S, width] -> [R, heads, S, S]."""
    width = vectors.shape[-1] // heads
    cut = vectors.reshape([0, 0, heads, width]).transpose([0, 2, 1, 3])  # [R, heads, S, width]
    return paddle.matmul(cut, cut, transpose_y=True) * width**-0.5


def logits_loss(student: Scores, teacher: Scores, loss: str, temperature: float = 1.0) -> Tensor:
    """Difference of predictions; for numbers always the squared difference.

    Args:
        student, teacher: the same decisions.
        loss: ``cross_entropy`` with the teacher's probabilities; ``kl``, which has the same gradient times the square
            of the temperature, so that its size does not depend on it (Hinton et al., 2015); ``mse`` of the logits.
        temperature: both logits are divided by it, except for ``mse``.
    """
    below, above, counts = student.values, teacher.values, student.counts
    choices = None if student.choices is None else student.choices.astype(below.dtype).unsqueeze(1)  # [R, 1, K]
    if loss == "mse" or student.kind == "number":
        return mean(_over_choices((below - above).square(), choices), counts)
    below, above = below / temperature, above / temperature
    factor = temperature**2 if loss == "kl" else 1.0
    if student.kind == "sigmoid":
        probable = F.sigmoid(above)
        losses = F.binary_cross_entropy_with_logits(below, probable, reduction="none")
        if loss == "kl":
            losses = losses - F.binary_cross_entropy_with_logits(above, probable, reduction="none")
        return mean(_over_choices(losses, choices), counts) * factor
    if choices is not None:
        below, above = below + (1.0 - choices) * HIDDEN, above + (1.0 - choices) * HIDDEN
    if loss == "kl":
        return mean(_divergence(below, above), counts) * factor
    return mean(-(F.softmax(above) * F.log_softmax(below)).sum(axis=-1), counts)


def _over_choices(losses: Tensor, choices: Tensor | None) -> Tensor:
    """Mean over the classes that there are: [R, N, K] -> [R, N]."""
    if choices is None:
        return losses.mean(axis=-1)
    return (losses * choices).sum(axis=-1) / choices.sum(axis=-1).clip(min=1.0)
