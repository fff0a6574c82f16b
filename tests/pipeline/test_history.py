"""`zoo runs`: list, show, compare, clean."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zoo_cli.base.errors import ArtifactError
from zoo_cli.base.files import write_json
from zoo_cli.base.locks import exclusive
from zoo_cli.cli.runs import app
from zoo_cli.pipeline.history import (
    compare,
    comparison_page,
    describe,
    find_runs,
    find_waste,
    listed,
    short_names,
    show,
)


def training(folder: Path, rate: float = 1e-3, score: float | None = 0.5, rejected: bool = False) -> Path:
    (folder / "checkpoints" / "step-000002").mkdir(parents=True)
    (folder / "checkpoints" / "step-000002" / "model.safetensors").write_bytes(b"1" * 5000)
    (folder / "recipe.yaml").write_text(f"task: {{name: matching}}\ntrain: {{learning_rate: {rate}, epochs: 3.0}}\n")
    lines = [{"kind": "train", "step": 1, "loss": rate}, {"kind": "dev", "step": 2, "loss": 0.5, "f1": score}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if score is not None:
        result = {
            "steps": 2,
            "seconds": 1.5,
            "best_step": 2,
            "metric": "f1",
            "best_score": score,
            "stopped": "completed",
        }
        write_json(folder / "result.json", result)
        best = folder / ("rejected" if rejected else "best")
        write_json(best / "metrics.json", {"step": 2, "f1": score, "labels": {"x": {"f1": score}}})
    return folder


def bundle(folder: Path, name: str = "bundle") -> Path:
    receipt = {"task": "matching", "metric": "f1", "before": {"f1": 0.5}, "after": {"f1": 0.4}}
    write_json(folder / name / "receipt.json", receipt)
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    base = tmp_path / "runs" / "bert"
    training(base / "a" / "finetune")
    training(base / "b" / "finetune", rate=2e-3, score=0.6)
    training(base / "b" / "finetune" / "stages" / "one", score=0.6)  # of the run, not a run of its own
    training(base / "c" / "finetune", score=None)
    bundle(base / "a" / "export")
    bundle(base / "b" / "quantize", "rejected")
    (base / "mine").mkdir()
    (base / "mine" / "notes.txt").write_text("keep")
    return tmp_path / "runs"


def test_runs_are_found_and_described(root: Path) -> None:
    names = [path.relative_to(root / "bert").as_posix() for path in find_runs(root)]
    assert names == ["a/export", "a/finetune", "b/finetune", "b/quantize", "c/finetune"]
    states = {Path(entry.path).relative_to(root / "bert").as_posix(): entry for entry in listed(root)[0]}
    assert {name: entry.state for name, entry in states.items()} == {
        "a/export": "finished",
        "a/finetune": "finished",
        "b/finetune": "finished",
        "b/quantize": "rejected",
        "c/finetune": "unfinished",
    }
    entry = states["b/finetune"]
    assert (entry.task, entry.metric, entry.score, entry.steps, entry.kind) == ("matching", "f1", 0.6, 2, "training")
    assert entry.bytes > 10_000 and states["a/export"].score == 0.4
    with pytest.raises(ArtifactError):
        describe(root)
    (root / "bert" / "a" / "finetune" / "result.json").write_text("{")
    entries, faults = listed(root)
    assert len(entries) == 4 and len(faults) == 1


def test_comparison(root: Path) -> None:
    folders = [root / "bert" / name / "finetune" for name in "ab"]
    found = compare(folders)
    assert found["scores"] == {"step": [2, 2], "f1": [0.5, 0.6], "labels.x.f1": [0.5, 0.6]}
    assert found["recipe"] == {"train.learning_rate": [0.001, 0.002]}
    text = comparison_page(folders, found)
    assert "a train" in text and "b dev" in text and "train.learning_rate" in text and "<script" not in text
    assert short_names(folders) == ["a", "b"]
    assert short_names([Path("x"), Path("y/z")]) == ["x", "y/z"]
    assert short_names([Path("x")]) == ["x"]
    assert show(folders[0])["scores"]["f1"] == 0.5


def test_waste_of_finished_runs_is_removed_on_request(root: Path) -> None:
    waste = {Path(each.path).relative_to(root / "bert").as_posix(): each.bytes for each in find_waste(root)}
    assert set(waste) == {
        "a/finetune/checkpoints",
        "b/finetune/checkpoints",
        "b/finetune/stages/one/checkpoints",
        "b/quantize/rejected",
    }
    assert waste["a/finetune/checkpoints"] == 5000
    run = CliRunner().invoke
    assert run(app, ["clean", "--root", str(root), "--dry-run"]).exit_code == 0
    assert "remove them?" in run(app, ["clean", "--root", str(root)], input="n\n").output
    assert run(app, ["clean", "--root", str(root), "--json"]).exit_code != 0
    assert len(find_waste(root)) == 4
    with exclusive(root / "bert" / "b" / "finetune" / ".lock"):
        answer = run(app, ["clean", "--root", str(root), "--yes", "--json"])
    result = json.loads(answer.stdout.splitlines()[-1])
    assert result["busy"] == [str(root / "bert" / "b" / "finetune")] and result["freed"] >= 5000
    left = {Path(each.path).relative_to(root / "bert").parts[0] for each in find_waste(root)}
    assert left == {"b"} and (root / "bert" / "a" / "finetune" / "best" / "metrics.json").is_file()
    assert (root / "bert" / "c" / "finetune" / "checkpoints").is_dir()  # unfinished: it will be gone on with


def test_a_named_run_is_removed_but_for_what_is_not_known(root: Path) -> None:
    (root / "bert" / "a" / "finetune" / "own.txt").write_text("keep")
    write_json(root / "bert" / "a" / "run.json", {})
    (root / "bert" / "a" / "thesis.txt").write_text("keep")
    answer = CliRunner().invoke(app, ["clean", str(root / "bert" / "a"), str(root / "bert" / "b"), "--yes"])
    assert answer.exit_code == 0, answer.output
    left = sorted(path.relative_to(root / "bert").as_posix() for path in root.rglob("*.*") if path.is_file())
    assert [name for name in left if not name.startswith("c/")] == [
        "a/finetune/own.txt",
        "a/thesis.txt",
        "mine/notes.txt",
    ]
    with pytest.raises(ArtifactError):
        from zoo_cli.pipeline.history import run_files

        run_files(root / "bert" / "mine")


def test_a_whole_run_names_its_parts(root: Path) -> None:
    whole = next(root.rglob("b"))
    write_json(whole / "run.json", {})
    with pytest.raises(ArtifactError, match="parts: finetune"):
        describe(whole)
