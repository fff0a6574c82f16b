"""`zoo sweep`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import UsageError, ZooError
from zoo_cli.pipeline.sweep import candidates, combinations, plan, short_name

RATES = "train.learning_rate=1e-3,1e-2"
SHORT = ("train.batch_size=4", "train.max_steps=4", "train.eval_steps=2")
FOLDER = Path("runs/bert/sst2.tiny/sweep")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-5", ["1e-5"]),
        ("1e-5, 2e-5", ["1e-5", "2e-5"]),
        ("", [""]),
        ("[a.json,b.json],[c.json]", ["[a.json,b.json]", "[c.json]"]),
        ("{a: [1, 2], b: 3},null", ["{a: [1, 2], b: 3}", "null"]),
        ("\"a,b\",'it''s, c',d", ["a,b", "it's, c", "d"]),
        ("it's,that's", ["it's", "that's"]),
        ("['a]', b],c", ["['a]', b]", "c"]),
        ("a[b,c]", ["a[b", "c]"]),
    ],
)
def test_candidates(text: str, expected: list[str]) -> None:
    assert candidates(text) == expected


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"))), min_size=1))
def test_every_text_can_be_a_candidate(texts: list[str]) -> None:
    assert candidates(",".join("'" + text.replace("'", "''") + "'" for text in texts)) == texts


@pytest.mark.parametrize(("text", "code"), [("[a,b", "open-bracket"), ("1,,2", "empty-candidate")])
def test_no_candidates(text: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        candidates(text)
    assert caught.value.code == code


def test_combinations() -> None:
    found = combinations(["a.x=1,2", "b=7", "a.y=[3,4],5"])
    assert [values for values, _ in found] == [
        {"a.x": "1", "a.y": "[3,4]"},
        {"a.x": "1", "a.y": "5"},
        {"a.x": "2", "a.y": "[3,4]"},
        {"a.x": "2", "a.y": "5"},
    ]
    assert found[1][1] == ["a.x=1", "b=7", "a.y=5"]


def test_names_are_short_and_apart() -> None:
    assert short_name({"train.learning_rate": "1e-5", "train.seed": "2"}) == "learning_rate=1e-5__seed=2"
    assert short_name({"model.init": "a", "distill.init": "b"}) == "model.init=a__distill.init=b"
    values = ["a/b", "a b", "a-b", "", "-", "中文", "x" * 300, "x" * 301, "../.."]
    names = [short_name({"model.init": value}) for value in values]
    assert len(set(names)) == len(values)
    for name in [*names, short_name({f"train.key{number}": "y" * 40 for number in range(20)})]:
        assert "/" not in name
        assert len(name) < 200


@pytest.mark.parametrize(
    ("overrides", "code"),
    [
        (["train.learning_rate=1e-5"], "no-candidates"),
        (["train.learning_rate"], "override-syntax"),
        (["train.seed=1,2", "train.seed=3"], "repeated-key"),
        (["train.learning_rate=1e-5,0.00001"], "same-combination"),
        (["train.learning_rate=1e-5,much", RATES.replace("learning_rate", "warmup_ratio")], "wrong-value"),
        (["train.lerning_rate=1e-5,2e-5"], "unknown-key"),
        (["train.metric=loss,accuracy"], "several-metrics"),
    ],
)
def test_what_cannot_be_swept(overrides: list[str], code: str) -> None:
    with pytest.raises(ZooError) as caught:
        plan("bert/sst2.yaml", overrides, lambda first: Path("x"), tiny=True)
    assert caught.value.code == code


def _sweep(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "zoo_cli", "sweep", "-r", "bert/sst2.yaml", "--tiny", *arguments]
    environment = {**os.environ, "ZOO_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=300)
    return process.returncode, output, errors


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _states(report: dict[str, Any]) -> dict[str, str]:
    return {run["name"]: run["state"] for run in report["runs"]}


def test_a_combination_that_fails_stops_no_other(tmp_path: Path) -> None:
    rates = "train.learning_rate=1e30,1e-3"
    code, output, errors = _finished(_sweep(tmp_path, rates, *SHORT, "--json"))
    assert code == 8, errors
    report = json.loads(output)
    assert report == json.loads((tmp_path / FOLDER / "sweep.json").read_text())
    assert _states(report) == {"learning_rate=1e-3": "done", "learning_rate=1e30": "failed"}
    assert report["best"] == report["runs"][0]
    assert report["best"]["run"] == str(FOLDER / "learning_rate=1e-3")
    assert "nan" in report["runs"][1]["error"]
    metrics = json.loads((tmp_path / report["best"]["run"] / "best" / "metrics.json").read_text())
    assert metrics[report["metric"]] == report["best"]["score"]

    code, _, errors = _finished(_sweep(tmp_path, rates, *SHORT))
    assert (code, "sweep-exists" in errors) == (2, True)
    # A finished run of another recipe is not taken for one of this.
    code, _, errors = _finished(_sweep(tmp_path, rates, *SHORT, "train.weight_decay=0.5", "--resume"))
    assert (code, "recipe-changed" in errors) == (2, True)


def test_killed_and_stopped_runs_go_on(tmp_path: Path) -> None:
    first, second = (tmp_path / FOLDER / f"learning_rate={rate}" for rate in ("1e-3", "1e-2"))
    steps = ("train.max_steps=80", "train.eval_steps=40", "train.save_steps=4", "train.log_steps=1")
    slow = (RATES, "train.batch_size=4", *steps)

    process = _sweep(tmp_path, *slow)
    _until(lambda: any((first / "checkpoints").glob("step-*")))
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)
    _until(lambda: any((second / "checkpoints").glob("step-*")))
    process.send_signal(signal.SIGTERM)
    code, _, errors = _finished(process)
    assert code == 75, errors
    report = json.loads((tmp_path / FOLDER / "sweep.json").read_text())
    assert _states(report) == {first.name: "failed", second.name: "stopped"}
    assert report["runs"][0]["error"] == "killed by SIGKILL"
    before = [(folder / "metrics.jsonl").read_text().splitlines()[0] for folder in (first, second)]

    code, output, errors = _finished(_sweep(tmp_path, *slow, "--resume", "--jobs", "2"))
    assert code == 0, errors
    header, best, other = (line.split("\t") for line in output.splitlines())
    assert header == ["train.learning_rate", "score", "best step", "seconds", "state", "run"]
    assert float(best[1]) >= float(other[1])
    assert f"best: {best[-1]} " in errors
    for folder, line in zip((first, second), before, strict=True):
        assert json.loads((folder / "result.json").read_text())["steps"] == 80
        assert (folder / "metrics.jsonl").read_text().splitlines()[0] == line  # with its time: not a new run

    times = [(folder / "result.json").stat().st_mtime_ns for folder in (first, second)]
    code, output, errors = _finished(_sweep(tmp_path, *slow, "--resume"))
    assert code == 0, errors
    assert output.splitlines()[1].split("\t") == best
    assert times == [(folder / "result.json").stat().st_mtime_ns for folder in (first, second)]


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    code, output, errors = _finished(_sweep(tmp_path, RATES, "--dry-run", "--json"))
    assert code == 0, errors
    assert [run["overrides"] for run in json.loads(output)["runs"]] == [
        ["train.learning_rate=1e-3"],
        ["train.learning_rate=1e-2"],
    ]
    assert not (tmp_path / "runs").exists()


def test_inputs_are_looked_for_first(tmp_path: Path) -> None:
    code, _, errors = _finished(_sweep(tmp_path, "data.train=sample:sst2/train.tsv,none.tsv"))
    assert code == 3
    assert "none.tsv" in errors
    assert not (tmp_path / "runs").exists()


def test_verb_without_its_section() -> None:
    from zoo_cli.cli.sweep import Verb, sweep

    with pytest.raises(ZooError) as caught:
        sweep("bert/sst2.yaml", [RATES], verb=Verb.distill, tiny=True, dry_run=True)
    assert caught.value.code == "no-distillation"
