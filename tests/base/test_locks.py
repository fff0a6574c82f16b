"""Locks between processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo_cli.base.locks import exclusive

HOLD = """
import sys
from pathlib import Path
from zoo_cli.base.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()  # until it is killed
"""
COUNT = """
import sys
from pathlib import Path
from zoo_cli.base.locks import exclusive
counter = Path(sys.argv[2])
for _ in range(100):
    with exclusive(Path(sys.argv[1])):
        value = int(counter.read_text())
        counter.write_text(str(value + 1))
"""


def test_nobody_else_while_held(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    with exclusive(lock), pytest.raises(BlockingIOError), exclusive(lock, wait=False):
        pass
    assert not lock.exists()
    with exclusive(lock, wait=False):
        pass


def test_freed_by_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError), exclusive(tmp_path / "lock"):
        raise KeyError
    with exclusive(tmp_path / "lock", wait=False):
        pass


def test_freed_by_kill_9(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(BlockingIOError), exclusive(lock, wait=False):
        pass
    process.kill()
    process.communicate()
    with exclusive(lock, wait=False):
        pass


def test_three_processes_lose_no_update(tmp_path: Path) -> None:
    (tmp_path / "counter").write_text("0")
    arguments = [sys.executable, "-c", COUNT, str(tmp_path / "lock"), str(tmp_path / "counter")]
    processes = [subprocess.Popen(arguments) for _ in range(3)]
    assert [process.wait(300) for process in processes] == [0, 0, 0]
    assert (tmp_path / "counter").read_text() == "300"
