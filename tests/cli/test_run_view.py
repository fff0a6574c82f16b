"""What `zoo run` shows."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from zoo_cli.cli.run_view import _table, announce_plan, conclude, duration, megabytes, watching
from zoo_cli.pipeline.execution import Event
from zoo_cli.pipeline.graph import Road
from zoo_cli.recipe.loading import load_recipe


@pytest.fixture
def road(tmp_path: Path) -> Road:
    return Road("bert/sst2.yaml", [], load_recipe("bert/sst2.yaml", tiny=True), tmp_path / "run")


def test_numbers() -> None:
    assert [duration(seconds) for seconds in (0.04, 59.9, 95, 7322)] == ["0.0 s", "59.9 s", "1 min 35 s", "2 h 2 min"]
    assert [megabytes(size) for size in (0, 0.5, 1234.5)] == ["", "0.5 MB", "1.2 GB"]


def test_the_drawn_table_has_all_steps() -> None:
    events = {"check": Event("check", "done", 2.0), "finetune": Event("finetune", "running", 65.0, "step 3 [x]")}
    screen = io.StringIO()
    Console(file=screen, width=100).print(_table(["check", "finetune", "export"], events))
    lines = screen.getvalue().splitlines()
    assert ["check" in lines[0], "1 min 5 s" in lines[1], "step 3 [x]" in lines[1], "export" in lines[2]] == [True] * 4


def test_lines_are_not_repeated_all_the_time(road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    events = [Event("check", "kept"), *[Event("finetune", "running", 0.5 * i) for i in range(5)]]
    events.append(Event("finetune", "done", 3.0))
    for as_json in (False, True):
        with watching(road, as_json) as watch:
            for event in events:
                watch(event)
    said = capsys.readouterr()
    assert len(said.err.splitlines()) == 3
    assert [json.loads(line)["state"] for line in said.out.splitlines()] == ["kept", "running", "done"]


def test_the_plan_and_the_end(road: Road, capsys: pytest.CaptureFixture[str]) -> None:
    announce_plan(road, as_json=False)
    said = capsys.readouterr()
    assert "never run" in said.out and "6 of 6 steps" in said.err and "GFLOP/s" in said.err
    step = {"step": "export", "state": "done", "seconds": 3.0, "peak_megabytes": 90.0, "disk_bytes": 5_000_000}
    conclude({"steps": [{**step, "result": "x"}], "bundle": "b", "report": "r", "receipt": "q"})
    said = capsys.readouterr()
    assert "5.0 MB" in said.out and "zoo serve b" in said.err
