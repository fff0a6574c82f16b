"""What every family must do; a new line in the registry is tested without a further line here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.models.support import BACKBONES, batch, call, tiny
from zoo_cli import models
from zoo_cli.models.base import Model
from zoo_cli.registry import FAMILIES, family, family_of, resolve

ARCHITECTURES = [
    (name, architecture)
    for name in FAMILIES
    for architecture in family(name).architectures
    if not architecture.endswith("Criterion") and family_of(architecture).name == name
]


@pytest.mark.parametrize(("name", "architecture"), ARCHITECTURES)
def test_every_class_is_saved_and_loaded(name: str, architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    for layout in ("zoo", "paddlenlp"):
        models.save(model, tmp_path / layout, layout)
        loaded = models.load(tmp_path / layout, strict=True)
        assert type(loaded) is type(model)
        assert loaded.config == model.config
        assert loaded.load_report is not None and loaded.load_report.complete
        assert not loaded.training
        for (one, value), (other, copy) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
            assert one == other
            np.testing.assert_array_equal(value.numpy(), copy.numpy())


@pytest.mark.parametrize(("name", "architecture"), ARCHITECTURES)
def test_weights_depend_on_the_seed_only(name: str, architecture: str) -> None:
    def weights(seed: int) -> dict[str, np.ndarray]:
        paddle.seed(seed)
        return {key: value.numpy() for key, value in models.build(architecture, family(name).tiny).state_dict().items()}

    one, same, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(one[key], same[key]) for key in one)
    assert not all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", FAMILIES)
def test_fresh_weights_have_the_spread_of_the_configuration(name: str) -> None:
    model = models.build(family(name).backbone, {**family(name).tiny, "initializer_range": 0.05})
    for key, layer in model.named_sublayers():
        if isinstance(layer, paddle.nn.Linear | paddle.nn.Embedding) and layer.weight.size > 500:
            expected = model.spread(f"{key}.weight")
            assert float(layer.weight.std()) == pytest.approx(expected, rel=0.15), key
            assert abs(float(layer.weight.mean())) < 0.2 * expected
        if isinstance(layer, paddle.nn.LayerNorm):
            assert bool((layer.weight == 1).all()) and bool((layer.bias == 0).all())
        if isinstance(layer, paddle.nn.Linear) and layer.bias is not None:
            assert bool((layer.bias == 0).all()), key


@pytest.mark.parametrize("name", BACKBONES)
def test_padding_changes_nothing(name: str) -> None:
    spec = family(name)
    model = tiny(spec.backbone)
    lengths = [9, 4, 1]
    narrow = call(model, batch(spec, lengths)).last_hidden_state.numpy()
    wide = call(model, batch(spec, lengths, width=17)).last_hidden_state.numpy()
    for row, length in enumerate(lengths):
        alone = {key: value[row : row + 1, :length] for key, value in batch(spec, lengths).items()}
        expected = call(model, alone).last_hidden_state.numpy()[0]
        np.testing.assert_allclose(narrow[row, :length], expected, atol=1e-5)
        np.testing.assert_allclose(wide[row, :length], expected, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_order_in_the_batch_changes_nothing(name: str) -> None:
    spec = family(name)
    model = tiny(spec.backbone)
    arrays = batch(spec, [6, 3, 8, 8])
    order = np.array([2, 0, 3, 1])
    straight = call(model, arrays).last_hidden_state.numpy()
    mixed = call(model, {key: value[order] for key, value in arrays.items()}).last_hidden_state.numpy()
    np.testing.assert_allclose(mixed, straight[order], atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_weight_of_the_encoder_learns(name: str) -> None:
    spec = family(name)
    model = tiny(spec.backbone)
    arrays = batch(spec, [6, 3])
    output = model(**{key: paddle.to_tensor(value) for key, value in arrays.items()})
    (output.last_hidden_state**3).sum().backward()
    for key, parameter in model.named_parameters():
        if ".layers." in key:
            assert parameter.grad is not None, key
            if "k_proj.bias" not in key:  # the softmax takes it away
                assert float(parameter.grad.abs().sum()) > 0, key


@pytest.mark.parametrize("name", FAMILIES)
def test_specification_names_real_classes(name: str) -> None:
    spec = family(name)
    assert spec.name == name == spec.config.family  # type: ignore[attr-defined]
    assert set(spec.tasks.values()) <= set(spec.architectures)
    assert issubclass(resolve(spec.architectures[spec.backbone]), Model)
    assert tiny(spec.backbone).prefix == spec.prefix
