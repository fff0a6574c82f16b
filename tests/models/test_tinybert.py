"""TinyBERT: what differs from BERT."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from tests.models.support import batch, call, tiny
from zoo_cli import models
from zoo_cli.models import checkpoint
from zoo_cli.registry import family

ARRAYS = batch(family("tinybert"), [7, 4, 5])


def test_projections_are_there_for_every_hidden_state_and_change_nothing() -> None:
    model = tiny("TinyBertModel")
    output = call(model, ARRAYS, output_hidden_states=True)
    assert len(model.fit_denses) == len(output.hidden_states) == 3
    for projection in (*model.fit_denses, model.fit_dense):
        assert projection(output.hidden_states[0]).shape == [3, 7, 48]
        projection.weight.set_value(paddle.zeros_like(projection.weight))
    np.testing.assert_array_equal(call(model, ARRAYS).last_hidden_state.numpy(), output.last_hidden_state.numpy())


def test_files_may_lack_either_kind_of_projection(tmp_path: Path) -> None:
    model = tiny("TinyBertModel")
    models.save(model, tmp_path)
    weights = checkpoint.read_safetensors(tmp_path / "model.safetensors")
    for kept in ("fit_dense.", "fit_denses."):
        some = {name: value for name, value in weights.items() if "fit_dense" not in name or name.startswith(kept)}
        checkpoint.write_safetensors(tmp_path / "model.safetensors", some, "np")
        loaded = models.load(tmp_path)
        assert loaded.load_report is not None
        assert {name.split(".")[0] for name in loaded.load_report.missing} == {"fit_dense", "fit_denses"} - {kept[:-1]}


def test_classifier_sees_what_is_positive_of_the_pooled_vector_and_drops_nothing() -> None:
    model = tiny("TinyBertForSequenceClassification", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model.train()
    logits = call(model, ARRAYS).logits.numpy()
    pooled = call(model.backbone, ARRAYS).pooler_output.numpy()
    expected = np.maximum(pooled, 0) @ model.classifier.weight.numpy()
    assert logits == pytest.approx(expected, abs=1e-5)
