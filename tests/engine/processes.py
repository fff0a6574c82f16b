"""Starting the toy program of `tests.engine.toy` as a real process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(*arguments: object, launcher: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[str]:
    """Start the program; `launcher` are arguments of `python` before its name, by default ``-m``."""
    command = [sys.executable, "-W", "ignore", *(launcher or ("-m", "tests.engine.toy"))]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was written to standard error."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors
