"""The run folder: recipe, checkpoints, best model, curves.

runs/<family>/<name>/<verb>/
    recipe.yaml         the resolved recipe
    checkpoints/        see `zoo_cli.engine.checkpoint`
    best/               the best model, a model folder
    corpora/            of pretraining: what was made of raw text
    metrics.jsonl       one line for each report of the training loss and each evaluation
    tensorboard/        the same for TensorBoard, if tensorboardX is installed
    report.html         the same as curves
    diverged-batch.npz  the input of a step whose loss was no number
    result.json         written last: the run is finished
"""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.base.files import (
    atomic_folder,
    remove_partial,
    write_json,
    write_manifest,
    write_text,
)
from zoo_cli.base.locks import exclusive
from zoo_cli.engine.checkpoint import checkpoints
from zoo_cli.engine.folders import (
    BEST,
    CHECKPOINTS,
    LOCK,
    METRICS,
    OWN,
    RECIPE,
    REPORT,
    RESULT,
    TENSORBOARD,
    flatten,
    read_rows,
)
from zoo_cli.engine.report import render_report
from zoo_cli.recipe.yaml12 import load_yaml

logger = logging.getLogger(__name__)

FREE_KEYS = (
    "data.test",  # training does not read it
    "train.log_steps",
    "train.metric",
    "train.patience",
    "train.save_steps",
    "train.keep_checkpoints",
    "train.gradient_accumulation",  # the loop checks that passes times processes stay the same
    "train.recompute",
    "train.parallel.data",
    "train.parallel.tensor",
)
"""Keys that a resumed run may change: the steps stay the same, if not the choice of the best one and the end."""

SECTIONS = ("model", "task", "data", "train")
"""Sections that fine-tuning reads; those of later verbs may change at will."""


