"""Runs that stop behind their first checkpoint, as if killed there, and what runs report."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.engine import loop  # noqa: E402


def stop_behind_checkpoint(patch: pytest.MonkeyPatch, run: Callable[[], None]) -> None:
    """Start a run that goes no further than its first checkpoint."""
    save = loop.save_checkpoint

    def stop(*arguments: Any) -> None:
        save(*arguments)
        raise InterruptedError

    with patch.context() as patched:
        patched.setattr(loop, "save_checkpoint", stop)
        with pytest.raises(InterruptedError):
            run()


def reports(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` of one kind."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]
