"""ERNIE-Doc: what is remembered from segment to segment, relative positions, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import batch, call, tiny
from zoo_cli.base.errors import UsageError
from zoo_cli.models.ernie_doc.modeling import relative_positions, shift
from zoo_cli.registry import family

SPEC = family("ernie_doc")
LAYERS, MEMORY, WIDTH = SPEC.config(**SPEC.tiny).state_shapes["memories"]  # type: ignore[attr-defined]


def segment(seed: int = 0, size: int = 3, length: int = 10) -> dict[str, np.ndarray]:
    """Full segments whose tokens all have type 0 but for the last ones."""
    arrays = batch(SPEC, [length] * size, seed=seed)
    arrays["token_type_ids"][:, 0] = 0
    return arrays


def memories(seed: int = 0, size: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(size, LAYERS, MEMORY, WIDTH)).astype(np.float32)


def change(arrays: dict[str, np.ndarray], **values: Any) -> dict[str, np.ndarray]:
    return {**arrays, **values}


@pytest.mark.parametrize("architecture", [name for name in SPEC.architectures if not name.endswith("MultipleChoice")])
def test_every_class_remembers(architecture: str) -> None:
    output = call(tiny(architecture), segment())
    assert output.memories.shape == [3, LAYERS, MEMORY, WIDTH]


def test_a_first_segment_has_zeros_for_a_memory() -> None:
    model = tiny("ErnieDocModel")
    default = call(model, segment())
    zeros = call(model, change(segment(), memories=np.zeros_like(memories())))
    np.testing.assert_array_equal(default.last_hidden_state.numpy(), zeros.last_hidden_state.numpy())
    other = call(model, change(segment(), memories=memories()))
    assert not np.allclose(default.last_hidden_state.numpy(), other.last_hidden_state.numpy(), atol=1e-2)


@pytest.mark.parametrize("length", [3, MEMORY, 10])
def test_the_last_places_of_memory_and_output_are_remembered(length: int) -> None:
    model = tiny("ErnieDocModel")
    old = memories()
    output = call(model, change(segment(length=length), memories=old))
    new = output.memories.numpy()
    together = np.concatenate([old[:, -1], output.last_hidden_state.numpy()], axis=1)
    np.testing.assert_array_equal(new[:, -1], together[:, -MEMORY:])
    if length < MEMORY:
        np.testing.assert_array_equal(new[:, :, :-length], old[:, :, length:])


def test_what_was_read_reaches_the_next_segment() -> None:
    model = tiny("ErnieDocModel")
    first, other = segment(seed=1), segment(seed=2)
    states = [call(model, arrays).memories.numpy() for arrays in (first, other)]
    nexts = [call(model, change(segment(), memories=state)).last_hidden_state.numpy() for state in states]
    assert not np.allclose(nexts[0], nexts[1], atol=1e-2)


def test_no_gradient_flows_through_the_memory() -> None:
    model = tiny("ErnieDocModel")
    first = model(**{name: paddle.to_tensor(value) for name, value in segment().items()})
    assert first.memories.stop_gradient
    second = model(**{name: paddle.to_tensor(value) for name, value in segment(1).items()}, memories=first.memories)
    (second.last_hidden_state**3).sum().backward()
    gradients = {name: value.grad for name, value in model.named_parameters()}
    alone = tiny("ErnieDocModel")
    state = paddle.to_tensor(first.memories.numpy())
    output = alone(**{name: paddle.to_tensor(value) for name, value in segment(1).items()}, memories=state)
    (output.last_hidden_state**3).sum().backward()
    for name, value in alone.named_parameters():
        if value.grad is not None:
            np.testing.assert_allclose(gradients[name].numpy(), value.grad.numpy(), atol=1e-3, err_msg=name)


def test_every_weight_of_the_encoder_learns() -> None:
    model = tiny("ErnieDocModel")
    output = model(**{name: paddle.to_tensor(value) for name, value in segment().items()})
    (output.last_hidden_state**3).sum().backward()
    for name, parameter in model.named_parameters():
        if ".layers." in name:
            assert parameter.grad is not None, name
            if not name.endswith(("k_proj.bias", "r_proj.bias", "t_proj.bias")):  # the softmax takes these away
                assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.parametrize("normalize_before", [False, True])
def test_documents_do_not_mix(normalize_before: bool) -> None:
    model = tiny("ErnieDocModel", normalize_before=normalize_before)
    arrays = change(segment(size=4), memories=memories(size=4))
    arrays["attention_mask"][1, 5:-1] = 0
    order = np.array([2, 0, 3, 1])
    together = call(model, arrays)
    mixed = call(model, {name: value[order] for name, value in arrays.items()})
    for name in ("last_hidden_state", "pooler_output", "memories"):
        np.testing.assert_allclose(
            getattr(mixed, name).numpy(), getattr(together, name).numpy()[order], atol=1e-4, err_msg=name
        )


def test_padding_before_the_last_token_says_nothing() -> None:
    model = tiny("ErnieDocModel")
    arrays = segment()
    arrays["attention_mask"][:, 4:-1] = 0
    other = arrays["input_ids"].copy()
    other[:, 4:-1] = 0
    seen = arrays["attention_mask"][0] == 1
    one, two = (call(model, change(arrays, input_ids=ids)) for ids in (arrays["input_ids"], other))
    np.testing.assert_allclose(
        one.last_hidden_state.numpy()[:, seen], two.last_hidden_state.numpy()[:, seen], atol=1e-5
    )
    np.testing.assert_allclose(one.pooler_output.numpy(), two.pooler_output.numpy(), atol=1e-5)
    without_mask = {name: value for name, value in arrays.items() if name != "attention_mask"}
    default = call(model, change(without_mask, input_ids=other))
    np.testing.assert_array_equal(default.last_hidden_state.numpy(), two.last_hidden_state.numpy())


def test_the_text_is_pooled_where_the_configuration_says() -> None:
    for place in (-1, 0):
        model = tiny("ErnieDocModel", cls_token_idx=place)
        output = call(model, segment())
        expected = np.tanh(output.last_hidden_state.numpy()[:, place] @ model.pooler.dense.weight.numpy())
        np.testing.assert_allclose(output.pooler_output.numpy(), expected, atol=1e-5)


def test_memory_has_the_type_of_the_first_token_of_the_batch() -> None:
    model = tiny("ErnieDocModel")
    arrays = segment()
    types = arrays["token_type_ids"].copy()
    types[1, 0] = 2
    one, two = (call(model, change(arrays, token_type_ids=value)) for value in (arrays["token_type_ids"], types))
    differs = np.abs(one.last_hidden_state.numpy() - two.last_hidden_state.numpy()).max((1, 2)) > 1e-4
    assert differs.tolist() == [False, True, False]
    types[0, 0] = 2
    three = call(model, change(arrays, token_type_ids=types))
    differs = np.abs(two.last_hidden_state.numpy() - three.last_hidden_state.numpy()).max((1, 2)) > 1e-4
    assert differs.all()


def test_a_model_without_memory() -> None:
    output = call(tiny("ErnieDocModel", memory_len=0), segment())
    assert output.memories.shape == [3, LAYERS, 0, WIDTH]


@pytest.mark.parametrize(("length", "memory"), [(1, 0), (5, 3), (3, 5), (4, 4)])
def test_positions_and_their_shift(length: int, memory: int) -> None:
    positions = relative_positions(paddle.to_tensor(length), memory).numpy()[0]
    expected = [*range(2 * length + memory - 1, length - 1, -1), *range(length)]
    assert positions.tolist() == expected
    keys, places = length + memory, 2 * length + memory
    scores = np.random.default_rng(0).normal(size=(2, 3, length, places)).astype(np.float32)
    shifted = shift(paddle.to_tensor(scores), keys).numpy()
    assert shifted.shape == (2, 3, length, keys)
    for query in range(length):
        for key in range(keys):
            np.testing.assert_array_equal(shifted[:, :, query, key], scores[:, :, query, length + key - query])
            distance = query + memory - key  # 0 is the token itself
            place = expected[length + key - query]
            assert place == (length - 1 + distance if distance > 0 else -distance)


def test_shared_biases_are_refused() -> None:
    with pytest.raises(UsageError, match="rel_pos_params_sharing"):
        tiny("ErnieDocModel", rel_pos_params_sharing=True)


def test_losses_of_the_heads() -> None:
    arrays = segment()
    labels = paddle.to_tensor([0, 1, 1])
    assert float(call(tiny("ErnieDocForSequenceClassification"), arrays, labels=labels).loss) > 0
    tokens = paddle.to_tensor(np.where(arrays["input_ids"] % 2, 1, -100))
    assert float(call(tiny("ErnieDocForTokenClassification"), arrays, labels=tokens).loss) > 0
    answer = call(tiny("ErnieDocForQuestionAnswering"), arrays, start_positions=labels, end_positions=labels + 2)
    assert answer.start_logits.shape == answer.end_logits.shape == [3, 10]
    assert float(answer.loss) > 0


def test_choices_are_texts_with_memories_of_their_own() -> None:
    chooser = tiny("ErnieDocForMultipleChoice", num_choices=3, cls_token_idx=0)
    classifier = tiny("ErnieDocForSequenceClassification", num_labels=1, cls_token_idx=0)
    classifier.set_state_dict(chooser.state_dict())
    flat = {**segment(size=6), "memories": memories(size=6)}
    stacked = {name: value.reshape(2, 3, *value.shape[1:]) for name, value in flat.items()}
    labels = np.array([2, 0])
    alone, together = call(classifier, flat), call(chooser, stacked, labels=paddle.to_tensor(labels))
    scores = alone.logits.numpy().reshape(2, 3)
    np.testing.assert_allclose(together.logits.numpy(), scores, atol=1e-6)
    np.testing.assert_allclose(
        together.memories.numpy(), alone.memories.numpy().reshape(2, 3, LAYERS, MEMORY, WIDTH), atol=1e-6
    )
    likelihoods = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert float(together.loss) == pytest.approx(-likelihoods[[0, 1], labels].mean(), abs=1e-6)
    # The types that the memory gets, and the places, are those of one text.
    first = call(chooser, {name: value for name, value in stacked.items() if name != "memories"})
    np.testing.assert_allclose(
        first.logits.numpy().ravel(), call(classifier, segment(size=6)).logits.numpy().ravel(), atol=1e-6
    )
