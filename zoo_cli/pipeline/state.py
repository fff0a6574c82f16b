"""What `zoo run` remembers of its steps: `run.json` in the folder of the run, written anew at every change."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import read_json, sha256_file, write_json
from zoo_cli.pipeline.facts import Facts, Hashes
from zoo_cli.pipeline.steps import Step, answer_file

STATE = "run.json"
_FORMAT = 1

RecordState = Literal["running", "done", "failed", "stopped"]


@dataclass
class Record:
    """What became of a step.

    Args:
        state: ``running`` stays behind where the process was killed.
        facts: what its output depends on.
        output: hash of its output.
        command: words behind ``zoo``.
        exit_code: of its process.
        error: why it failed.
        seconds: wall time of its last whole run, over all its processes if it was resumed.
        peak_megabytes: largest memory of its process.
        disk_bytes: size of what it left.
    """

    state: RecordState
    facts: Facts
    output: str | None = None
    command: list[str] = field(default_factory=list)
    exit_code: int | None = None
    error: dict[str, Any] | None = None
    seconds: float = 0.0
    peak_megabytes: float = 0.0
    disk_bytes: int = 0


class State:
    """The records of a run's steps.

    Args:
        root: folder of the run.

    Raises:
        ArtifactError: the file is broken or of a newer release (`broken-state`).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.records: dict[str, Record] = {}
        self.hashes = Hashes()
        path = root / STATE
        if not path.is_file():
            return
        stored = read_json(path)
        try:
            if stored["format"] != _FORMAT:
                raise ValueError(stored["format"])
            self.records = {name: Record(**entry) for name, entry in stored["steps"].items()}
            self.hashes = Hashes(stored["hashes"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                "broken-state",
                "the file does not say what was done, or is of a newer release",
                at=Location.of(path),
                fix="remove it; `zoo run --from-step` then takes what is there",
            ) from error

    def save(self, recipe: str, overrides: list[str], tiny: bool) -> None:
        """Write the file.

        Args:
            recipe: name or path, as it was given.
            overrides: of the recipe.
            tiny: whether this is a tiny run.
        """
        write_json(
            self.root / STATE,
            {
                "format": _FORMAT,
                "recipe": recipe,
                "overrides": overrides,
                "tiny": tiny,
                "steps": {name: asdict(record) for name, record in self.records.items()},
                "hashes": self.hashes.known,
            },
        )

    def output(self, step: Step) -> str | None:
        """Hash of what the step left, or None where it is not finished."""
        return sha256_file(step.witness(self.root)) if step.finished(self.root) else None


def clear(root: Path, step: Step) -> None:
    """Remove what a step left; a kill leaves it whole or gone, not in part."""
    for path in (root / step.name, answer_file(root, step.name)):
        if path.is_dir():
            aside = path.with_name(f".partial-{uuid.uuid4().hex[:8]}-{path.name}")
            path.rename(aside)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files of a folder; a file that another process removes meanwhile counts nothing."""
    files = [path] if path.is_file() else [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
    size = 0
    for file in files:
        with suppress(FileNotFoundError):
            size += file.stat().st_size
    return size
