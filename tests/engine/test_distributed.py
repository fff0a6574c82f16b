"""Two processes make the steps that one makes with twice the forward passes."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.engine.processes import ROOT, finish, start
from tests.engine.toy import accuracy, build, fit
from zoo_cli.engine.distributed import World
from zoo_cli.recipe.schema import TrainSection

# 60 rows in batches of 8 are 8 forward passes an epoch; in groups of 3 x 2 the second rank has nothing in some steps.
OPTIONS = {"max_steps": 10, "batch_size": 8, "learning_rate": 0.01, "max_grad_norm": 0.5, "weight_decay": 0.1}


def launch(logs: Path) -> tuple[str, ...]:
    arguments = ("--nproc_per_node", "2", "--log_dir", str(logs), str(ROOT / "tests" / "engine" / "toy.py"))
    return ("-m", "paddle.distributed.launch", *arguments)


def difference(first: Path, second: Path) -> float:
    one, two = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


def overrides(**values: object) -> list[str]:
    return [f"{name}={value}" for name, value in {**OPTIONS, **values}.items()]


def test_two_processes_equal_one_with_twice_the_passes(tmp_path: Path) -> None:
    """Three passes for each of two processes: at the end of an epoch of eight, one of them gets less, then nothing."""
    settings = overrides(gradient_accumulation=1, batch_size=9)  # seven passes: the last step has one
    code, errors = finish(start(tmp_path / "two", *settings, launcher=launch(tmp_path / "logs")))
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("workerlog.*"))
    assert code == 0, errors + logs
    model = build()
    one = TrainSection(**{**OPTIONS, "gradient_accumulation": 2, "batch_size": 9})
    fit(tmp_path / "one", one, model, evaluate=lambda: accuracy(model), metric="accuracy")
    last = Path("checkpoints") / "step-000010"
    assert difference(tmp_path / "two" / last, tmp_path / "one" / last) < 1e-6
    assert not (tmp_path / "two" / ".lock").exists()


def test_sigterm_to_one_process_stops_both_and_a_resume_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "two"
    process = start(run, *overrides(save_steps=2, max_steps=400), "--pause", 30, launcher=launch(tmp_path / "logs"))
    deadline = time.monotonic() + 90
    while not (run / "checkpoints" / "step-000004").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    finish(process)
    logs = "".join(path.read_text() for path in (tmp_path / "logs").glob("workerlog.*"))
    assert "checkpoint is saved" in logs
    assert not (run / "result.json").exists()


def test_a_lone_process_has_nothing_to_exchange() -> None:
    world = World()
    assert world.leads
    assert world.sum([1.0, 2.5]) == [1.0, 2.5]
    assert world.from_leader([3.0]) == [3.0]
    assert World.join() == world


@pytest.mark.parametrize("rank, leads", [(0, True), (1, False)])
def test_the_first_process_leads(rank: int, leads: bool) -> None:
    assert World(rank, 2).leads is leads
