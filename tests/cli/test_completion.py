"""Completion as bash, zsh and fish ask for it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

CODE = "import sys; sys.argv = ['zoo']; from zoo_cli.cli.app import app; app(prog_name='zoo')"


def complete(shell: str, words: str) -> list[str]:
    """What a shell gets for the last word of a line."""
    variables = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
        "fish": {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "_ZOO_COMPLETE": f"complete_{shell}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    return [word.strip("\"'():,") for line in done.stdout.splitlines() for word in line.split()]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("zoo finetune --recipe uie/", "uie/msra.yaml"),
        ("zoo recipes show ernie-3.0/tn", "ernie-3.0/tnews.yaml"),
        ("zoo weights fetch uie-na", "uie-nano"),
        ("zoo recipes new x.yaml --init uie-m", "uie-mini"),
    ],
)
def test_names_are_completed(shell: str, words: str, expected: str) -> None:
    found = complete(shell, words)
    assert expected in found
    assert not any(word.startswith("bert/") for word in found)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("zoo fine", "finetune"),
        ("zoo data fetch tn", "tnews"),
        ("zoo recipes list --task token", "token_classification"),
        ("zoo recipes new x.yaml --format doc", "doccano"),
        ("zoo recipes new x.yaml --family ernie_", "ernie_doc"),
        ("zoo explain bad-of", "bad-offset"),
    ],
)
def test_commands_data_sets_tasks_formats_and_codes(words: str, expected: str) -> None:
    assert expected in complete("bash", words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_can_be_shown(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={**os.environ, "_ZOO_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "_ZOO_COMPLETE" in done.stdout
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=done.stdout, text=True, check=False).returncode == 0
