"""Importance by another way of computing it, and models that are cut out of others."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from zoo_cli import models, registry
from zoo_cli.base.errors import UsageError
from zoo_cli.compress.pruning import Importance, Kept, choose, cut, importance
from zoo_cli.compress.vocabulary import cut_tables, frequent_tokens
from zoo_cli.engine.layers import stacks
from zoo_cli.tokenizers import load as load_tokenizer
from zoo_cli.tokenizers.wordpiece import BertTokenizer

CLASSES = {
    "bert": "BertForSequenceClassification",
    "ernie": "ErnieForTokenClassification",
    "ernie_m": "ErnieMForSequenceClassification",
    "electra": "ElectraForSequenceClassification",
    "tinybert": "TinyBertForSequenceClassification",
    "uie": "UIE",
}


def make(name: str, **config: Any) -> Any:
    spec = registry.family("ernie" if name == "uie" else name)
    paddle.seed(3)
    sizes = {"num_attention_heads": 4, "intermediate_size": 24, "initializer_range": 0.3}
    model = models.build(CLASSES[name], {**spec.tiny, **sizes, "vocab_size": 50, "pad_token_id": 0, **config})
    model.eval()
    return model


def inputs_of(model: Any, rows: int = 3, length: int = 6) -> dict[str, paddle.Tensor]:
    ids = np.random.default_rng(1).integers(5, 50, (rows, length))
    inputs = {"input_ids": paddle.to_tensor(ids), "attention_mask": paddle.ones([rows, length], "int64")}
    if "token_type_ids" in registry.family(model.config.family).inputs:
        inputs["token_type_ids"] = paddle.zeros([rows, length], "int64")
    return inputs


def outputs_of(model: Any) -> np.ndarray:
    result = model(**inputs_of(model))
    fields = [getattr(result, name, None) for name in ("logits", "start_prob", "end_prob")]
    return np.concatenate([field.numpy().ravel() for field in fields if field is not None])


def layers_of(model: Any) -> list[Any]:
    return list(next(iter(stacks(model).values())))


def all_of(model: Any) -> list[Kept]:
    return [
        Kept(index, np.arange(layer.self_attn.num_heads), np.arange(layer.linear1.weight.shape[1]))
        for index, layer in enumerate(layers_of(model))
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_width_one_changes_nothing(name: str) -> None:
    model = make(name)
    np.testing.assert_allclose(outputs_of(cut(model, all_of(model))), outputs_of(model), atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_a_cut_model_answers_like_one_whose_other_parts_are_masked(name: str) -> None:
    model = make(name)
    draw = np.random.default_rng(0)
    kept = [
        Kept(index, np.sort(draw.permutation(4)[:2]), np.sort(draw.permutation(24)[: 7 + index]))
        for index in range(len(layers_of(model)))
    ]
    smaller = cut(model, kept)
    before = outputs_of(model)
    for layer, part in zip(layers_of(model), kept, strict=True):
        size = layer.self_attn.head_dim
        with paddle.no_grad():
            for head in set(range(4)) - set(part.heads.tolist()):
                layer.self_attn.out_proj.weight[head * size : (head + 1) * size] = 0.0
            for neuron in set(range(layer.linear2.weight.shape[0])) - set(part.neurons.tolist()):
                layer.linear2.weight[neuron] = 0.0
    np.testing.assert_allclose(outputs_of(smaller), outputs_of(model), atol=1e-5)
    assert np.abs(outputs_of(model) - before).max() > 1e-3
    assert smaller.config.layer_intermediate_sizes == [7, 8][: len(kept)]


def test_a_cut_model_is_an_ordinary_one(tmp_path: Any) -> None:
    model = make("bert", num_hidden_layers=4)
    kept = choose([Importance(np.arange(4.0), np.arange(24.0))] * 4, 0.5, layers=2)
    smaller = cut(model, kept)
    models.save(smaller, tmp_path)
    loaded = models.load(tmp_path)
    np.testing.assert_array_equal(outputs_of(loaded), outputs_of(smaller))
    sizes = (loaded.config.num_hidden_layers, loaded.config.num_attention_heads, loaded.config.layer_intermediate_sizes)
    assert sizes == (2, 2, [12, 12]) and loaded.config.layer_num_heads is None
    assert [part.layer for part in kept] == [1, 3]
    assert all(part.heads.tolist() == [2, 3] and part.neurons.tolist() == list(range(12, 24)) for part in kept)


def test_importance_is_the_derivative_of_masks() -> None:
    """Heads: by differences of the loss under a mask. Neurons: the same for their weights, in two parts."""
    model = make("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    batch = {name: tensor.numpy() for name, tensor in inputs_of(model, rows=1).items()} | {"labels": np.array([1])}
    (found, *_) = importance(model, [batch])
    layer = layers_of(model)[0]

    def loss() -> float:
        return float(model(**{name: paddle.to_tensor(value) for name, value in batch.items()}).loss)

    def slope(parameter: Any, place: Any) -> float:
        """Derivative of the loss by a factor on a part of a parameter."""
        value, step, sides = parameter.numpy(), 1e-2, []
        for sign in (1, -1):
            changed = value.copy()
            changed[place] *= 1 + sign * step
            parameter.set_value(changed)
            sides.append(loss())
        parameter.set_value(value)
        return (sides[0] - sides[1]) / (2 * step)

    size = layer.self_attn.head_dim
    heads = [abs(slope(layer.self_attn.out_proj.weight, slice(n * size, (n + 1) * size))) for n in range(4)]
    neurons = [
        abs(slope(layer.linear1.weight, (slice(None), n)) + slope(layer.linear1.bias, n))
        + abs(slope(layer.linear2.weight, n))
        for n in range(24)
    ]
    # The norm of the example's gradients is a common factor.
    measured = np.concatenate([heads, neurons])
    computed = np.concatenate([found.heads, found.neurons])
    factor = (measured @ computed) / (computed @ computed)
    np.testing.assert_allclose(computed * factor, measured, atol=0.02 * measured.max())


def test_no_example_decides_alone() -> None:
    model = make("bert", num_labels=3)
    batch = {name: tensor.numpy() for name, tensor in inputs_of(model, rows=1).items()}
    one, other = ({**batch, "labels": np.array([label])} for label in (0, 1))
    apart = [importance(model, [each])[0].heads for each in (one, other)]
    np.testing.assert_allclose(importance(model, [one, other])[0].heads, apart[0] + apart[1], rtol=1e-6)


def test_layers_of_another_kind_are_refused() -> None:
    spec = registry.family("gpt")
    model = models.build("GPTForSequenceClassification", {**spec.tiny, "vocab_size": 50})
    with pytest.raises(UsageError) as caught:
        importance(model, [])
    assert caught.value.code == "not-prunable"
    with pytest.raises(UsageError):
        choose([Importance(np.ones(2), np.ones(2))], 0.5, layers=2)


@pytest.fixture
def tokenizer(tmp_path: Any) -> Any:
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "上",
        "海",
        "很",
        "大",
        "##大",
        "北",
        "京",
        "hello",
        "##lo",
        "hel",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    return load_tokenizer(tmp_path / "vocab.txt", class_name="BertTokenizer")


def test_a_smaller_vocabulary_keeps_what_occurs(tokenizer: Any, tmp_path: Any) -> None:
    texts = ["上海很大", "上海", "hello 海"]
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    kept = frequent_tokens(tokenizer, ids, 10)
    smaller = tokenizer.subset(kept.tolist())
    assert isinstance(smaller, BertTokenizer) and len(smaller) == 10
    for before, after in zip(ids, smaller.encode_batch(texts), strict=True):
        assert kept[after.ids].tolist() == before.tolist()
    assert smaller.encode_batch(["北"])[0].ids.tolist()[1] == smaller.unk_token_id
    smaller.save(tmp_path / "smaller")
    again = load_tokenizer(tmp_path / "smaller")
    assert again.encode_batch(texts)[0].ids.tolist() == smaller.encode_batch(texts)[0].ids.tolist()
    with pytest.raises(UsageError):
        frequent_tokens(tokenizer, ids, 3)
    with pytest.raises(UsageError):
        frequent_tokens(tokenizer, ids, 99)


def test_smaller_tables_give_the_same_answers() -> None:
    model = make("ernie", max_position_embeddings=20)
    ids = inputs_of(model)["input_ids"].numpy()
    tokens = np.unique(np.concatenate([[0, 1, 2, 3], ids.ravel()]))
    smaller = cut_tables(model, tokens, 8)
    inputs = inputs_of(model) | {"input_ids": paddle.to_tensor(np.searchsorted(tokens, ids))}
    np.testing.assert_allclose(smaller(**inputs).logits.numpy(), model(**inputs_of(model)).logits.numpy(), atol=1e-6)
    assert (smaller.config.vocab_size, smaller.config.max_position_embeddings) == (len(tokens), 8)
    with pytest.raises(UsageError):
        cut_tables(model, None, 21)
