"""Data distillation on the bundled samples: the table, the verbs after it, resume, gates, and wrong recipes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.distill.test_job import Stop, assert_same, result
from zoo_cli import models
from zoo_cli.base.errors import ErrorGroup, GateError, UsageError, ZooError
from zoo_cli.base.files import verify_manifest
from zoo_cli.distill import closed_domain
from zoo_cli.distill.features import Adaptor, Key
from zoo_cli.distill.job import distill
from zoo_cli.distill.labelling import open_teacher
from zoo_cli.distill.objective import Distillation, Pupil
from zoo_cli.engine.answering import evaluate_folder, load_pipeline
from zoo_cli.engine.finetune import finetune
from zoo_cli.engine.objectives.supervised import Supervised
from zoo_cli.engine.setup import load_folder
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.recipe.schema import DistillMatch
from zoo_cli.runtime.pipeline import Pipeline

QUICK = [
    "data.limit=24",
    # So long that the teacher knows some of the few texts by heart, which it then labels.
    "train.max_steps=160",
    "train.eval_steps=80",
    "distill.labelling.texts=[]",
    "distill.stages.student.train.max_steps=8",
    "distill.stages.student.train.eval_steps=4",
    "distill.stages.student.train.save_steps=2",
    "distill.student.config.hidden_dropout_prob=0.1",
    "distill.baseline=true",
]


def recipe(*overrides: str, name: str = "uie/msra_distill") -> LoadedRecipe:
    return load_recipe(name, [*QUICK, *overrides], tiny=True)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    finetune(recipe(), folder)
    return folder / "best"


@pytest.fixture(scope="module")
def finished(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill") / "run"
    distill(recipe(), folder, teacher)
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labelled.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_student_is_a_model_of_its_own_task(finished: Path) -> None:
    verify_manifest(finished / "best")
    student = models.load(finished / "best", strict=True)
    assert student.config.architecture == "ErnieForTokenPairs" and student.config.num_hidden_layers == 1
    task = json.loads((finished / "best" / "task.json").read_text())
    assert task["task"] == "closed_extraction" and task["options"]["schema"] == ["人物", "地点", "组织机构"]
    pipeline = load_pipeline(finished / "best")
    answers = pipeline(["王芳在北京大学工作。", {"text": "王芳在北京大学工作。", "schema": "地点"}])
    assert set(answers[0]) <= {"人物", "地点", "组织机构"} and set(answers[1]) <= {"地点"}


def test_the_table_compares_whole_results(finished: Path, teacher: Path) -> None:
    table = {row["model"]: row for row in result(finished)["table"]}
    assert list(table) == ["teacher", "student", "baseline"]
    for name, folder in (("student", finished / "best"), ("baseline", finished / "baseline" / "best")):
        scores = evaluate_folder(folder, recipe(), "dev")
        assert table[name]["score"] == pytest.approx(scores["f1"], abs=1e-9)
        # Without relations the scorer of UIE counts the same.
        assert scores["end_to_end"]["entity_f1"] == pytest.approx(scores["f1"], abs=1e-9)
    told = evaluate_folder(teacher, recipe(), "dev")["end_to_end"]["entity_f1"]
    assert table["teacher"]["score"] == pytest.approx(told, abs=1e-9)
    assert all(row["alone_ms"] > 0 and row["batch_ms"] > 0 for row in table.values())
    page = (finished / "distillation.md").read_text()
    assert "| teacher |" in page and "labelled.jsonl" in page and "- labels" in page


def test_the_teachers_answers_can_be_looked_at(finished: Path, teacher: Path) -> None:
    found = rows(finished)
    counts = result(finished)["labelling"]
    assert len(found) == counts["texts"] == counts["annotated"] == 24
    assert counts["finds"] == sum(len(row["entities"]) for row in found) > 5
    answers = load_pipeline(teacher)([row["text"] for row in found], schema=["人物", "地点", "组织机构"])
    for row, answer in zip(found, answers, strict=True):
        spans = {(each["label"], each["start_offset"], each["end_offset"]) for each in row["entities"]}
        assert spans == {(name, each["start"], each["end"]) for name, each in _entries(answer)}
        sure = sorted(each["probability"] for each in row["entities"])
        np.testing.assert_allclose(sure, sorted(each["probability"] for _, each in _entries(answer)), atol=1e-4)


def _entries(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, entry) for name, entries in answer.items() for entry in entries]


def test_a_killed_run_goes_on_bit_by_bit(
    finished: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    own_stream, own_loss, count = Pipeline.stream, Supervised.loss, 0

    def stream(self: Pipeline, *arguments: Any, **options: Any) -> Any:
        for number, answer in enumerate(own_stream(self, *arguments, **options)):
            if number == 5:
                raise Stop
            yield answer

    def loss(self: Supervised, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > 5:
            raise Stop
        return own_loss(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "stream", stream)
        with pytest.raises(Stop):
            distill(recipe(), folder, teacher)
    assert not (folder / "labelled.jsonl").exists()
    with pytest.raises(UsageError, match="unfinished"):
        distill(recipe(), folder, teacher)
    with pytest.raises(UsageError, match="differs"):
        distill(recipe("distill.labelling.threshold=0.4"), folder, teacher, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(Supervised, "loss", loss)
        with pytest.raises(Stop):
            distill(recipe(), folder, teacher, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(closed_domain, "label", lambda texts, teacher, task, place: None)  # it is there
        distill(recipe(), folder, teacher, resume=True)
    assert rows(folder) == rows(finished)
    assert_same(folder, finished)
    assert_same(folder / "baseline", finished / "baseline")


def test_a_student_that_keeps_too_little_is_rejected(teacher: Path, tmp_path: Path) -> None:
    folder, options = tmp_path / "run", ("gates.teacher_share=50.0", "distill.baseline=false")
    with pytest.raises(GateError) as caught:
        distill(recipe(*options), folder, teacher)
    assert caught.value.exit_code == 6
    assert not (folder / "best").exists()
    verify_manifest(folder / "rejected")
    assert "**Rejected:**" in (folder / "distillation.md").read_text()


def test_an_encoder_of_another_family_with_its_own_tokens(teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    for name in ("MANIFEST.json", "task.json", "model.safetensors", "config.json"):
        (other / name).unlink()
    vocabulary = (other / "vocab.txt").read_text().splitlines()
    (other / "vocab.txt").write_text("\n".join([*vocabulary[:5], "one-more", *vocabulary[5:]]) + "\n")
    bert = models.build("BertModel", {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4,
                                      "intermediate_size": 64, "max_position_embeddings": 256,
                                      "vocab_size": len(vocabulary) + 1})  # fmt: skip
    models.save(bert, other)
    options = [f"distill.student.init={other}", "distill.student.family=bert", "distill.student.config={}"]
    distill(recipe(*options, "distill.baseline=false"), tmp_path / "run", teacher)
    assert models.load_config(tmp_path / "run" / "best").architecture == "BertForTokenPairs"


def test_the_exported_teacher_is_used_if_it_is_the_same(
    teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    from zoo_cli.export.job import export_recipe

    export_recipe(recipe("export.backends=[onnx]"), teacher, tmp_path / "export")
    bundle = tmp_path / "export" / "bundle"
    caplog.set_level("INFO")
    text, schema = "王芳在北京大学工作。", ["人物", "地点", "组织机构"]
    expected = open_teacher(teacher, tmp_path / "none", "cpu")(text, schema=schema)
    assert not caplog.messages
    for folder, exported in ((teacher, bundle), (bundle, tmp_path / "none")):
        caplog.clear()
        found = open_teacher(folder, exported, "cpu")(text, schema=schema)
        assert "onnx" in caplog.text
        assert found.keys() == expected.keys()
    caplog.clear()
    open_teacher(teacher, bundle, "gpu:0")
    (bundle / "model.safetensors").write_bytes(b"other weights")
    open_teacher(teacher, bundle, "cpu")
    assert "graph" not in caplog.text


def test_opinions_from_a_teacher_to_a_student(tmp_path: Path) -> None:
    own = recipe("distill.baseline=false", "data.limit=12", name="uie/opinion_distill")
    finetune(own, tmp_path / "teacher")
    distill(own, tmp_path / "run", tmp_path / "teacher" / "best")
    config = models.load_config(tmp_path / "run" / "best")
    assert (config.num_labels, config.num_links) == (4, 1)
    assert config.id2label[3] == "评价维度.情感倾向[正向,负向].负向"
    scores = evaluate_folder(tmp_path / "run" / "best", own, "dev")
    assert scores["end_to_end"]["entity_labels"]["评价维度"]["support"] > 0


BASE = """\
version: 1
model: {init: uie-base}
task: {name: extraction, schema: [人物]}
data: {format: doccano, train: train.json, dev: dev.json}
distill:
  student:
    init: ernie-3.0-nano-zh
    task: {max_length: 128}
  labelling:
    texts: more.txt
  stages:
    only:
      matches: [{feature: labels}]
