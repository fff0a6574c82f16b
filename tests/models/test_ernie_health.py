"""ERNIE-Health: its discriminator, its candidates, its losses, and that ELECTRA's classes serve it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from tests.models.support import call, tiny
from tests.models.test_electra import ARRAYS, masked_batch
from zoo_cli import models
from zoo_cli.base.errors import UsageError
from zoo_cli.registry import family, family_of


def test_electras_classes_belong_to_electra() -> None:
    electra, health = family("electra"), family("ernie_health")
    assert set(electra.architectures) < set(health.architectures)
    assert {name for name in health.architectures if family_of(name) is health} == {
        "ErnieHealthDiscriminator",
        "ErnieHealthForTotalPretraining",
        "ErnieHealthPretrainingCriterion",
    }
    assert health.tasks["spo"] == electra.tasks["spo"] == "ElectraForSPO"


def test_discriminator_needs_embeddings_as_wide_as_hidden_states() -> None:
    with pytest.raises(UsageError, match="not 24 and 32"):
        tiny("ErnieHealthDiscriminator", embedding_size=24)


@pytest.mark.parametrize("sampled", [False, True])
def test_candidates_are_the_original_and_five_others(sampled: bool) -> None:
    model = tiny("ErnieHealthForTotalPretraining")
    tensors = {name: paddle.to_tensor(value) for name, value in masked_batch().items()}
    logits = paddle.randn([3, 7, 120])
    found = model.get_discriminator_inputs_ernie_health(
        tensors["input_ids"], tensors["raw_input_ids"], logits, tensors["generator_labels"], sampled
    )
    candidates = found.candidate_ids.numpy()
    assert candidates.shape == (3, 7, 6)
    np.testing.assert_array_equal(candidates[..., 0], tensors["raw_input_ids"].numpy())
    assert all(len(set(row)) == 6 for row in candidates.reshape(-1, 6).tolist())
    others = logits.numpy().copy()
    np.put_along_axis(others, candidates[..., :1], -np.inf, axis=-1)
    best = np.argsort(-others, axis=-1)[..., :5]
    assert np.array_equal(candidates[..., 1:], best) != sampled


def test_candidates_are_drawn_without_replacement() -> None:
    model = tiny("ErnieHealthForTotalPretraining")
    paddle.seed(0)
    count = 20000
    odds = np.array([0.3, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2])
    ids = paddle.zeros([1, count], dtype="int64")
    logits = paddle.log(paddle.to_tensor(odds.astype(np.float32))).expand([1, count, 7])
    found = model.get_discriminator_inputs_ernie_health(ids, ids, logits, ids, True).candidate_ids.numpy()[0]
    first = np.bincount(found[:, 1], minlength=7) / count
    assert first == pytest.approx([0, *odds[1:] / odds[1:].sum()], abs=0.015)
    second = np.bincount(found[found[:, 1] == 5, 2], minlength=7)
    rest = odds * (np.arange(7) % 5 != 0)
    assert second / second.sum() == pytest.approx(rest / rest.sum(), abs=0.03)


def test_pair_has_two_tables_of_word_embeddings() -> None:
    model = tiny("ErnieHealthForTotalPretraining")
    own, other = (part.electra.embeddings.word_embeddings.weight for part in (model.generator, model.discriminator))
    assert own is not other and not np.array_equal(own.numpy(), other.numpy())
    output = call(model, masked_batch(repeat=2))
    parts = output.gen_loss + 50 * output.disc_rtd_loss + 20 * output.disc_mts_loss + output.disc_csp_loss
    assert float(output.loss) == pytest.approx(float(parts), rel=1e-5)


def test_only_the_head_for_candidates_knows_them() -> None:
    model = tiny("ErnieHealthDiscriminator", num_labels=4)
    random = np.random.default_rng(0)
    one, other = (random.integers(5, 100, (3, 7, 6)) for _ in range(2))
    first = call(model, {**ARRAYS, "candidate_ids": one})
    second = call(model, {**ARRAYS, "candidate_ids": other})
    assert (first.rtd_logits.shape, first.mts_logits.shape, first.csp_logits.shape) == ([3, 7], [3, 7, 6], [3, 4])
    np.testing.assert_array_equal(first.rtd_logits.numpy(), second.rtd_logits.numpy())
    np.testing.assert_array_equal(first.csp_logits.numpy(), second.csp_logits.numpy())
    swapped = call(model, {**ARRAYS, "candidate_ids": one[..., ::-1].copy()}).mts_logits.numpy()
    np.testing.assert_allclose(swapped[..., ::-1], first.mts_logits.numpy(), atol=1e-5)
    assert not np.allclose(first.mts_logits.numpy(), second.mts_logits.numpy())


def test_contrastive_loss_pairs_the_halves() -> None:
    criterion = models.build("ErnieHealthPretrainingCriterion", {"vocab_size": 9})
    random = np.random.default_rng(0)
    vectors = random.normal(size=(6, 4)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similar = unit @ unit.T / 0.07
    np.fill_diagonal(similar, -np.inf)
    expected = np.mean([np.log(np.exp(similar[i]).sum()) - similar[i, (i + 3) % 6] for i in range(6)])
    nothing = paddle.zeros([6, 5], dtype="int64")
    output = criterion(
        generator_logits=paddle.randn([6, 5, 9]),
        generator_labels=nothing - 100,
        logits_rtd=paddle.zeros([6, 5]),
        logits_mts=paddle.randn([6, 5, 6]),
        logits_csp=paddle.to_tensor(vectors),
        discriminator_labels=nothing,
        attention_mask=None,
    )
    assert float(output.disc_csp_loss) == pytest.approx(expected, rel=1e-5)
    assert float(output.gen_loss) == float(output.disc_mts_loss) == 0
    assert float(output.disc_rtd_loss) == pytest.approx(np.log(2), rel=1e-6)
