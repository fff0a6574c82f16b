"""Whatever goes wrong, the user gets a sentence, a code and an exit code; a traceback only with `--debug`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = """
import sys
from zoo_cli.base.errors import DataError, Location
from zoo_cli.cli import app as module
def fail(**options):
    raise {what}
module.app = fail
sys.argv = ["zoo", *sys.argv[1:]]
module.main()
"""


def fail(what: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "ZOO_DEBUG"}
    return subprocess.run(
        [sys.executable, "-c", CODE.format(what=what), *arguments],
        env={**environment, "PYTHONUTF8": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("what", "status", "said"),
    [
        ("RuntimeError('surprise')", 1, "[bug]"),
        ("DataError('no-text', 'the request has no text', at=Location('a.txt', 3))", 3, "a.txt:3"),
        ("OSError(28, 'No space left on device', 'a.txt')", 5, "a.txt"),
        ("RuntimeError('while serializing: I/O error: (os error 28)')", 5, "error: No space left on device [system]"),
        ("MemoryError()", 7, "[out-of-memory]"),
        ("KeyboardInterrupt()", 130, ""),
    ],
)
def test_failures_end_in_a_sentence(what: str, status: int, said: str) -> None:
    done = fail(what)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    if said:
        error = json.loads(fail(what, "--json").stdout)["error"]
        assert error["exit_code"] == status
        assert "Traceback" in fail(what, ZOO_DEBUG="1").stderr


def test_failures_speak_chinese() -> None:
    done = fail("RuntimeError('surprise')", ZOO_LANG="zh")
    assert done.returncode == 1
    assert "错误" in done.stderr
    assert "[bug]" in done.stderr
