"""Real processes for tests, none of which outlives its test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 300  # for one process on a busy machine


class Processes:
    """Starts programs of this folder, `tests.engine.toy` unless told otherwise."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self, *arguments: object, launch: Path | None = None, name: str = "toy", count: int = 2
    ) -> subprocess.Popen[str]:
        """Start one process, or with `launch`, a folder for logs, several that train together."""
        program = ["-m", f"tests.engine.{name}"]
        if launch is not None:
            script = str(ROOT / "tests" / "engine" / f"{name}.py")
            launcher = ["-m", "paddle.distributed.launch", "--nproc_per_node", str(count), "--log_dir", str(launch)]
            program = [*launcher, script]
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", *program, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """Exit code and what was written to standard error."""
        _, errors = process.communicate(timeout=SECONDS)
        return process.returncode, errors

    def run(self, *arguments: object, launch: Path | None = None, name: str = "toy", count: int = 2) -> tuple[int, str]:
        return self.finish(self.start(*arguments, launch=launch, name=name, count=count))

    def close(self) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    started = Processes()
    yield started
    started.close()
