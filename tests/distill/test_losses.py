"""Losses against plain numpy, and what padding must not change."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.distill.losses import Scores, attention_loss, hidden_loss, logits_loss, mean, relation_loss
from zoo_cli.models import cpu

HIDDEN = -1e4


def softmax(x: np.ndarray) -> np.ndarray:
    x = np.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tensors go through compiled loops."""
    if request.param == "large":
        monkeypatch.setattr(cpu, "LARGE", 1)


def tensors(student: np.ndarray, teacher: np.ndarray) -> list[paddle.Tensor]:
    """As in a training, where the teacher does not learn."""
    return [
        paddle.to_tensor(student.astype(np.float32), stop_gradient=False),
        paddle.to_tensor(teacher.astype(np.float32)),
    ]


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def masked_scores(seed: int, lengths: list[int], heads: int, size: int) -> np.ndarray:
    scores = normal(seed, len(lengths), heads, size, size) * 3
    for row, length in enumerate(lengths):
        scores[row, :, :, length:] += HIDDEN
    return scores


def mask_of(lengths: list[int], size: int) -> np.ndarray:
    return (np.arange(size) < np.array(lengths)[:, None]).astype(np.int64)


def kl(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(teacher > 0, teacher * np.log(teacher / student), 0).sum(-1)


# -- TinyBERT ---------------------------------------------------------------------------------------------------------


def test_tinybert_hidden_loss_of_full_sequences_is_the_mean_square() -> None:
    student, teacher = normal(0, 3, 7, 12), normal(1, 3, 7, 12)
    loss = hidden_loss(*tensors(student, teacher), paddle.ones([3, 7]), "mse").item()
    assert loss == pytest.approx(((student - teacher) ** 2).mean(), rel=1e-5)


def test_tinybert_attention_loss_of_full_sequences_is_the_mean_square() -> None:
    student, teacher = normal(0, 3, 4, 7, 7), normal(1, 3, 4, 7, 7)
    loss = attention_loss(*tensors(student, teacher), paddle.ones([3, 7]), "mse").item()
    assert loss == pytest.approx(((student - teacher) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_tinybert_prediction_loss(temperature: float) -> None:
    student, teacher = normal(0, 5, 3), normal(1, 5, 3)
    expected = -(softmax(teacher / temperature) * np.log(softmax(student / temperature))).sum(-1).mean()
    sides = [Scores(x.unsqueeze(1), paddle.ones([5, 1]), "softmax") for x in tensors(student, teacher)]
    assert logits_loss(*sides, "cross_entropy", temperature).item() == pytest.approx(expected, rel=1e-5)


def test_hidden_and_attention_losses_leave_padding_out() -> None:
    lengths, size = [5, 2, 7], 7
    mask = paddle.to_tensor(mask_of(lengths, size))
    student, teacher = normal(0, 3, size, 6), normal(1, 3, size, 6)
    each = [((student - teacher)[row, :length] ** 2).mean() for row, length in enumerate(lengths)]
    assert hidden_loss(*tensors(student, teacher), mask, "mse").item() == pytest.approx(np.mean(each), rel=1e-5)
    student, teacher = (masked_scores(seed, lengths, 2, size) for seed in (2, 3))
    each = [((student - teacher)[row, :, :length, :length] ** 2).mean() for row, length in enumerate(lengths)]
    assert attention_loss(*tensors(student, teacher), mask, "mse").item() == pytest.approx(np.mean(each), rel=1e-4)


# -- the others -------------------------------------------------------------------------------------------------------


def test_cosine() -> None:
    student, teacher = normal(0, 2, 3, 8), normal(1, 2, 3, 8)
    cosine = (student * teacher).sum(-1) / np.linalg.norm(student, axis=-1) / np.linalg.norm(teacher, axis=-1)
    loss = hidden_loss(*tensors(student, teacher), paddle.ones([2, 3]), "cosine").item()
    assert loss == pytest.approx(1 - cosine.mean(), rel=1e-4)


@pytest.mark.usefixtures("size")
def test_attention_divergence() -> None:
    lengths, size = [4, 6], 6
    student, teacher = (masked_scores(seed, lengths, 3, size) for seed in (0, 1))
    each = [
        kl(softmax(teacher[row, :, :length, :length]), softmax(student[row, :, :length, :length])).mean()
        for row, length in enumerate(lengths)
    ]
    mask = paddle.to_tensor(mask_of(lengths, size))
    assert attention_loss(*tensors(student, teacher), mask, "kl").item() == pytest.approx(np.mean(each), rel=1e-4)


@pytest.mark.parametrize("loss", ["mse", "kl"])
def test_mean_of_heads_compares_models_with_other_numbers_of_heads(loss: str) -> None:
    student, teacher = normal(0, 2, 4, 5, 5), normal(1, 2, 2, 5, 5)
    result = attention_loss(*tensors(student, teacher), paddle.ones([2, 5]), loss, "mean").item()
    if loss == "mse":
        expected = ((student.mean(1) - teacher.mean(1)) ** 2).mean()
    else:
        expected = kl(softmax(teacher).mean(1), softmax(student).mean(1)).mean()
    assert result == pytest.approx(expected, rel=1e-4)


def test_keys_that_a_causal_model_hides_do_not_count() -> None:
    student, teacher = normal(0, 1, 2, 4, 4), normal(1, 1, 2, 4, 4)
    lower = np.tril(np.ones((4, 4), bool))
    expected = ((student - teacher) ** 2)[:, :, lower].mean()
    hidden = np.where(lower, 0, HIDDEN)
    loss = attention_loss(*tensors(student + hidden, teacher + hidden), paddle.ones([1, 4]), "mse").item()
    assert loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.usefixtures("size")
def test_relations_of_models_of_other_width() -> None:
    lengths, size, heads = [5, 3], 5, 2
    student, teacher = normal(0, 2, size, 8), normal(1, 2, size, 12)

    def relations(vectors: np.ndarray) -> np.ndarray:
        cut = vectors.reshape(len(vectors), heads, -1).transpose(1, 0, 2)  # [heads, S, d]
        return softmax(cut @ cut.transpose(0, 2, 1) / np.sqrt(cut.shape[-1]))

    each = [kl(relations(teacher[row, :n]), relations(student[row, :n])).mean() for row, n in enumerate(lengths)]
    mask = paddle.to_tensor(mask_of(lengths, size))
    assert relation_loss(*tensors(student, teacher), mask, heads).item() == pytest.approx(np.mean(each), rel=1e-4)


def test_divergence_of_logits_has_the_gradient_of_the_cross_entropy_times_the_square() -> None:
    student, teacher = tensors(normal(0, 4, 1, 3), normal(1, 4, 1, 3))
    gradients = []
    for loss in ("kl", "cross_entropy"):
        own = student.clone()
        own.stop_gradient = False
        own.retain_grads()
        counts = paddle.ones([4, 1])
        logits_loss(Scores(own, counts, "softmax"), Scores(teacher, counts, "softmax"), loss, 3.0).backward()
        gradients.append(own.grad.numpy())
    np.testing.assert_allclose(gradients[0], gradients[1] * 9, rtol=1e-4, atol=1e-7)


def test_several_labels() -> None:
    student, teacher = normal(0, 3, 1, 4), normal(1, 3, 1, 4)
    own, gold = (1 / (1 + np.exp(-x / 2)) for x in (student, teacher))
    entropy = -(gold * np.log(own) + (1 - gold) * np.log(1 - own)).mean()
    least = -(gold * np.log(gold) + (1 - gold) * np.log(1 - gold)).mean()
    sides = [Scores(x, paddle.ones([3, 1]), "sigmoid") for x in tensors(student, teacher)]
    assert logits_loss(*sides, "cross_entropy", 2.0).item() == pytest.approx(entropy, rel=1e-5)
    assert logits_loss(*sides, "kl", 2.0).item() == pytest.approx((entropy - least) * 4, rel=1e-4)


@pytest.mark.parametrize("loss", ["mse", "kl", "cross_entropy"])
def test_numbers_are_compared_by_squares(loss: str) -> None:
    student, teacher = normal(0, 3, 1, 1), normal(1, 3, 1, 1)
    sides = [Scores(x, paddle.ones([3, 1]), "number") for x in tensors(student, teacher)]
    assert logits_loss(*sides, loss, 2.0).item() == pytest.approx(((student - teacher) ** 2).mean(), rel=1e-5)


@pytest.mark.parametrize("loss", ["mse", "kl", "cross_entropy"])
@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_classes_that_a_sequence_does_not_have_change_nothing(loss: str, kind: str) -> None:
    student, teacher = normal(0, 2, 1, 5), normal(1, 2, 1, 5)
    counts = paddle.ones([2, 1])
    choices = paddle.to_tensor([[1, 1, 1, 0, 0], [1, 1, 1, 0, 0]])

    def cost(width: int, with_choices: bool) -> float:
        sides = [
            Scores(x[:, :, :width], counts, kind, choices if with_choices else None)  # type: ignore[arg-type]
            for x in tensors(student, teacher)
        ]
        return logits_loss(*sides, loss, 2.0).item()

    assert cost(5, True) == pytest.approx(cost(3, False), rel=1e-4)


def test_nothing_that_counts_costs_nothing() -> None:
    assert mean(paddle.ones([2, 3]), paddle.zeros([2, 3])).item() == 0.0


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    extra=st.integers(1, 5),
    which=st.sampled_from(["hidden-mse", "hidden-cosine", "attention-mse", "attention-kl", "mean-kl", "relation"]),
)
def test_more_padding_and_other_sequences_change_nothing(lengths: list[int], extra: int, which: str) -> None:
    size = max(lengths)

    def cost(rows: list[int], size: int) -> float:
        picked = [lengths[row] for row in rows]
        mask = paddle.to_tensor(mask_of(picked, size))
        kind, _, loss = which.partition("-")

        def side(seed: int) -> np.ndarray:
            vectors = kind in ("hidden", "relation")
            shape = (size, 8) if vectors else (2, size, size)
            batch = normal(99, len(rows), *shape)
            for place, row in enumerate(rows):
                n = lengths[row]
                if vectors:
                    batch[place, :n] = normal(seed + row, n, 8)
                else:
                    batch[place, :, :n, :n] = normal(seed + row, 2, n, n)
                    batch[place, :, :, n:] += HIDDEN
            return batch

        student, teacher = tensors(side(0), side(50))
        if kind == "hidden":
            return hidden_loss(student, teacher, mask, loss).item()
        if kind == "relation":
            return relation_loss(student, teacher, mask, 4).item()
        return attention_loss(student, teacher, mask, loss, "mean" if kind == "mean" else "each").item()

    together = cost(list(range(len(lengths))), size)
    assert together == pytest.approx(cost(list(range(len(lengths))), size + extra), rel=1e-4, abs=1e-6)
    alone = np.mean([cost([row], lengths[row]) for row in range(len(lengths))])
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-6)
