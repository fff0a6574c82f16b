"""Encoders as bundles that give vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.conformance.cases import vocabulary
from zoo_cli import models, registry, tokenizers
from zoo_cli.base.errors import UsageError
from zoo_cli.cli.export import export as export_command
from zoo_cli.export.embedding import export_embedding
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.runtime.loading import load
from zoo_cli.runtime.verification import verify
from zoo_cli.tasks.embedding.spec import EmbeddingOptions
from zoo_cli.tasks.features import model_inputs

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")

TEXTS = ["这家餐厅的菜很好吃。", "", "好" * 100]
ONNX = ExportSection(backends=["onnx"])


def model_folder(name: str, folder: Path, architecture: str | None = None) -> Path:
    """A tiny model with its tokenizer, as a published checkpoint comes: without a task."""
    spec = registry.family(name)
    tokenizer = tokenizers.load(vocabulary(name), class_name=spec.tokenizer)
    paddle.seed(0)
    model = models.build(architecture or spec.backbone, {**spec.tiny, "vocab_size": len(tokenizer)})
    folder.mkdir()
    models.save(model, folder)
    tokenizer.save(folder)
    return folder


@pytest.mark.parametrize("name", ["ernie_m", "electra"])
def test_vectors_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    source = model_folder(name, tmp_path / "model")
    receipt = export_embedding(source, tmp_path, EmbeddingOptions(), ONNX)
    assert receipt["failures"] == [] and receipt["source"] == str(source)
    assert verify(Path(receipt["bundle"]))["ok"]
    pipeline = load(receipt["bundle"])
    longest = models.load_config(source).longest_text
    assert pipeline.task.options.max_length == longest
    # The same by hand.
    model = models.load(source)
    for text, answer in zip(TEXTS, pipeline(TEXTS), strict=True):
        encoding = pipeline.task.tokenizer.encode_batch([text], max_length=longest)[0]
        inputs = model_inputs(encoding, registry.family(name).inputs)
        with paddle.no_grad():
            found = model(**{key: paddle.to_tensor(value[None]) for key, value in inputs.items()})
        mean = found.last_hidden_state.numpy()[0].mean(axis=0)
        np.testing.assert_allclose(answer["embedding"], mean / np.linalg.norm(mean), atol=1e-5)
        assert answer["tokens"] == len(encoding.ids) and answer.get("truncated", False) == (text == TEXTS[2])


def test_a_head_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command, of a fine-tuned model that was trained for something else."""
    source = model_folder("bert", tmp_path / "model", "BertForSequenceClassification")
    monkeypatch.chdir(tmp_path)
    overrides = ["task.name=embedding", "task.pooling=cls", "task.max_length=16", "export.backends=[onnx]"]
    export_command(overrides, source=source, as_json=True)
    pipeline = load(tmp_path / "runs" / "embedding" / "model" / "export" / "bundle")
    (answer,) = pipeline(["好"])
    model = models.load(source).backbone
    ids = pipeline.task.tokenizer.encode_batch(["好"])[0].ids
    first = model(input_ids=paddle.to_tensor(ids[None])).last_hidden_state.numpy()[0, 0]
    np.testing.assert_allclose(answer["embedding"], first / np.linalg.norm(first), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("gpt", {"source": True, "overrides": []}, "no-embedding"),
        ("ernie_doc", {"source": True, "overrides": []}, "no-embedding"),
        ("bert", {"source": True, "overrides": ["task.max_length=65"]}, "too-long"),
        ("bert", {"source": True, "overrides": ["task.pooling=max"]}, "wrong-value"),
        ("bert", {"source": True, "overrides": ["train.epochs=1"]}, "no-recipe"),
        ("bert", {"overrides": []}, "no-recipe"),
    ],
)
def test_refusals(name: str, arguments: dict[str, Any], code: str, tmp_path: Path) -> None:
    source = model_folder(name, tmp_path / "model") if "source" in arguments else None
    with pytest.raises(UsageError) as raised:
        export_command(["task.name=embedding", *arguments["overrides"]], source=source, output_dir=tmp_path / "run")
    assert raised.value.code == code
