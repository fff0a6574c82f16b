"""ERNIE-M: positions, the mask it has by default, and the width of its layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.models.support import batch, call, tiny
from zoo_cli import models
from zoo_cli.base.errors import UsageError
from zoo_cli.models.ernie_m.config import ErnieMConfig
from zoo_cli.registry import family

ARRAYS = batch(family("ernie_m"), [7, 4, 5])


def test_the_first_token_has_the_third_position() -> None:
    model = tiny("ErnieMModel")
    default = call(model, ARRAYS).last_hidden_state.numpy()
    positions = paddle.arange(7).expand([3, 7])
    given = call(model, ARRAYS, position_ids=positions).last_hidden_state.numpy()
    np.testing.assert_array_equal(given, default)
    assert positions.numpy()[0].tolist() == list(range(7)), "the caller's tensor stays as it is"
    table = model.embeddings.position_embeddings.weight
    changed = table.numpy().copy()
    changed[:2] += 1
    table.set_value(changed)
    np.testing.assert_array_equal(call(model, ARRAYS).last_hidden_state.numpy(), default)
    changed[2] += 1
    table.set_value(changed)
    assert not np.allclose(call(model, ARRAYS).last_hidden_state.numpy(), default)


def test_without_a_mask_id_0_is_hidden_and_padding_is_not() -> None:
    model = tiny("ErnieMModel")
    ids = ARRAYS["input_ids"].copy()
    ids[:, 0] = 0
    assert (ids == 1).any()
    default = call(model, {"input_ids": ids}).last_hidden_state.numpy()
    masked = call(model, {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64)}).last_hidden_state.numpy()
    np.testing.assert_array_equal(default, masked)


def test_layers_are_four_times_as_wide_inside() -> None:
    config = ErnieMConfig(hidden_size=32, num_attention_heads=4, intermediate_size=3072)
    assert config.intermediate_size == 128
    assert config.layer_sizes(0).intermediate_size == 128
    assert tiny("ErnieMModel").encoder.layers[0].linear1.weight.shape == [32, 128]


def test_other_widths_go_to_huggingface_and_back(tmp_path: Path) -> None:
    model = tiny("ErnieMModel", layer_intermediate_sizes=[40, 40], effective_layer_norm_eps=1e-3)
    models.save(model, tmp_path, "huggingface")
    loaded = models.load(tmp_path, strict=True)
    assert loaded.config.layer_intermediate_sizes == [40, 40]
    np.testing.assert_array_equal(
        call(loaded, ARRAYS).last_hidden_state.numpy(), call(model, ARRAYS).last_hidden_state.numpy()
    )
    with pytest.raises(UsageError, match="pruned"):
        models.save(tiny("ErnieMModel", layer_intermediate_sizes=[40, 20]), tmp_path, "huggingface")
