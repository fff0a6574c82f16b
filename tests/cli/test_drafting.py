"""`zoo recipes new` and `zoo init`: what they write is valid, fits the data, and replaces nothing."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import locate
from zoo_cli.cli.app import app
from zoo_cli.cli.drafting import CHECKPOINTS, Draft
from zoo_cli.recipe.loading import load_recipe
from zoo_cli.registry import TASKS, task

SAMPLES = locate("sample:doccano").parent
FILES = sorted(path.relative_to(SAMPLES).as_posix() for path in SAMPLES.glob("*/train*.*"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(text: str) -> dict[str, object]:
    Path("made.yaml").write_text(text, encoding="utf-8")
    return load_recipe("made.yaml").recipe.model_dump()


def test_every_task_that_learns_has_a_checkpoint_that_serves_it() -> None:
    assert CHECKPOINTS.keys() == {name for name in TASKS if task(name).formats}
    for name, checkpoints in CHECKPOINTS.items():
        for checkpoint in checkpoints:
            load(Draft(task=name, init=checkpoint).text())


@pytest.mark.parametrize("name", FILES)
def test_drafts_of_all_samples_are_valid(name: str) -> None:
    load(Draft(str(SAMPLES / name)).text())


@pytest.mark.parametrize("name", [name for name in TASKS if task(name).formats])
def test_drafts_of_all_tasks_without_data_are_valid(name: str) -> None:
    assert load(Draft(task=name).text())["task"]["name"] == name  # type: ignore[index]


def test_schema_labels_and_development_file_come_from_the_data() -> None:
    shutil.copytree(SAMPLES / "cluener", "data")
    made = load(Draft("data/train.json").text())
    assert "position" in made["task"]["schema"]  # type: ignore[index]
    assert made["data"]["dev"] == ["data/dev.json"]  # type: ignore[index]
    assert made["data"]["dev_fraction"] == 0.0  # type: ignore[index]


def test_relations_become_a_nested_schema() -> None:
    made = load(Draft(str(SAMPLES / "doccano" / "train.jsonl")).text())
    assert {"人物": ["任职于", "出生地"]} in made["task"]["schema"]  # type: ignore[index]
    assert made["model"]["init"] == "uie-base"  # type: ignore[index]


def test_english_text_gets_an_english_checkpoint() -> None:
    assert load(Draft(str(SAMPLES / "sst2" / "train.tsv")).text())["model"]["init"] == "bert-base-uncased"  # type: ignore[index]


def test_what_is_said_wins_over_what_is_guessed() -> None:
    draft = Draft(str(SAMPLES / "msra" / "train.txt"), "extraction", "conll", "uie-nano")
    made = load(draft.text())
    assert (made["task"]["name"], made["data"]["format"], made["model"]["init"]) == ("extraction", "conll", "uie-nano")  # type: ignore[index]


@pytest.mark.parametrize("name", [name for name in TASKS if task(name).formats])
def test_comments_are_in_the_language_of_the_user(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {}
    for language in ("en", "zh"):
        monkeypatch.setenv("ZOO_LANG", language)
        texts[language] = Draft(task=name, init="scratch").text()
    assert load(texts["zh"]) == load(texts["en"])
    comments = [line for line in texts["zh"].splitlines() if re.match(r" *# [^:]*$|.*。$", line)]
    assert len(comments) > 20
    assert [line for line in comments if not re.search(r"[\u4e00-\u9fff]", line)] == []


def test_scratch_has_a_family_and_a_vocabulary() -> None:
    made = load(Draft(task="sequence_classification", init="scratch").text())
    assert made["model"]["family"] == "ernie"  # type: ignore[index]
    assert load(Draft(task="sequence_classification", family="bert").text())["model"]["family"] == "bert"  # type: ignore[index]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UsageError, match="token_classification"):
        Draft(task="token_clasification").text()


def test_new_does_not_replace() -> None:
    run = CliRunner()
    assert run.invoke(app, ["recipes", "new", "my.yaml"]).exit_code == 0
    before = Path("my.yaml").read_bytes()
    assert isinstance(run.invoke(app, ["recipes", "new", "my.yaml", "--task", "spo"]).exception, UsageError)
    assert Path("my.yaml").read_bytes() == before
    assert run.invoke(app, ["recipes", "new", "my.yaml", "--task", "spo", "--force"]).exit_code == 0


def test_init_makes_a_project_once(folder: Path) -> None:
    run = CliRunner()
    shutil.copytree(SAMPLES / "tnews", "mine/data")
    assert run.invoke(app, ["init", "mine"]).exit_code == 0
    mine = folder / "mine"
    assert {path.name for path in mine.iterdir()} == {"data", "recipe.yaml", "README.md", ".gitignore"}
    os.chdir(mine)
    recipe = load_recipe("recipe.yaml").recipe
    assert recipe.data.train == ["data/train.json"]
    assert recipe.data.dev == ["data/dev.json"]
    os.chdir(folder)
    (mine / "README.md").write_text("my own words")
    (mine / ".gitignore").unlink()
    assert run.invoke(app, ["init", "mine", "--task", "spo"]).exit_code == 0
    assert (mine / "README.md").read_text() == "my own words"
    assert "label_desc" in (mine / "recipe.yaml").read_text()
    assert (mine / ".gitignore").is_file()


def test_init_refuses_a_file() -> None:
    Path("mine").write_text("")
    result = CliRunner().invoke(app, ["init", "mine"])
    assert isinstance(result.exception, UsageError)


def test_new_asks_in_a_terminal(folder: Path) -> None:
    ours, theirs = pty.openpty()
    answers = f"{SAMPLES / 'msra' / 'train.txt'}\n\nextraction\nuie-mini\n"
    os.write(ours, answers.encode())
    done = subprocess.run(
        [sys.executable, "-m", "zoo_cli", "recipes", "new", "asked.yaml"],
        stdin=theirs,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ZOO_LANG": "en"},
    )
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert "Training file" in done.stderr
    recipe = load_recipe("asked.yaml").recipe
    assert (recipe.data.format, recipe.task["name"], recipe.model.init) == ("bio", "extraction", "uie-mini")
