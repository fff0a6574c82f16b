"""Pretraining in two processes: the steps of one with the doubled batch; a killed worker loses nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.engine.conftest import ROOT, SECONDS
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.engine.pretrain import pretrain  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402

STEPS = 10
OPTIONS = (
    "train.learning_rate=1.0e-4",
    f"train.max_steps={STEPS}",
    "train.eval_steps=100",
    "train.save_steps=2",
)
LAST = Path("checkpoints", f"step-{STEPS:06d}", "model.safetensors")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`zoo pretrain` in two processes of four texts each."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "zoo_cli", "pretrain", "-r", "bert/pretrain.yaml", "--tiny", "--nproc", "2"]
    return subprocess.Popen(
        [*command, *OPTIONS, "train.batch_size=4", "--output-dir", str(folder), *arguments],
        cwd=folder.parent,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def worker(folder: Path, rank: int) -> int | None:
    """Process id of a worker, if it is there."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (place / "cmdline").read_bytes()
            variables = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(folder).encode() in arguments and f"PADDLE_TRAINER_ID={rank}".encode() in variables:
            return int(place.name)
    return None


def difference(first: Path, second: Path) -> float:
    one, two = load_file(first / LAST), load_file(second / LAST)
    assert one.keys() == two.keys()
    return max(float(np.abs(one[name] - two[name]).max()) for name in one)


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One process with batches of eight."""
    folder = tmp_path_factory.mktemp("one") / "run"
    pretrain(load_recipe("bert/pretrain", [*OPTIONS, "train.batch_size=8"], tiny=True), folder)
    return folder


def test_two_processes_equal_one_with_the_doubled_batch(doubled: Path, tmp_path: Path) -> None:
    process = start(tmp_path / "run")
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors
    assert difference(tmp_path / "run", doubled) < 1e-6


def test_passes_of_a_step_equal_the_doubled_batch(doubled: Path, tmp_path: Path) -> None:
    options = [*OPTIONS, "train.batch_size=2", "train.gradient_accumulation=4"]
    pretrain(load_recipe("bert/pretrain", options, tiny=True), tmp_path)
    assert difference(tmp_path, doubled) < 1e-6


def test_a_killed_worker_ends_the_job_and_one_process_goes_on(doubled: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run)
    deadline = time.monotonic() + SECONDS
    second = None
    # Known before there is a checkpoint, so that no step passes while it is looked for.
    while second is None or not any((run / "checkpoints").glob("step-*")):
        assert time.monotonic() < deadline and process.poll() is None
        second = second or worker(run, 1)
        time.sleep(0.005)
    os.kill(second, signal.SIGKILL)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 5
    assert re.search(r"process 1 was killed \(SIGKILL\)|another process than that of workerlog.0 was killed", errors)
    assert "--resume" in errors
    assert not (run / "result.json").exists()
    options = [*OPTIONS, "train.batch_size=4", "train.gradient_accumulation=2"]
    pretrain(load_recipe("bert/pretrain", options, tiny=True), run, resume=True)
    assert difference(run, doubled) < 1e-6
