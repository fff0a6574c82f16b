"""Heads and losses against their definitions in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.support import batch, call, tiny
from zoo_cli.models.losses import classification_loss, cross_entropy, multi_label_loss, span_loss
from zoo_cli.registry import family

ARRAYS = batch(family("ernie"), [7, 4, 5])


def tensor(values: Any) -> paddle.Tensor:
    return paddle.to_tensor(values)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


@settings(max_examples=50, deadline=None)
@given(
    labels=st.lists(st.sampled_from([0, 1, 2, 3, -100]), min_size=1, max_size=8),
    ignored=st.sampled_from([-100, 3]),
    seed=st.integers(0, 99),
)
def test_cross_entropy_divides_by_the_labels_that_count(labels: list[int], ignored: int, seed: int) -> None:
    labels = [label if label != -100 else ignored for label in labels]
    logits = np.random.default_rng(seed).normal(size=(len(labels), 4)).astype(np.float32)
    losses = [-log_softmax(logits)[row, label] for row, label in enumerate(labels) if label != ignored]
    expected = np.mean(losses) if losses else 0.0
    assert float(cross_entropy(tensor(logits), tensor(labels), ignored)) == pytest.approx(expected, abs=1e-5)
    column = tensor(labels).unsqueeze(1)
    assert float(cross_entropy(tensor(logits), column, ignored)) == pytest.approx(expected, abs=1e-5)


def test_ignored_labels_have_no_gradient() -> None:
    logits = paddle.randn([3, 4])
    logits.stop_gradient = False
    cross_entropy(logits, tensor([1, -100, 2])).backward()
    gradient = np.abs(logits.grad.numpy()).sum(1)
    assert gradient[1] == 0 and gradient[0] > 0 and gradient[2] > 0


def test_kinds_of_classification() -> None:
    logits = np.array([[2.0, -1.0], [0.5, 0.25]], np.float32)
    single = -log_softmax(logits)[[0, 1], [1, 0]].mean()
    assert float(classification_loss(tensor(logits), tensor([1, 0]))) == pytest.approx(single, abs=1e-6)
    several = np.array([[1.0, 0.0], [1.0, 1.0]], np.float32)
    binary = np.log1p(np.exp(-np.where(several == 1, logits, -logits))).mean()
    assert float(classification_loss(tensor(logits), tensor(several))) == pytest.approx(binary, abs=1e-6)
    squares = ((logits - several) ** 2).mean()
    assert float(classification_loss(tensor(logits), tensor(several), "regression")) == pytest.approx(squares, abs=1e-6)
    wanted = np.array([1.0, 3.0], np.float32)
    one = logits[:, :1]
    for labels in (wanted, wanted[:, None], wanted.astype(np.int64)):
        loss = float(classification_loss(tensor(one), tensor(labels)))
        assert loss == pytest.approx(((one[:, 0] - wanted) ** 2).mean(), abs=1e-6)
    as_integers = tensor(several.astype(np.int64))
    loss = float(classification_loss(tensor(logits), as_integers, "multi_label_classification"))
    assert loss == pytest.approx(binary, abs=1e-6)


def test_answers_outside_of_the_text_do_not_count() -> None:
    start, end = (np.random.default_rng(seed).normal(size=(3, 5)).astype(np.float32) for seed in (1, 2))
    starts, ends = np.array([2, 5, 90]), np.array([3, 5, 4])
    first = -log_softmax(start)[0, 2]
    last = -log_softmax(end)[[0, 2], [3, 4]].mean()
    loss = span_loss(tensor(start), tensor(end), tensor(starts), tensor(ends))
    assert float(loss) == pytest.approx((first + last) / 2, abs=1e-5)


def test_the_configuration_chooses_the_loss_of_a_classifier() -> None:
    labels = tensor(np.array([0, 1, 1]))
    plain = call(tiny("ErnieForSequenceClassification"), ARRAYS, labels=labels)
    assert plain.logits.shape == [3, 2]
    expected = -log_softmax(plain.logits.numpy())[range(3), [0, 1, 1]].mean()
    assert float(plain.loss) == pytest.approx(expected, abs=1e-5)
    model = tiny("ErnieForSequenceClassification", problem_type="regression", num_labels=1)
    regression = call(model, ARRAYS, labels=labels)
    assert float(regression.loss) == pytest.approx(
        ((regression.logits.numpy()[:, 0] - [0, 1, 1]) ** 2).mean(), rel=1e-5
    )
    assert call(model, ARRAYS).loss is None


def test_loss_of_uie_is_that_of_its_probabilities() -> None:
    model = tiny("UIE")
    starts, ends = (np.random.default_rng(seed).integers(0, 2, (3, 7)).astype(np.float32) for seed in (1, 2))
    output = call(model, ARRAYS, start_positions=tensor(starts), end_positions=tensor(ends))
    total = 0.0
    for side, gold in (("start", starts), ("end", ends)):
        probabilities = getattr(output, f"{side}_prob").numpy().astype(np.float64)
        np.testing.assert_allclose(
            probabilities, 1 / (1 + np.exp(-getattr(output, f"{side}_logits").numpy())), atol=1e-6
        )
        total += -np.log(np.where(gold == 1, probabilities, 1 - probabilities)).mean()
    assert float(output.loss) == pytest.approx(total / 2, abs=1e-4)


def test_any_number_of_choices() -> None:
    model = tiny("BertForMultipleChoice")
    texts = batch(family("bert"), [6, 3, 5, 2, 6, 4])
    stacked = {name: value.reshape(2, 3, 6) for name, value in texts.items()}
    output = call(model, stacked, labels=tensor(np.array([2, 0])))
    assert output.logits.shape == [2, 3]
    alone = [
        call(model, {name: value[row, column][None, None] for name, value in stacked.items()})
        for row in (0, 1)
        for column in range(3)
    ]
    np.testing.assert_allclose(output.logits.numpy().ravel(), [float(one.logits) for one in alone], atol=1e-5)
    assert float(output.loss) == pytest.approx(-log_softmax(output.logits.numpy())[[0, 1], [2, 0]].mean(), abs=1e-5)


def test_masked_positions_are_those_rows() -> None:
    model = tiny("ErnieForMaskedLM")
    everywhere = call(model, ARRAYS).logits.numpy().reshape(21, -1)
    places = np.array([0, 3, 9, 20])
    some = call(model, ARRAYS, masked_positions=tensor(places), labels=tensor(np.array([1, 2, 3, -100])))
    np.testing.assert_allclose(some.logits.numpy(), everywhere[places], atol=1e-5)
    expected = -log_softmax(everywhere[places])[[0, 1, 2], [1, 2, 3]].mean()
    assert float(some.loss) == pytest.approx(expected, abs=1e-4)


def test_task_types_reach_the_backbone_through_a_head() -> None:
    model = tiny("ErnieForTokenClassification", task_id=1)
    types = {number: np.full((3, 7), number) for number in (1, 2)}
    default = call(model, ARRAYS).logits.numpy()
    np.testing.assert_array_equal(call(model, {**ARRAYS, "task_type_ids": types[1]}).logits.numpy(), default)
    assert not np.allclose(call(model, {**ARRAYS, "task_type_ids": types[2]}).logits.numpy(), default)


def test_padding_of_ernie_has_no_embedding() -> None:
    model = tiny("ErnieModel")
    before = call(model, ARRAYS).last_hidden_state.numpy()
    table = model.embeddings.word_embeddings.weight
    changed = table.numpy().copy()
    changed[0] += 5
    table.set_value(changed)
    np.testing.assert_array_equal(call(model, ARRAYS).last_hidden_state.numpy(), before)
    other = tiny("ErnieModel", zero_padding_embedding=False)
    assert not np.array_equal(call(other, ARRAYS).last_hidden_state.numpy(), before)


def test_missing_options_of_utc_are_ruled_out() -> None:
    model = tiny("UTC")
    places = tensor(np.array([[2, 4, 0], [1, 0, 0], [1, 2, 3]]))
    logits = call(model, ARRAYS, omask_positions=places, cls_positions=tensor(np.array([6, 3, 4]))).logits.numpy()
    assert ((logits < -1e11) == (places.numpy() == 0)).all()


def test_dropout_of_a_head() -> None:
    assert tiny("BertForTokenClassification", classifier_dropout=0.7).dropout.p == 0.7
    assert tiny("BertForTokenClassification", hidden_dropout_prob=0.25).dropout.p == 0.25


def test_intent_and_slots_add_up_their_losses() -> None:
    model = tiny("BertForIntentSlot", num_intents=4, num_labels=3)
    intents = np.array([3, 0, -100])
    slots = np.array([[0, 1, 2, -100, 0, 0, 1], [2] * 4 + [-100] * 3, [-100] * 7])
    arrays = {**batch(family("bert"), [7, 4, 5]), "intent_labels": intents, "labels": slots}
    output = call(model, arrays)
    assert output.intent_logits.shape == [3, 4] and output.slot_logits.shape == [3, 7, 3]
    counted = slots != -100
    expected = -log_softmax(output.intent_logits.numpy())[[0, 1], [3, 0]].mean()
    expected -= log_softmax(output.slot_logits.numpy()[counted])[range(counted.sum()), slots[counted]].mean()
    assert float(output.loss) == pytest.approx(expected, rel=1e-5)
    assert call(model, {name: arrays[name] for name in family("bert").inputs}).loss is None


def test_multi_label_loss_parts_right_from_wrong_classes_at_zero() -> None:
    logits = np.array([[2.0, -1.0, 0.5], [0.3, 4.0, -1e12]], np.float32)
    labels = np.array([[1, 0, 1], [0, 0, -100]], np.float32)
    first = np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-2.0) + np.exp(-0.5))
    second = np.log1p(np.exp(0.3) + np.exp(4.0))
    assert float(multi_label_loss(tensor(logits), tensor(labels))) == pytest.approx((first + second) / 2, rel=1e-5)
    far = multi_label_loss(tensor(np.array([[1e4, -1e4]], np.float32)), tensor(np.array([[1.0, 0.0]], np.float32)))
    assert float(far) == 0


def test_utc_learns_from_labels_of_options_that_are_there() -> None:
    model = tiny("UTC")
    places = np.array([[2, 4, 0], [1, 0, 0], [1, 2, 3]])
    labels = np.where(places == 0, -100, places % 2).astype(np.float32)
    arrays = {**ARRAYS, "omask_positions": places, "cls_positions": np.array([6, 3, 4]), "labels": labels}
    output = call(model, arrays)
    alone = 0.0
    for row, length in enumerate((7, 4, 5)):
        count = int((places[row] != 0).sum())
        single = {name: value[row : row + 1] for name, value in arrays.items()}
        single |= {name: value[row : row + 1, :length] for name, value in ARRAYS.items()}
        single |= {name: single[name][:, :count] for name in ("omask_positions", "labels")}
        alone += float(call(model, single).loss)
    assert float(output.loss) == pytest.approx(alone / 3, rel=1e-4)
