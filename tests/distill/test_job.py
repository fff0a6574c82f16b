"""The verb on the bundled samples: stages, table, gates, resume, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli import models
from zoo_cli.base.errors import GateError, UsageError
from zoo_cli.base.files import verify_manifest
from zoo_cli.distill.job import distill
from zoo_cli.distill.objective import Distillation
from zoo_cli.distill.teachers import StoredAnswers
from zoo_cli.engine.answering import evaluate_folder, load_pipeline
from zoo_cli.engine.finetune import finetune
from zoo_cli.models.checkpoint import read_weights
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.recipe.yaml12 import load_yaml

QUICK = [
    "data.limit=40",
    "train.max_steps=20",
    "train.eval_steps=10",
    "distill.stages.intermediate.train.max_steps=8",
    "distill.stages.prediction.train.max_steps=8",
    "distill.stages.prediction.train.eval_steps=4",
    "distill.stages.intermediate.train.save_steps=2",
    "distill.student.config.hidden_dropout_prob=0.1",
]


def recipe(*overrides: str, name: str = "tinybert/sst2") -> LoadedRecipe:
    return load_recipe(name, [*QUICK, *overrides], tiny=True)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "run"
    finetune(recipe(), folder)
    return folder / "best"


@pytest.fixture(scope="module")
def finished(teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distill") / "run"
    distill(recipe("distill.baseline=true", "gates.teacher_share=0.01"), folder, teacher)
    return folder


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def weights(folder: Path) -> dict[str, np.ndarray]:
    return read_weights(folder / "best")


def assert_same(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)


def test_the_student_is_a_model_folder(finished: Path) -> None:
    verify_manifest(finished / "best")
    student = models.load(finished / "best", strict=True)
    assert student.config.architecture == "TinyBertForSequenceClassification"
    assert student.config.num_hidden_layers == 1
    answers = list(load_pipeline(finished / "best")(["a wonderful film", "dull"]))
    assert {answer["label"] for answer in answers} <= {"0", "1"}


def test_the_table_holds_what_evaluation_says(finished: Path, teacher: Path) -> None:
    rows = {row["model"]: row for row in result(finished)["table"]}
    assert list(rows) == ["teacher", "student", "baseline"]
    places = {"teacher": teacher, "student": finished / "best", "baseline": finished / "baseline" / "best"}
    for name, folder in places.items():
        assert rows[name]["score"] == evaluate_folder(folder, recipe(), "dev")["score"]
        assert rows[name]["parameters"] == sum(value.size for value in read_weights(folder).values())
        assert rows[name]["bytes"] == (folder / "model.safetensors").stat().st_size
        assert rows[name]["share"] == pytest.approx(rows[name]["score"] / rows["teacher"]["score"])
    assert rows["student"]["parameters"] == rows["baseline"]["parameters"] < rows["teacher"]["parameters"]
    page = (finished / "distillation.md").read_text()
    assert "| teacher |" in page and "- hidden: loss mse, teacher 2, student 1" in page
    assert result(finished)["best_score"] == rows["student"]["score"]


def test_the_run_has_the_curves_of_all_stages_and_no_answers(finished: Path) -> None:
    rows = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "dev"] == [12, 16]
    assert max(row["step"] for row in rows) == 16 == result(finished)["steps"]
    assert (finished / "report.html").is_file()
    assert not (finished / "teacher").exists()


def test_the_recipe_in_the_run_means_the_same(finished: Path) -> None:
    stored = load_recipe(str(finished / "best" / "recipe.yaml"))
    tree = load_yaml((finished / "best" / "recipe.yaml").read_text(), "recipe.yaml")
    assert [match["feature"] for match in tree["distill"]["stages"]["intermediate"]["matches"]] == ["hidden"] * 2 + [
        "attention"
    ]
    assert stored.recipe.distill is not None
    assert stored.recipe.distill.stages["prediction"].training(stored.recipe.train).max_steps == 8


class Stop(Exception):
    pass


@pytest.mark.parametrize("calls", [3, 13])
def test_a_killed_run_goes_on_bit_by_bit(
    calls: int, finished: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    options = ("distill.baseline=true", "gates.teacher_share=0.01")
    own, count = Distillation.loss, 0

    def loss(self: Distillation, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        if count > calls:
            raise Stop
        return own(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "loss", loss)
        with pytest.raises(Stop):
            distill(recipe(*options), folder, teacher)
    with pytest.raises(UsageError, match="unfinished"):
        distill(recipe(*options), folder, teacher)
    with pytest.raises(UsageError, match="differs"):
        distill(recipe(*options, "distill.stages.prediction.temperature=2"), folder, teacher, resume=True)
    distill(recipe(*options), folder, teacher, resume=True)
    assert_same(folder, finished)
    assert_same(folder / "baseline", finished / "baseline")
    with pytest.raises(UsageError, match="finished already"):
        distill(recipe(*options), folder, teacher, resume=True)


def test_another_teacher_is_noticed(teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*arguments: Any) -> Any:
        raise Stop

    folder, other = tmp_path / "run", tmp_path / "other"
    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "loss", stop)
        with pytest.raises(Stop):
            distill(recipe(), folder, teacher)
    shutil.copytree(teacher, other)
    (other / "MANIFEST.json").unlink()
    model = models.load(other)
    model.classifier.bias.set_value(model.classifier.bias + 1)
    models.save(model, other)
    with pytest.raises(UsageError) as caught:
        distill(recipe(), folder, other, resume=True)
    assert caught.value.code == "teacher-changed"


def test_a_student_that_keeps_too_little_is_rejected(teacher: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(GateError) as caught:
        distill(recipe("gates.teacher_share=5.0"), folder, teacher)
    assert caught.value.exit_code == 6
    assert not (folder / "best").exists()
    verify_manifest(folder / "rejected")
    assert "**Rejected:**" in (folder / "distillation.md").read_text()
    with pytest.raises(UsageError, match="finished already"):
        distill(recipe(), folder, teacher, resume=True)
    distill(recipe(), folder, teacher, force=True)
    assert (folder / "best").exists() and not (folder / "rejected").exists()


def test_answers_are_kept_only_where_there_is_room(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    own = StoredAnswers.take

    def take(self: StoredAnswers, rows: np.ndarray) -> Any:
        taken.append(len(rows))
        return own(self, rows)

    monkeypatch.setattr(StoredAnswers, "take", take)
    distill(recipe("distill.cache_gigabytes=0"), tmp_path / "asked", teacher)
    assert not taken
    distill(recipe(), tmp_path / "stored", teacher)
    assert len(taken) == 16
    first, second = weights(tmp_path / "asked"), weights(tmp_path / "stored")
    for name, value in first.items():
        np.testing.assert_allclose(value, second[name], atol=2e-3, err_msg=name)


def test_a_student_with_another_vocabulary_is_refused(teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(teacher, other)
    (other / "MANIFEST.json").unlink()
    lines = (other / "vocab.txt").read_text().splitlines()
    lines[-2], lines[-1] = lines[-1], lines[-2]
    words = [index for index, token in enumerate(lines) if token in ("the", "a", "film", ".")]
    lines[words[0]], lines[words[1]] = lines[words[1]], lines[words[0]]
    (other / "vocab.txt").write_text("\n".join(lines) + "\n")
    options = [f"distill.student.init={other}", "distill.student.family=bert", "distill.student.config={}"]
    with pytest.raises(UsageError) as caught:
        distill(recipe(*options), tmp_path / "run", teacher)
    assert caught.value.code == "other-tokens"
    (other / "vocab.txt").write_text("\n".join([*lines, "one-more"]) + "\n")
    with pytest.raises(UsageError, match="instead of"):
        distill(recipe(*options), tmp_path / "run", teacher)


OWN = """\
version: 1
model: {{family: bert, vocab: sample:vocab/wordpiece}}
task: {{name: {task}}}
data: {{format: {format}, train: sample:{data}, dev: sample:{data}, limit: 30{columns}}}
distill:
  student: {{family: bert, init: {init}}}
  stages:
    only:
      strategy: logits
      train: {{max_steps: 1, learning_rate: 1.0e-9}}
"""


def test_a_student_goes_on_from_a_model_folder(teacher: Path, tmp_path: Path) -> None:
    """The teacher's own weights as a student's: what it knew at the start is what it was."""
    columns = ", options: {columns: {text: sentence}}"
    text = OWN.format(task="sequence_classification", format="tsv", data="sst2/dev.tsv", columns=columns, init=teacher)
    (tmp_path / "own.yaml").write_text(text)
    distill(load_recipe(str(tmp_path / "own.yaml")), tmp_path / "run", teacher)
    assert result(tmp_path / "run")["table"][1]["share"] == 1.0


def test_the_task_must_be_the_teachers(teacher: Path, tmp_path: Path) -> None:
    text = OWN.format(task="token_classification", format="bio", data="msra/dev.txt", columns="", init="scratch")
    (tmp_path / "own.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        distill(load_recipe(str(tmp_path / "own.yaml")), tmp_path / "run", teacher)
    assert caught.value.code == "other-task"


def test_a_recipe_without_the_section_is_refused(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        distill(load_recipe("bert/sst2", tiny=True), tmp_path / "run", teacher)
    assert caught.value.code == "no-distillation"
