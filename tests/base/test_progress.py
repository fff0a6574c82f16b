"""Progress is for terminals."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

CODE = """
from zoo_cli.base.progress import progress
with progress("Training", 4, 1, ("loss",)) as show:
    for step in range(3):
        show(1, loss=f"0.{step}")
"""


def test_quiet_without_a_terminal() -> None:
    result = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_shown_on_a_terminal() -> None:
    own, other = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen([sys.executable, "-c", CODE], stderr=other, stdout=subprocess.PIPE, env=environment)
    os.close(other)
    shown = b""
    try:
        while chunk := os.read(own, 4096):
            shown += chunk
    except OSError:  # the other end was closed
        pass
    os.close(own)
    assert process.communicate()[0] == b"" and process.returncode == 0
    assert b"Training" in shown and b"4/4" in shown and b"loss 0.2" in shown
