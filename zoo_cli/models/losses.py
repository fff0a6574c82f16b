"""Losses with their averaging spelt out.

PaddlePaddle 2.6 divides a cross entropy by the number of labels that count; 3.3 does so only where the ignored label is
not negative, and else divides by all positions. Here the divisor is always the number of labels that count, as in 2.6
and in PyTorch.
"""

from __future__ import annotations

import paddle
import paddle.nn.functional as F

from zoo_cli.models import cpu
from zoo_cli.models.outputs import Tensor

IGNORED = -100
"""Label that does not count."""


def token_losses(logits: Tensor, labels: Tensor, ignore_index: int = IGNORED) -> tuple[Tensor, Tensor]:
    """Cross entropy of every label.

    Args:
        logits: [..., C].
        labels: integers [...] (or [..., 1]).
        ignore_index: label whose loss is 0.

    Returns:
        The losses [n] and which of them count, as floats [n]; n is the number of labels.
    """
    labels = labels.reshape([-1])
    counts = labels != ignore_index
    logits = logits.reshape([-1, logits.shape[-1]])
    classes = paddle.where(counts, labels, paddle.zeros_like(labels))
    if cpu.fits_training(logits) and cpu.are_classes(classes, logits.shape[-1]):
        losses = cpu.cross_entropy(logits, classes)
    else:
        losses = F.cross_entropy(logits, classes, reduction="none")
    counts = counts.astype(losses.dtype)
    return losses.reshape([-1]) * counts, counts


def cross_entropy(logits: Tensor, labels: Tensor, ignore_index: int = IGNORED) -> Tensor:
    """Mean cross entropy over the labels that count; 0 where none does. Shapes as in `token_losses`."""
    losses, counts = token_losses(logits, labels, ignore_index)
    return losses.sum() / counts.sum().clip(min=1.0)


def classification_loss(logits: Tensor, labels: Tensor, problem_type: str | None = None) -> Tensor:
    """Loss of a sequence classification head.

    Args:
        logits: [B, C].
        labels: class numbers [B]; 0 and 1 as floats [B, C] for several labels; floats [B] or [B, C] for regression.
        problem_type: see `ModelConfig`; None means regression where C is 1, else by the type of the labels.
    """
    if problem_type is None:
        if logits.shape[-1] == 1:
            problem_type = "regression"
        elif labels.dtype in (paddle.int64, paddle.int32):
            problem_type = "single_label_classification"
        else:
            problem_type = "multi_label_classification"
    if problem_type == "single_label_classification":
        return cross_entropy(logits, labels)
    labels = labels.reshape(logits.shape).astype(logits.dtype)
    if problem_type == "regression":
        return F.mse_loss(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels)


def span_loss(start_logits: Tensor, end_logits: Tensor, start_positions: Tensor, end_positions: Tensor) -> Tensor:
    """Mean of the cross entropies of the first and the last token of one answer.

    Args:
        start_logits, end_logits: [B, S].
        start_positions, end_positions: token numbers [B]; those outside of the text do not count.
    """
    length = start_logits.shape[1]
    start, end = (
        cross_entropy(logits, positions.clip(0, length), ignore_index=length)
        for logits, positions in ((start_logits, start_positions), (end_logits, end_positions))
    )
    return (start + end) / 2


def multi_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy generalised to any number of right classes: each must score above 0, each other one below.

    The mean over texts of ``log(1 + sum of exp(s) of the wrong ones) + log(1 + sum of exp(-s) of the right ones)`` (Su,
    2020, https://kexue.fm/archives/7359; Sun et al., 2020, https://arxiv.org/abs/2002.10857). UTC is trained with it.

    Args:
        logits: [B, n].
        labels: 1, 0, or `IGNORED`, [B, n].
    """
    nothing = paddle.full_like(logits, -1e12)
    zero = paddle.zeros_like(logits[:, :1])
    sides = (
        paddle.where(labels == 0, logits, nothing),
        paddle.where(labels == 1, -logits, nothing),
    )
    return sum(paddle.logsumexp(paddle.concat([side, zero], axis=1), axis=1) for side in sides).mean()


def pair_loss(logits: Tensor, places: Tensor) -> Tensor:
    """`multi_label_loss` of all pairs of tokens, summed over the kinds of pairs and averaged over texts.

    It is the loss of GlobalPointer (Su et al., 2022, https://arxiv.org/abs/2208.03054) in its sparse version, which is
    given the right pairs only. The sum over the wrong ones is taken over themselves, not as the difference of all and
    the right ones: in single precision that is lost as soon as the right ones score high (PaddleNLP clips it there, and
    stops learning from what is wrong).

    Args:
        logits: [B, C, S, S].
        places: kind, first and second token of each right pair, integers [B, T, 3]; negative ones fill up.
    """
    batch, kinds, length, _ = logits.shape
    size = batch * kinds * length * length
    rows = paddle.arange(batch, dtype=places.dtype).unsqueeze(1)  # [B, 1]
    flat = ((rows * kinds + places[..., 0]) * length + places[..., 1]) * length + places[..., 2]  # [B, T]
    flat = paddle.where(places[..., 0] < 0, paddle.full_like(flat, size), flat).flatten()
    marks = paddle.scatter(paddle.zeros([size + 1]), flat, paddle.ones([flat.shape[0]]))[:size]
    shape = [batch * kinds, length * length]
    return multi_label_loss(logits.astype("float32").reshape(shape), marks.reshape(shape)) * kinds
