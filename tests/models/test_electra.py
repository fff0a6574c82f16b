"""ELECTRA: its masks, its pretraining pair, and the heads for CBLUE."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import batch, call, tiny
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.models.electra.pretraining import gumbel_noise
from zoo_cli.models.loading import Layout
from zoo_cli.registry import family

SPEC = family("electra")
ARRAYS = batch(SPEC, [7, 4, 5])
MASK_ID = 3


def masked_batch(repeat: int = 1) -> dict[str, np.ndarray]:
    """A batch for pretraining in which every other token is masked."""
    arrays = {name: np.tile(value, (repeat, 1)) for name, value in ARRAYS.items()}
    raw = arrays["input_ids"]
    masked = (np.arange(raw.shape[1]) % 2 == 1) & (raw != 0)
    return {
        **arrays,
        "input_ids": np.where(masked, MASK_ID, raw),
        "raw_input_ids": raw,
        "generator_labels": np.where(masked, raw, -100),
    }


def sigmoid_loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.log1p(np.exp(-np.where(labels == 1, logits, -logits)))


def test_a_mask_of_floats_is_added_in_two_dimensions_too() -> None:
    model = tiny("ElectraModel")
    mask = np.where(ARRAYS["attention_mask"] == 1, 0, -1e9).astype(np.float32)
    by_integers = call(model, ARRAYS).last_hidden_state.numpy()
    by_booleans = call(model, {**ARRAYS, "attention_mask": ARRAYS["attention_mask"] == 1}).last_hidden_state.numpy()
    by_floats = call(model, {**ARRAYS, "attention_mask": mask}).last_hidden_state.numpy()
    np.testing.assert_array_equal(by_booleans, by_integers)
    np.testing.assert_allclose(by_floats, by_integers, atol=1e-5)
    ones = call(model, {**ARRAYS, "attention_mask": ARRAYS["attention_mask"].astype(np.float32)}).last_hidden_state
    assert not np.allclose(ones.numpy(), by_integers, atol=1e-3)


def test_a_batch_of_one_keeps_its_axis() -> None:
    one = {name: value[:1] for name, value in ARRAYS.items()}
    assert call(tiny("ElectraDiscriminator"), one).logits.shape == [1, 7]


# -- pretraining ----------------------------------------------------------------------------------------------------


def test_pair_shares_word_embeddings_and_learns_as_one() -> None:
    model = tiny("ElectraForTotalPretraining")
    own, other = (part.electra.embeddings.word_embeddings.weight for part in (model.generator, model.discriminator))
    assert own is other
    arrays = {name: paddle.to_tensor(value) for name, value in masked_batch().items()}
    model(**arrays).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
    assert len(model.parameters()) == len(model.state_dict()) - 1


@pytest.mark.parametrize("sampled", [False, True])
def test_discriminator_reads_what_the_generator_wrote(sampled: bool) -> None:
    model = tiny("ElectraForTotalPretraining")
    model.use_softmax_sample = sampled
    arrays = masked_batch()
    paddle.seed(3)
    output = call(model, arrays)
    tensors = {name: paddle.to_tensor(value) for name, value in arrays.items()}
    paddle.seed(3)
    ids, labels, drawn = model.get_discriminator_inputs(
        tensors["input_ids"], tensors["raw_input_ids"], output.generator_logits, tensors["generator_labels"], sampled
    )
    masked = arrays["generator_labels"] != -100
    np.testing.assert_array_equal(ids.numpy(), np.where(masked, drawn.numpy(), arrays["raw_input_ids"]))
    np.testing.assert_array_equal(labels.numpy(), ids.numpy() != arrays["raw_input_ids"])
    np.testing.assert_array_equal(output.discriminator_labels.numpy(), labels.numpy())
    likeliest = output.generator_logits.numpy().argmax(-1)
    assert np.array_equal(drawn.numpy(), likeliest) != sampled
    inputs = {name: tensors[name] for name in ("token_type_ids", "attention_mask")}
    with paddle.no_grad():
        expected = model.discriminator(ids, **inputs).logits.numpy()
    np.testing.assert_allclose(output.discriminator_logits.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["ElectraForTotalPretraining", "ErnieHealthForTotalPretraining"])
def test_masked_places_alone_are_enough(name: str) -> None:
    model = tiny(name)
    model.use_softmax_sample = False
    arrays = masked_batch(repeat=2)
    places = np.flatnonzero(arrays["generator_labels"] != -100)
    whole, part = call(model, arrays), call(model, {**arrays, "masked_positions": places})
    assert part.generator_logits.shape == [len(places), whole.generator_logits.shape[-1]]
    assert float(part.loss) == pytest.approx(float(whole.loss), rel=1e-5)
    np.testing.assert_array_equal(part.discriminator_labels.numpy(), whole.discriminator_labels.numpy())
    nothing = {**arrays, "generator_labels": np.full_like(arrays["generator_labels"], -100)}
    assert np.isfinite(float(call(model, {**nothing, "masked_positions": np.zeros(0, np.int64)}).loss))


def test_sampling_follows_the_softmax() -> None:
    paddle.seed(0)
    logits = paddle.log(paddle.to_tensor([0.1, 0.2, 0.7])).expand([20000, 3])
    drawn = (logits + gumbel_noise(logits)).argmax(-1).numpy()
    assert np.bincount(drawn) / len(drawn) == pytest.approx([0.1, 0.2, 0.7], abs=0.015)


def test_loss_of_the_pair_is_the_weighted_sum() -> None:
    model = tiny("ElectraForTotalPretraining", gen_weight=0.5, disc_weight=3.0)
    arrays = masked_batch()
    output = call(model, arrays)
    rows, columns = np.nonzero(arrays["generator_labels"] != -100)
    scores = output.generator_logits.numpy()[rows, columns].astype(np.float64)
    chosen = scores[range(len(rows)), arrays["raw_input_ids"][rows, columns]]
    generator = (np.log(np.exp(scores).sum(-1)) - chosen).mean()
    losses = sigmoid_loss(output.discriminator_logits.numpy(), output.discriminator_labels.numpy())
    discriminator = losses[arrays["attention_mask"] == 1].mean()
    assert float(output.loss) == pytest.approx(0.5 * generator + 3 * discriminator, rel=1e-4)


def test_generator_of_another_size() -> None:
    small = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 20, "num_hidden_layers": 1}
    model = tiny("ElectraForTotalPretraining", generator_config=small)
    assert model.generator.config.hidden_size == 16 and model.discriminator.config.hidden_size == 32
    assert len(model.generator.electra.encoder.layers) == 1
    assert bool(paddle.isfinite(call(model, masked_batch()).loss))
    with pytest.raises(UsageError, match="share word embeddings"):
        tiny("ElectraForTotalPretraining", generator_config={"embedding_size": 8})
    with pytest.raises(UsageError, match="hidden_size"):
        tiny("ElectraForTotalPretraining", generator_config={"hidden_size": 30})


@pytest.mark.parametrize("layout", ["zoo", "paddlenlp"])
def test_each_of_a_pair_is_loaded_alone(layout: Layout, tmp_path: Path) -> None:
    pair = tiny("ElectraForTotalPretraining")
    models.save(pair, tmp_path, layout)
    for architecture, part in (("ElectraDiscriminator", pair.discriminator), ("ElectraGenerator", pair.generator)):
        alone = models.load(tmp_path, architecture, strict=True)
        np.testing.assert_array_equal(call(alone, ARRAYS).logits.numpy(), call(part, ARRAYS).logits.numpy())
    tuned = models.load(tmp_path, "ElectraForSequenceClassification", overrides={"num_labels": 3})
    assert tuned.load_report is not None
    assert all(name.startswith("classifier.") for name in tuned.load_report.missing)
    expected = call(pair.discriminator.backbone, ARRAYS).last_hidden_state.numpy()
    for model in (tuned.backbone, models.load(tmp_path, "ElectraModel")):
        np.testing.assert_array_equal(call(model, ARRAYS).last_hidden_state.numpy(), expected)


def test_a_generator_is_no_pair(tmp_path: Path) -> None:
    models.save(tiny("ElectraGenerator"), tmp_path)
    with pytest.raises(ArtifactError, match="do not fit ElectraForTotalPretraining"):
        models.load(tmp_path, "ElectraForTotalPretraining")


# -- heads ----------------------------------------------------------------------------------------------------------


def spo_labels(length: int) -> dict[str, Any]:
    random = np.random.default_rng(1)
    shapes = {"entity_labels": (3, length, 2), "relation_labels": (3, 4, length, length)}
    return {name: random.integers(0, 2, shape).astype(np.float32) for name, shape in shapes.items()}


def test_loss_of_subjects_and_objects_leaves_out_padding() -> None:
    model = tiny("ElectraForSPO", num_labels=4)
    labels = spo_labels(7)
    output = call(model, ARRAYS, **{name: paddle.to_tensor(value) for name, value in labels.items()})
    seen = ARRAYS["attention_mask"].astype(np.float64)
    entity = sigmoid_loss(output.entity_logits.numpy().astype(np.float64), labels["entity_labels"]) * seen[:, :, None]
    pairs = (seen[:, :, None] * seen[:, None, :])[:, None]
    relation = sigmoid_loss(output.relation_logits.numpy().astype(np.float64), labels["relation_labels"]) * pairs
    assert float(output.loss) == pytest.approx((entity.sum() + relation.sum()) / 3, rel=1e-4)
    without_mask = {name: value for name, value in ARRAYS.items() if name != "attention_mask"}
    other = call(model, without_mask, **{name: paddle.to_tensor(value) for name, value in labels.items()})
    assert float(other.loss) == pytest.approx(float(output.loss), rel=1e-5)


def test_relations_do_not_depend_on_padding() -> None:
    model = tiny("ElectraForSPO", num_labels=4)
    narrow = call(model, ARRAYS)
    wide = call(model, batch(SPEC, [7, 4, 5], width=12))
    for row, length in enumerate([7, 4, 5]):
        for name, place in (
            ("entity_logits", np.s_[row, :length]),
            ("relation_logits", np.s_[row, :, :length, :length]),
        ):
            np.testing.assert_allclose(
                getattr(narrow, name).numpy()[place], getattr(wide, name).numpy()[place], atol=1e-5
            )
    assert narrow.hidden_states is None
    assert len(call(model, ARRAYS, output_hidden_states=True).hidden_states) == 3


def test_two_rows_of_tags() -> None:
    model = tiny("ElectraForBinaryTokenClassification", num_labels_oth=6, num_labels_sym=3)
    labels = {name: np.where(ARRAYS["attention_mask"] == 1, 2, -100) for name in ("oth_labels", "sym_labels")}
    output = call(model, ARRAYS, **{name: paddle.to_tensor(value) for name, value in labels.items()})
    expected = 0.0
    for name, width in (("oth_logits", 6), ("sym_logits", 3)):
        logits = getattr(output, name).numpy()[ARRAYS["attention_mask"] == 1].astype(np.float64)
        assert logits.shape == (16, width)
        expected += (np.log(np.exp(logits).sum(-1)) - logits[:, 2]).mean()
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)


# -- Hugging Face ---------------------------------------------------------------------------------------------------


def test_what_huggingface_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="always has gelu"):
        models.save(tiny("ElectraGenerator", hidden_act="relu"), tmp_path, "huggingface")
    with pytest.raises(UsageError, match="one epsilon"):
        models.save(tiny("ElectraGenerator", layer_norm_eps=1e-5), tmp_path, "huggingface")
    with pytest.raises(UsageError, match="no class for ElectraForTotalPretraining"):
        models.save(tiny("ElectraForTotalPretraining"), tmp_path, "huggingface")


def test_heads_of_huggingface_keep_their_activation(tmp_path: Path) -> None:
    model = tiny("ElectraGenerator", hidden_act="relu", head_act="gelu", layer_norm_eps=1e-3, generator_norm_eps=1e-3)
    models.save(model, tmp_path, "huggingface")
    loaded = models.load(tmp_path, strict=True)
    np.testing.assert_array_equal(call(loaded, ARRAYS).logits.numpy(), call(model, ARRAYS).logits.numpy())
