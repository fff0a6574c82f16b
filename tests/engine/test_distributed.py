"""Two processes make the steps that one makes with twice the forward passes."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.engine.conftest import SECONDS, Processes
from tests.engine.toy import accuracy, build, fit
from zoo_cli.engine.distributed import World
from zoo_cli.recipe.schema import TrainSection

OPTIONS = {"max_steps": 10, "batch_size": 8, "learning_rate": 0.01, "max_grad_norm": 0.5, "weight_decay": 0.1}


def difference(first: Path, second: Path) -> float:
    one, two = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


def overrides(**values: object) -> list[str]:
    return [f"{name}={value}" for name, value in {**OPTIONS, **values}.items()]


def worker_logs(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.glob("workerlog.*"))


def test_two_processes_equal_one_with_twice_the_passes(tmp_path: Path, processes: Processes) -> None:
    """Seven passes are an epoch: in its last step the second process has none."""
    logs = tmp_path / "logs"
    code, errors = processes.run(tmp_path / "two", *overrides(batch_size=9), launch=logs)
    assert code == 0, errors + worker_logs(logs)
    model = build()
    one = TrainSection(**{**OPTIONS, "gradient_accumulation": 2, "batch_size": 9})
    fit(tmp_path / "one", one, model, evaluate=lambda: accuracy(model), metric="accuracy")
    last = Path("checkpoints") / "step-000010"
    assert difference(tmp_path / "two" / last, tmp_path / "one" / last) < 1e-6
    assert not (tmp_path / "two" / ".lock").exists()


def test_sigterm_stops_both_processes_at_one_step(tmp_path: Path, processes: Processes) -> None:
    run, logs = tmp_path / "two", tmp_path / "logs"
    settings = overrides(save_steps=2, max_steps=100_000)
    process = processes.start(run, *settings, "--pause", 20, launch=logs)
    deadline = time.monotonic() + SECONDS
    while not (run / "checkpoints" / "step-000004").exists():
        assert time.monotonic() < deadline, worker_logs(logs)
        time.sleep(0.005)
    process.send_signal(signal.SIGTERM)
    processes.finish(process)
    steps = re.findall(r"stopped by SIGTERM after step (\d+)", worker_logs(logs))
    assert len(steps) == 2 and len(set(steps)) == 1
    assert (run / "checkpoints" / f"step-{int(steps[0]):06d}" / "MANIFEST.json").exists()


def test_a_lone_process_has_nothing_to_exchange() -> None:
    world = World()
    assert world.leads
    assert world.sum([1.0, 2.5]) == [1.0, 2.5]
    assert world.from_leader([3.0]) == [3.0]
    assert World.join() == world


@pytest.mark.parametrize("rank, leads", [(0, True), (1, False)])
def test_the_first_process_leads(rank: int, leads: bool) -> None:
    assert World(rank, 2).leads is leads
