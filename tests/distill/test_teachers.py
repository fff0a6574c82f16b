"""A teacher asked through a graph, answers on disk, and students of another family than their teacher's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import artifacts
from zoo_cli.data.parts import read_parts
from zoo_cli.distill import teachers
from zoo_cli.distill.features import Key, input_names
from zoo_cli.distill.job import distill
from zoo_cli.distill.teachers import StoredAnswers, Teacher, store_answers
from zoo_cli.engine.finetune import EncodedExamples
from zoo_cli.engine.setup import load_folder
from zoo_cli.models.checkpoint import load_config
from zoo_cli.recipe.loading import load_recipe

LOGITS, HIDDEN = Key("logits"), Key("hidden", 1)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")
    return artifacts.bundle("bert", tmp_path_factory.mktemp("bundle"), "onnx")


def examples(count: int = 12) -> list[Any]:
    loaded = artifacts.tiny_recipe("bert")
    return read_parts(loaded.recipe.data, 0, ("train",))["train"][:count]


def teacher(folder: Path) -> Teacher:
    assembly = load_folder(folder)
    return Teacher(assembly, folder, sorted(input_names(assembly.task, examples())))


def test_logits_alone_come_from_the_graph(bundle: Path) -> None:
    whole = teacher(bundle)
    encoded = EncodedExamples(whole.assembly.task, examples())
    batch = whole.assembly.task.stack(encoded.features.take(np.arange(6)))
    graph, model = whole.asked([LOGITS]), whole.asked([LOGITS, HIDDEN])
    assert graph._graph is not None and model._graph is None
    np.testing.assert_allclose(graph(batch)[LOGITS].numpy(), model(batch)[LOGITS].numpy(), atol=1e-5)
    assert set(model(batch)) == {LOGITS, HIDDEN}
    assert teacher(artifacts.model_folder("bert", bundle.parent / "plain")).graph([LOGITS]) is None


def test_answers_on_disk_are_those_of_the_teacher(bundle: Path, tmp_path: Path) -> None:
    whole = teacher(bundle)
    asked, task = whole.asked([LOGITS, HIDDEN]), whole.assembly.task
    features = EncodedExamples(task, examples()).features
    stored = store_answers(asked, features, task.stack, tmp_path / "answers", batch_size=4)
    assert all(isinstance(column.values, np.memmap) for column in stored._columns.values())
    rows = np.array([5, 0, 7])
    gold = asked(task.stack(features.take(rows)))
    found = stored.take(rows)
    np.testing.assert_allclose(found["teacher.logits.0"], gold[LOGITS].numpy(), atol=1e-5)
    for row, own, other in zip(rows, found["teacher.hidden.1"], gold[HIDDEN].numpy(), strict=True):
        length = len(features[row]["input_ids"])
        np.testing.assert_allclose(own[:length], other[:length], atol=1e-4)
        assert not own[length:].any()


def test_answers_are_asked_for_once(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = teacher(bundle)
    task = whole.assembly.task
    features = EncodedExamples(task, examples()).features
    store_answers(whole.asked([LOGITS]), features, task.stack, tmp_path / "answers", batch_size=4)

    def never(*arguments: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr(teachers.AskedTeacher, "__call__", never)
    assert isinstance(
        store_answers(whole.asked([LOGITS]), features, task.stack, tmp_path / "answers", batch_size=4), StoredAnswers
    )


def test_the_key_knows_the_weights_the_texts_and_the_features(bundle: Path, tmp_path: Path) -> None:
    own, other = teacher(bundle), teacher(artifacts.model_folder("ernie", tmp_path / "other"))
    keys = [own.identity([LOGITS], "a"), own.identity([LOGITS, HIDDEN], "a"), own.identity([LOGITS], "b")]
    assert len({*keys, other.identity([LOGITS], "a")}) == 4
    assert own.identity([HIDDEN, LOGITS], "a") == keys[1]


RECIPE = """\
version: 1
extends: bert/sst2.yaml
data: {{limit: 12}}
distill:
  student: {{family: {family}}}
  stages:
    only: {{strategy: {strategy}}}
tiny:
  distill:
    stages:
      only: {{train: {{max_steps: 2}}}}
"""


@pytest.mark.parametrize(
    ("family", "strategy"), [("electra", "logits"), ("tinybert", "uniform"), ("ernie", "minilmv2")]
)
def test_students_of_other_families(bundle: Path, family: str, strategy: str, tmp_path: Path) -> None:
    """A bundle as teacher; the student has its tokens, whatever family it is of."""
    (tmp_path / "own.yaml").write_text(RECIPE.format(family=family, strategy=strategy))
    loaded = load_recipe(str(tmp_path / "own.yaml"), tiny=True)
    distill(loaded, tmp_path / "run", bundle)
    assert load_config(tmp_path / "run" / "best").family == family
    table = json.loads((tmp_path / "run" / "result.json").read_text())["table"]
    assert [row["model"] for row in table] == ["teacher", "student"]