class Run:
    """An open run folder, made by `open_run`. Leaving it as a context lets other processes open it.

    Args:
        folder: the folder.
        recipe: the resolved recipe as YAML.
        lock: holds the lock of the folder, which ends with the process even if that is killed.
    """

    def __init__(self, folder: Path, recipe: str, lock: ExitStack) -> None:
        self.folder = folder
        self.recipe = recipe
        self._lock = lock
        self._tensorboard: Any = None

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()
        self._lock.close()

    @property
    def checkpoints(self) -> Path:
        return self.folder / CHECKPOINTS

    @property
    def best(self) -> Path:
        return self.folder / BEST

    def go_on_from(self, step: int, evaluated: int) -> None:
        """Forget the reports that the resumed run will write again.

        Args:
            step: the last step that is done.
            evaluated: the last step whose evaluation is done.
        """
        limits = {"train": step, "dev": evaluated}
        kept = [row for row in self.rows() if row["step"] <= limits[row["kind"]]]
        write_text(self.folder / METRICS, "".join(map(_line, kept)))
        self._open_tensorboard(purge_step=step + 1 if step else None)

    def rows(self) -> list[dict[str, Any]]:
        """The reports so far; a last line that a kill cut short is left out."""
        return read_rows(self.folder)

    def report(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl` and to the TensorBoard files.

        Args:
            kind: ``train`` or ``dev``.
            step: optimiser steps done.
            values: numbers by name, or nested tables of numbers.
        """
        with (self.folder / METRICS).open("a", encoding="utf-8") as handle:
            handle.write(_line({"kind": kind, "step": step, **values}))
        if self._tensorboard is not None:
            for name, number in flatten(values).items():
                if isinstance(number, int | float):
                    self._tensorboard.add_scalar(f"{kind}/{name}", number, step)

    def draw_report(self, head: str = "") -> None:
        """Write `report.html` anew.

        Args:
            head: what stands above the curves, as HTML.
        """
        write_text(self.folder / REPORT, render_report(str(self.folder), self.rows(), head))

    def save_best(self, write: Callable[[Path], None], metrics: Mapping[str, Any]) -> None:
        """Replace the best model.

        Args:
            write: writes configuration, weights, tokenizer and task into the folder it is given.
            metrics: the scores for `metrics.json`.
        """
        with atomic_folder(self.best) as partial:
            write(partial)
            write_text(partial / RECIPE, self.recipe)
            write_json(partial / "metrics.json", _finite(metrics))
            write_manifest(partial)

    def finish(self, result: Mapping[str, Any], head: str = "") -> None:
        """Write the last report and mark the run as finished; `head` as of `draw_report`."""
        self.draw_report(head)
        write_json(self.folder / RESULT, _finite(result))

    def _open_tensorboard(self, purge_step: int | None) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            logger.info("no TensorBoard files, since tensorboardX is not installed")
            return
        self._tensorboard = SummaryWriter(str(self.folder / TENSORBOARD), purge_step=purge_step)


def open_run(
    folder: Path, recipe: str, *, resume: bool = False, force: bool = False, sections: Sequence[str] = SECTIONS
) -> Run:
    """Open a run folder, new or to be resumed.

    In a launch of several processes the first one opens it and reports what is wrong; the others, which only read
    checkpoints, take it as it is.

    Args:
        folder: the folder; made if it does not exist.
        recipe: the resolved recipe as YAML (`zoo_cli.recipe.render.to_yaml`).
        resume: go on with an unfinished run; a folder without a run is started from the beginning.
        force: delete the run that is there, finished or not, and start anew. Takes precedence over `resume`.
        sections: sections of the recipe that this verb reads, or dotted parts of them, in which a resumed run may
            change `FREE_KEYS` only.

    Raises:
        UsageError: the folder holds a finished run (`run-finished`), an unfinished one (`run-unfinished`), one with
            another recipe (`recipe-changed`), or something that is no run (`not-a-run`); or another process is
            working in it (`run-busy`).
    """
    folder = Path(folder)
    place = Location.of(folder)
    with ExitStack() as lock:
        if os.environ.get("PADDLE_TRAINER_ID", "0") == "0":
            try:
                lock.enter_context(exclusive(folder / LOCK, wait=False))
            except BlockingIOError as error:
                raise UsageError(
                    "run-busy",
                    "another process is working in this folder",
                    at=place,
                    fix="wait for it, or choose another folder with --output-dir",
                ) from error
            _prepare(folder, recipe, resume, force, sections)
        return Run(folder, recipe, lock.pop_all())


def _prepare(folder: Path, recipe: str, resume: bool, force: bool, sections: Sequence[str]) -> None:
    """Refuse what `open_run` refuses, and make the folder ready."""
    place = Location.of(folder)
    remove_partial(folder)
    exists = (folder / RECIPE).exists()
    strangers = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    if not exists and strangers:
        raise UsageError(
            "not-a-run",
            "the folder has no run but other files, e.g. {name}",
            at=place,
            fix="choose another folder with --output-dir",
            name=strangers[0],
        )
    if exists and force:
        for name in OWN:  # the recipe last: as long as it is there the folder counts as a run
            _remove(folder / name)
        exists = False
    if exists and (folder / RESULT).exists():
        raise UsageError("run-finished", "the run is finished already", at=place, fix="repeat it with --force")
    if exists and not resume:
        done = checkpoints(folder / CHECKPOINTS)
        raise UsageError(
            "run-unfinished",
            "there is an unfinished run, saved up to {latest}",
            at=place,
            fix="go on with --resume, or start anew with --force",
            latest=done[0].name if done else "nothing yet",
        )
    if exists:
        check_same(folder / RECIPE, recipe, sections)
    write_text(folder / RECIPE, recipe)
    (folder / CHECKPOINTS).mkdir(exist_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def check_same(path: Path, recipe: str, sections: Sequence[str]) -> None:
    """Refuse a recipe that would train to other weights than the one that the run was started with.

    Args:
        path: recipe file in the run folder.
        recipe: the resolved recipe as YAML.
        sections: see `open_run`.

    Raises:
        UsageError: other keys than `FREE_KEYS` differ (`recipe-changed`).
    """
    before = flatten(load_yaml(path.read_text(encoding="utf-8"), str(path)))
    now = flatten(load_yaml(recipe, str(path)))
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and key not in FREE_KEYS
        and any(key == section or key.startswith(f"{section}.") for section in sections)
    ]
    if changed:
        lines = [f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in changed]
        raise UsageError(
            "recipe-changed",
            "the recipe differs from the one that the run was started with: {changes}",
            at=Location.of(path),
            fix="undo the change, start anew with --force, or change only: {free}",
            changes="; ".join(lines),
            free=", ".join(FREE_KEYS),
        )


def _finite(value: Any) -> Any:
    """The same value with null for what JSON cannot hold."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(_finite(row), ensure_ascii=False) + "\n"
