"""`zoo runs`: what was produced, found by the files that runs leave."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import ArtifactError, Location, ZooError
from zoo_cli.base.files import read_json
from zoo_cli.base.html import page, section, table
from zoo_cli.base.locks import exclusive
from zoo_cli.base.messages import translate
from zoo_cli.engine.folders import (
    BEST,
    BUNDLE,
    CHECKPOINTS,
    LOCK,
    NEW,
    RECIPE,
    REJECTED,
    RESULT,
    flatten,
    read_rows,
)
from zoo_cli.engine.folders import OWN as TRAINING_FILES
from zoo_cli.engine.report import curves
from zoo_cli.pipeline.state import STATE, size_of
from zoo_cli.recipe.yaml12 import load_yaml
from zoo_cli.runtime.golden import RECEIPT

Kind = Literal["training", "bundle"]

_LEFT_BEHIND = ".partial-"
_OWN = (
    *TRAINING_FILES,
    *(BUNDLE, REJECTED, NEW, "qat"),
    *("stages", "baseline", "teacher", "teacher.json", "distillation.md", "labelled.jsonl", "labelled.jsonl.partial"),
    *("widths", "tables", "pruning.md"),
    LOCK,
)
"""All that verbs write into their run folders."""
_ROAD_FILES = ("steps", "split", STATE, "RECEIPT.md", "report.html", LOCK)
"""What `zoo run` writes beside the folders of its steps."""


@dataclass(frozen=True)
class Entry:
    """A run.

    Args:
        path: its folder.
        kind: whether it trained a model or wrote a bundle.
        state: ``finished``, ``unfinished``, or ``rejected`` by a gate.
        task: what it is for; None where that is not known.
        metric: name of its score.
        score: its score.
        steps: optimiser steps.
        seconds: time spent in them.
        bytes: size of its files.
        changed: when it was last written to, in seconds since 1970.
    """

    path: str
    kind: Kind
    state: str
    task: str | None
    metric: str | None
    score: float | None
    steps: int | None
    seconds: float | None
    bytes: int
    changed: float


def find_runs(root: Path) -> Iterator[Path]:
    """Folders of runs at or below a folder; what a run keeps inside of its own folder is not looked at."""
    if _is_run(root):
        yield root
        return
    if root.is_dir():
        for entry in sorted(root.iterdir()):
            if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
                yield from find_runs(entry)


def _is_run(folder: Path) -> bool:
    trained = (folder / RECIPE).is_file() and (folder / CHECKPOINTS).is_dir()
    finished = (folder / RECIPE).is_file() and (folder / RESULT).is_file()
    return trained or finished or any((folder / name / RECEIPT).is_file() for name in (BUNDLE, REJECTED))


def describe(folder: Path) -> Entry:
    """What is known of a run.

    Raises:
        ArtifactError: it is none (`no-run`), or a file is broken.
    """
    if not _is_run(folder):
        parts = ", ".join(run.name for run in find_runs(folder)) if (folder / STATE).is_file() else ""
        fix = "name one of its parts: {parts}" if parts else "`zoo runs list` shows all"
        raise ArtifactError("no-run", "there is no run here", at=Location.of(folder), fix=fix, parts=parts)
    changed = folder.stat().st_mtime
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # the run goes on, and replaces its files
            changed = max(changed, path.stat().st_mtime)
    if (folder / RECIPE).is_file():
        recipe = read_recipe(folder)
        result = read_json(folder / RESULT) if (folder / RESULT).is_file() else {}
        state = "unfinished" if not result else "finished" if (folder / BEST).is_dir() else "rejected"
        score, metric = result.get("best_score"), result.get("metric")
        task = (recipe.get("task") or {}).get("name") or "pretraining"
        steps, seconds = result.get("steps"), result.get("seconds")
        return Entry(str(folder), "training", state, task, metric, score, steps, seconds, size_of(folder), changed)
    place = folder / BUNDLE if (folder / BUNDLE / RECEIPT).is_file() else folder / REJECTED
    receipt = read_json(place / RECEIPT)
    metric = receipt.get("metric")
    score = receipt["after"].get(metric) if metric else None
    state = "finished" if place.name == BUNDLE else "rejected"
    size = size_of(folder)
    return Entry(str(folder), "bundle", state, receipt.get("task"), metric, score, None, None, size, changed)


def read_recipe(folder: Path) -> dict[str, Any]:
    """The resolved recipe of a run, or of the model that a bundle was made of; empty where there is none."""
    for place in (folder / RECIPE, folder / BUNDLE / RECIPE, folder / REJECTED / RECIPE):
        if place.is_file():
            value = load_yaml(place.read_text(encoding="utf-8"), str(place))
            return value if isinstance(value, dict) else {}
    return {}


def scores(folder: Path) -> dict[str, Any]:
    """All scores of a run by dotted name: those of its best model, or of its bundle."""
    for place in (folder / BEST / "metrics.json", folder / REJECTED / "metrics.json"):
        if place.is_file():
            return flatten(read_json(place))
    for name in (BUNDLE, REJECTED):
        if (folder / name / RECEIPT).is_file():
            receipt = read_json(folder / name / RECEIPT)
            return flatten(receipt.get("after") or receipt.get("metrics") or {})
    return {}


def show(folder: Path) -> dict[str, Any]:
    """A run with its scores, its recipe and, of a bundle, its receipt."""
    found = asdict(describe(folder)) | {"scores": scores(folder), "recipe": read_recipe(folder)}
    for name in (BUNDLE, REJECTED):
        if (folder / name / RECEIPT).is_file():
            found["receipt"] = read_json(folder / name / RECEIPT)
    return found


def compare(folders: Sequence[Path]) -> dict[str, Any]:
    """Runs side by side.

    Returns:
        ``runs``; ``scores``: name -> one value a run; ``recipe``: the same of the values that differ.
    """
    runs = [describe(folder) for folder in folders]
    found = [scores(folder) for folder in folders]
    names = list(dict.fromkeys(name for each in found for name, value in each.items() if _is_number(value)))
    recipes = [flatten(read_recipe(folder)) for folder in folders]
    values_of = {key: [recipe.get(key) for recipe in recipes] for key in dict.fromkeys(k for r in recipes for k in r)}
    return {
        "runs": [asdict(run) for run in runs],
        "scores": {name: [each.get(name) for each in found] for name in names},
        "recipe": {key: values for key, values in values_of.items() if any(value != values[0] for value in values)},
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def comparison_page(folders: Sequence[Path], compared: Mapping[str, Any]) -> str:
    """Runs side by side as a page, with their curves in the same charts.

    Args:
        folders: the runs.
        compared: from `compare`.
    """
    names = short_names(folders)
    rows = {name: read_rows(folder) for name, folder in zip(names, folders, strict=True)}
    columns = ["", *names]
    shown = [[key, *(_text(value) for value in values)] for key, values in compared["recipe"].items()]
    return page(
        translate("Runs side by side"),
        section(translate("Scores"), table(columns, [[name, *values] for name, values in compared["scores"].items()]))
        + section(translate("Recipe values that differ"), table(columns, shown))
        + section(translate("Curves"), curves({name: lines for name, lines in rows.items() if lines})),
    )


def _text(value: Any) -> str:
    return "–" if value is None else str(value)


def short_names(folders: Sequence[Path]) -> list[str]:
    """Names of folders without the beginning and the end that all of them share."""
    parts = [folder.parts for folder in folders]
    start = end = 0
    least = min(map(len, parts))
    while start < least - 1 and len({each[start] for each in parts}) == 1:
        start += 1
    while end < least - start - 1 and len({each[-1 - end] for each in parts}) == 1:
        end += 1
    return ["/".join(each[start : len(each) - end]) for each in parts]


# -- cleaning up -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Waste:
    """Something that can be removed.

    Args:
        path: file or folder.
        run: the run that it belongs to.
        why: what it is.
        bytes: its size.
    """

    path: str
    run: str
    why: str
    bytes: int


def find_waste(root: Path) -> list[Waste]:
    """What finished runs no longer need: checkpoints, what gates rejected, what killed processes left."""
    found = []
    for folder in find_runs(root):
        finished = (folder / RESULT).is_file()
        for place in sorted(folder.rglob(CHECKPOINTS)) if finished else ():
            if (place.parent / RESULT).is_file() and _inside_known(folder, place):
                found.append(_waste(place, folder, "checkpoints of a finished training"))
        if (folder / REJECTED).is_dir():
            found.append(_waste(folder / REJECTED, folder, "rejected by a gate"))
        left = sorted(folder.glob(f"{_LEFT_BEHIND}*"))
        found += [_waste(place, folder, "left by a killed process") for place in left]
    return [each for each in found if each.bytes]


def _inside_known(folder: Path, place: Path) -> bool:
    """Whether a file lies in a folder that verbs write into a run."""
    return place.relative_to(folder).parts[0] in _OWN


def run_files(folder: Path) -> list[Waste]:
    """All files of a run, or of all steps of a `zoo run`; what no verb has written is not among them.

    Raises:
        ArtifactError: there is no run (`no-run`).
    """
    runs = list(find_runs(folder))
    own = {run: [run / name for name in _OWN] + sorted(run.glob(f"{_LEFT_BEHIND}*")) for run in runs}
    if (folder / STATE).is_file():
        own[folder] = [*own.get(folder, ()), *(folder / name for name in _ROAD_FILES)]
    if not own:
        raise ArtifactError("no-run", "there is no run here", at=Location.of(folder), fix="`zoo runs list` shows all")
    return [_waste(path, run, "the run") for run, paths in own.items() for path in paths if path.exists()]


def _waste(path: Path, run: Path, why: str) -> Waste:
    return Waste(str(path), str(run), why, size_of(path))


def remove(waste: Sequence[Waste]) -> tuple[int, list[str]]:
    """Remove what was found. Runs that a process works in are left alone; folders that become empty go, too.

    Returns:
        Bytes that are free now, and the runs that were left alone.
    """
    freed, busy = 0, []
    runs: dict[str, list[Waste]] = {}
    for each in waste:
        runs.setdefault(each.run, []).append(each)
    for run, items in runs.items():
        try:
            with exclusive(Path(run) / LOCK, wait=False):
                for each in items:
                    if Path(each.path).name != LOCK:
                        freed += _remove(Path(each.path), each.bytes)
        except BlockingIOError:
            busy.append(run)
    for run in sorted(runs, key=len, reverse=True):
        folder = Path(run)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return freed, busy


def _remove(path: Path, size: int) -> int:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return size


def listed(root: Path) -> tuple[list[Entry], list[ZooError]]:
    """All runs at or below a folder, the latest first, and what is wrong with those that cannot be read."""
    entries, faults = [], []
    for folder in find_runs(root):
        try:
            entries.append(describe(folder))
        except ZooError as error:
            faults.append(error)
    return sorted(entries, key=lambda entry: -entry.changed), faults
