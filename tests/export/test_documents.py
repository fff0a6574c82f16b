"""ERNIE-Doc from a recipe to a bundle whose graphs take the memory in and hand it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")

from zoo_cli import runtime  # noqa: E402
from zoo_cli.engine.answering import evaluate_folder, load_pipeline  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402
from zoo_cli.runtime.golden import same_answer  # noqa: E402

TEXT = "云安一中公布今年录取分数线。今天的会议没有什么新的内容。大雪封路，白石县的学校停课一天。王平从南湖区报道。" * 4
CASES: dict[str, tuple[list[str], Any]] = {
    "iflytek": (["task.all_scores=true", "task.retrospective=true"], TEXT),
    "msra_ner": ([], TEXT),
    "cmrc2018": (["task.all_answers=true", "task.n_best=3"], {"question": "哪里的学校停课？", "context": TEXT}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bundle_reads_documents_as_the_model_does(name: str, tmp_path: Path) -> None:
    overrides, request = CASES[name]
    short = [
        "train.max_steps=6",
        "train.eval_steps=3",
        "train.batch_size=4",
        "data.limit=12",
        "export.golden_requests=4",
    ]
    loaded = load_recipe(f"ernie-doc/{name}.yaml", [*overrides, *short], tiny=True)
    finetune(loaded, tmp_path / "run")
    best = tmp_path / "run" / "best"
    assert evaluate_folder(best, loaded, "dev")["loss"] > 0
    receipt = export_recipe(loaded, best, tmp_path / "export")
    assert receipt["failures"] == [] and receipt["golden_requests"] == 4
    assert {row["backend"] for row in receipt["parity"]} == {"onnx", "paddle"}
    assert len(receipt["parity"]) >= 2 * (12 if name != "msra_ner" else 9)

    model = load_pipeline(best)
    short_text = {**request, "context": TEXT[:30]} if isinstance(request, dict) else TEXT[:30]
    requests = [request, short_text]
    expected = model(requests)
    for backend in ("onnx", "paddle"):
        pipeline = runtime.load(receipt["bundle"], backend=backend, threads=1)
        assert same_answer(pipeline(requests), expected, 1e-4), backend
        # Nothing of one document is left for the next one.
        assert same_answer(pipeline(requests), expected, 1e-4), backend

    graph = onnx.load(str(Path(receipt["bundle"]) / "onnx" / "fp32" / "model.onnx")).graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes["input_ids"] == shapes["attention_mask"] == ["batch", "length"]
    assert shapes["memories"] == shapes["next_memories"] == ["batch", 2, 16, 64]


def test_what_a_graph_remembers_changes_its_answer(tmp_path: Path) -> None:
    loaded = load_recipe("ernie-doc/iflytek.yaml", ["train.max_steps=2", "data.limit=12", "data.dev=[]"], tiny=True)
    finetune(loaded, tmp_path / "run")
    pipeline = load_pipeline(tmp_path / "run" / "best")
    features = next(pipeline.task.steps(pipeline.task.request(TEXT)))
    first, other = (pipeline.run([{**features[0], "memories": features[0]["memories"] + shift}])[0] for shift in (0, 1))
    assert not np.allclose(first["logits"], other["logits"], atol=1e-3)