"""


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("  labelling:\n    texts: more.txt\n", "", "option-of-labelling", 8),
        ("    texts: more.txt", "    format: squad", "unknown-format", 10),
        ("    texts: more.txt", "    txts: more.txt", "unknown-key", 10),
        ("matches: [{feature: labels}]", "strategy: logits", "labels-only", 12),
        ("matches: [{feature: labels}]", "matches: [{feature: logits, loss: kl}]", "labels-only", 12),
        ("{max_length: 128}", "{max_length: 3}", "wrong-value", 8),
        ("{max_length: 128}", "{schema: 3}", "wrong-value", 8),
        ("{max_length: 128}", "{stages: 3}", "wrong-value", 8),
        ("ernie-3.0-nano-zh", "gpt-cpm-small-cn-distill", "task-of-family", 1),  # where the checkpoint says its family
    ],
)
def test_wrong_recipes(old: str, new: str, code: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    assert BASE.count(old) == 1
    path.write_text(BASE.replace(old, new), encoding="utf-8")
    with pytest.raises(ZooError) as caught:
        load_recipe(str(path))
    found = caught.value.errors if isinstance(caught.value, ErrorGroup) else [caught.value]
    assert [(error.code, error.at and error.at.line) for error in found] == [(code, line)]


def test_a_teacher_of_classes_labels_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    text = BASE.replace("{name: extraction, schema: [人物]}", "{name: sequence_classification}")
    text = text.replace("uie-base", "ernie-3.0-base-zh").replace("format: doccano", "format: jsonl")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        load_recipe(str(path))
    assert caught.value.code == "no-labelling"


def test_published_values() -> None:
    for name in ("msra", "cluener", "spo", "opinion"):
        loaded = load_recipe(f"uie/{name}_distill")
        section = loaded.recipe.distill
        assert section is not None and section.labelling is not None
        assert section.labelling.ratio == 10 and section.student.task["max_length"] == 256
        options = section.stages["student"].training(loaded.recipe.train)
        assert (options.batch_size, options.learning_rate) == (16, 3e-5)


def test_the_student_goes_the_whole_road(finished: Path, tmp_path: Path) -> None:
    """Exported, quantised, served to clients of UIE, and asked on the command line."""
    for package in ("onnxruntime", "paddle2onnx", "fastapi"):
        pytest.importorskip(package)
    from starlette.testclient import TestClient
    from typer.testing import CliRunner

    from zoo_cli.cli.app import app
    from zoo_cli.compress.quantize import quantize_recipe
    from zoo_cli.export.job import export_recipe
    from zoo_cli.recipe.schema import QuantizeSection, ServedModel, ServeSection
    from zoo_cli.runtime.golden import same_answer
    from zoo_cli.serve.app import create_app
    from zoo_cli.serve.metrics import Metrics
    from zoo_cli.serve.server import open_models

    own = recipe("export.backends=[onnx]", "export.golden_requests=3")
    export_recipe(own, finished / "best", tmp_path / "export")
    bundle = tmp_path / "export" / "bundle"
    own.recipe.quantize, own.recipe.gates.metric_drop = QuantizeSection(tolerance=0.5), 1.0
    receipt = quantize_recipe(own, bundle, tmp_path / "quantize")
    assert receipt["metric"] == "f1" and receipt["chosen"]["integer_products"] > 0

    text = "王芳和李明在北京大学工作。"
    expected = load_pipeline(finished / "best")([text, {"text": text, "schema": "地点"}])
    settings = ServeSection(models={"student": ServedModel(bundle=str(bundle))}, threads=1, access_log=False)
    metrics = Metrics()
    application, _ = create_app(settings, open_models(settings, metrics), metrics)
    with TestClient(application) as client:
        while client.get("/readyz").status_code != 200:
            assert client.get("/livez").status_code == 200
        answers = client.post("/taskflow/uie", json={"data": {"text": [text, text]}}).json()["result"]
        assert same_answer(answers, [expected[0]] * 2, 1e-4)
        body = {"data": {"text": text}, "parameters": {"schema": ["地点"], "schema_lang": "zh"}}
        assert same_answer(client.post("/taskflow/uie", json=body).json()["result"], [expected[1]], 1e-4)
        body["parameters"]["schema"] = ["书名"]
        refused = client.post("/taskflow/uie", json=body)
        assert refused.status_code == 422 and "书名" in refused.text

    shown = CliRunner().invoke(app, ["predict", "--from", str(bundle), "--text", text, "--schema", "地点"])
    assert shown.exit_code == 0 and same_answer(json.loads(shown.stdout), expected[1], 1e-4)


def test_a_student_can_teach_a_smaller_one_by_its_scores(finished: Path) -> None:
    """Matches of logits between two models of token pairs, as pruning makes them."""
    assembly, other = load_folder(finished / "best"), load_folder(finished / "baseline" / "best")
    inputs = list(assembly.task.inputs)
    features = [next(assembly.task.steps(assembly.task.request(row["text"])))[0] for row in rows(finished)[:3]]
    batch = assembly.task.stack(features)

    def loss(student: Any, kind: str) -> float:
        match = DistillMatch(feature="logits", loss=kind)  # type: ignore[arg-type]
        teacher = Adaptor(assembly.model, assembly.task, inputs, {Key("logits")})
        objective = Distillation(student.model, assembly.task, inputs, [], [match], teacher)
        return float(objective.loss(Pupil(student.model, [match], assembly.model.config), batch, 0).total)

    for kind in ("kl", "mse"):
        assert loss(assembly, kind) == pytest.approx(0.0, abs=1e-6)
        assert 0 < loss(other, kind) < 1e3
