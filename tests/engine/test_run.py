"""Which run folders open, and what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import verify_manifest
from zoo_cli.engine.run import Run, flatten, open_run
from zoo_cli.recipe.yaml12 import load_yaml

RECIPE = "version: 1\nmodel:\n  family: bert\ntrain:\n  epochs: 3.0\n  log_steps: 10\nexport:\n  opset: 17\n"


def code_of(folder: Path, recipe: str = RECIPE, resume: bool = False, force: bool = False) -> str:
    with pytest.raises(UsageError) as caught:
        open_run(folder, recipe, resume=resume, force=force)
    assert not (folder / ".lock").exists() or caught.value.code == "run-busy"
    return caught.value.code


def begin(folder: Path) -> Run:
    with open_run(folder, RECIPE) as run:
        run.go_on_from(0, 0)
        return run


def test_a_new_run_has_its_recipe(tmp_path: Path) -> None:
    run = begin(tmp_path / "runs" / "bert" / "x")
    assert load_yaml((run.folder / "recipe.yaml").read_text(), "r")["train"]["epochs"] == 3.0


def test_an_unfinished_run_needs_resume_or_force(tmp_path: Path) -> None:
    begin(tmp_path)
    assert code_of(tmp_path) == "run-unfinished"
    with open_run(tmp_path, RECIPE, resume=True):
        pass
    (tmp_path / "checkpoints" / "step-000010").mkdir()
    with open_run(tmp_path, RECIPE, force=True):
        assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_finished_run_needs_force(tmp_path: Path) -> None:
    run = begin(tmp_path)
    run.finish({"steps": 3})
    assert code_of(tmp_path) == "run-finished"
    assert code_of(tmp_path, resume=True) == "run-finished"
    with open_run(tmp_path, RECIPE, force=True):
        assert not (tmp_path / "result.json").exists()


def test_force_deletes_what_a_run_writes_and_nothing_else(tmp_path: Path) -> None:
    begin(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "diverged-batch.npz").write_bytes(b"")
    with open_run(tmp_path, RECIPE, force=True):
        assert (tmp_path / "notes.txt").read_text() == "mine"
        assert not (tmp_path / "diverged-batch.npz").exists()


def test_a_folder_with_other_files_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    assert code_of(tmp_path) == code_of(tmp_path, force=True) == code_of(tmp_path, resume=True) == "not-a-run"


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    with open_run(tmp_path, RECIPE):
        assert code_of(tmp_path, resume=True) == "run-busy"
        assert code_of(tmp_path, force=True) == "run-busy"


def test_a_resume_may_change_free_keys_and_sections_of_later_verbs(tmp_path: Path) -> None:
    begin(tmp_path)
    changed = RECIPE.replace("log_steps: 10", "log_steps: 5").replace("opset: 17", "opset: 19")
    with open_run(tmp_path, changed, resume=True):
        assert (tmp_path / "recipe.yaml").read_text() == changed


@pytest.mark.parametrize(
    "old, new, shown",
    [
        ("epochs: 3.0", "epochs: 4.0", "train.epochs: 3.0 -> 4.0"),
        ("  family: bert", "  family: bert\n  init: x", "model.init: None -> 'x'"),
    ],
)
def test_a_resume_shows_what_must_not_change(tmp_path: Path, old: str, new: str, shown: str) -> None:
    begin(tmp_path)
    with pytest.raises(UsageError) as caught:
        open_run(tmp_path, RECIPE.replace(old, new), resume=True)
    assert caught.value.code == "recipe-changed" and shown in str(caught.value)
    assert (tmp_path / "recipe.yaml").read_text() == RECIPE


def test_a_verb_names_the_sections_that_it_reads(tmp_path: Path) -> None:
    begin(tmp_path)
    with pytest.raises(UsageError):
        open_run(tmp_path, RECIPE.replace("17", "19"), resume=True, sections=("train", "export"))


def test_only_the_first_process_of_a_launch_opens_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_run(tmp_path, RECIPE):
        monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
        assert open_run(tmp_path, RECIPE).checkpoints == tmp_path / "checkpoints"


def test_reports_go_back_with_the_run(tmp_path: Path) -> None:
    run = begin(tmp_path)
    for step in (5, 10, 15):
        run.report("train", step, {"loss": step / 10})
        run.report("dev", step, {"f1": 0.5, "PER": {"f1": float("nan")}})
    run.go_on_from(10, 5)
    assert [(row["kind"], row["step"]) for row in run.rows()] == [("train", 5), ("dev", 5), ("train", 10)]
    assert run.rows()[1]["PER"] == {"f1": None}


def test_tensorboard_files_hold_the_reports(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with open_run(tmp_path, RECIPE) as run:
        run.go_on_from(0, 0)
        run.report("train", 1, {"loss": 0.5})
        run.report("dev", 1, {"PER": {"f1": 0.25}})
    content = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"train/loss" in content and b"dev/PER.f1" in content


def test_the_best_model_is_a_folder_with_a_manifest(tmp_path: Path) -> None:
    run = begin(tmp_path)
    for score in (0.1, 0.9):
        run.save_best(lambda folder, score=score: (folder / "weights").write_text(str(score)), {"f1": score})  # type: ignore[misc]
    assert (run.best / "weights").read_text() == "0.9"
    assert json.loads((run.best / "metrics.json").read_text()) == {"f1": 0.9}
    assert set(verify_manifest(run.best)["files"]) == {"weights", "metrics.json", "recipe.yaml"}
    assert (run.best / "recipe.yaml").read_text() == RECIPE


def test_tables_become_dotted_names() -> None:
    assert flatten({"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": {}}) == {"a": 1, "b.c": 2, "b.d.e": 3, "f": {}}
