"""What every training of a student has: a run folder, a teacher, and how a stage is run and judged."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle import nn

from zoo_cli import registry
from zoo_cli.base.errors import GateError, Location, UsageError
from zoo_cli.base.files import read_json, write_json, write_text
from zoo_cli.distill import report
from zoo_cli.distill.report import Row
from zoo_cli.distill.teachers import Teacher
from zoo_cli.engine.batches import Batches
from zoo_cli.engine.distributed import World
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.loop import train
from zoo_cli.engine.objectives.base import Objective
from zoo_cli.engine.run import BEST, RESULT, Run, open_run
from zoo_cli.engine.run import SECTIONS as TRAINING_SECTIONS
from zoo_cli.engine.setup import Assembly, load_folder
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import TrainSection

SECTIONS = (*TRAINING_SECTIONS, "distill", "prune")
STAGES, TABLE, BASELINE = "stages", "distillation.md", "baseline"
TEACHER, REJECTED = "teacher", "rejected"
_TEACHER_FILE = "teacher.json"

Training = tuple[nn.Layer, Objective, Batches, Evaluation | None]
"""What is trained, what it minimises, on what, and what chooses the best; see `zoo_cli.engine.loop.train`."""


def claim(folder: Path, digest: str, force: bool) -> None:
    """Make a run folder that of a teacher.

    Args:
        folder: run folder.
        digest: of the teacher's weights.
        force: whatever the teacher of an earlier run was.

    Raises:
        UsageError: the run was started with another teacher (`teacher-changed`).
    """
    place, own = folder / _TEACHER_FILE, {"sha256": digest}
    if not force and place.is_file() and read_json(place) != own:
        raise UsageError(
            "teacher-changed",
            "the run was started with another teacher",
            at=Location.of(place),
            fix="name the former one with --from, or start anew with --force",
        )
    write_json(place, own)


@dataclass
class Course:
    """Trainings of students of one teacher in one run folder.

    Args:
        loaded: the recipe.
        folder: run folder.
        teacher: who teaches.
        dev: development examples.
        world: the processes that train together.
    """

    loaded: LoadedRecipe
    folder: Path
    teacher: Teacher
    dev: list[Any]
    world: World

    @property
    def metric(self) -> str:
        """The score that chooses the best student, unless a stage names another."""
        return registry.task(self.loaded.task_name).metric

    def claim(self, force: bool, outputs: Sequence[str]) -> None:
        """Make the opened run folder that of this teacher.

        Args:
            force: remove what an earlier run left.
            outputs: names of folders that the job writes, beside the teacher's answers and a rejected student.

        Raises:
            UsageError: the run was started with another teacher (`teacher-changed`).
        """
        if not self.world.leads:
            return
        for name in (*outputs, TEACHER, REJECTED) if force else ():
            shutil.rmtree(self.folder / name, ignore_errors=True)
        claim(self.folder, self.teacher.identity((), ""), force)

    def train(
        self, folder: Path, student: Assembly, options: TrainSection, recipe: str, prepare: Callable[[], Training]
    ) -> Assembly:
        """Train a student in a folder of its own, unless that is done, and return the best one.

        Args:
            folder: of the stage.
            student: what is saved.
            options: of the stage.
            recipe: the resolved recipe as YAML.
            prepare: makes what the loop needs; called only if there is something to train.
        """
        (done,) = self.world.from_leader([float((folder / RESULT).is_file())])
        if not done:
            model, objective, batches, evaluate = prepare()
            run = open_run(folder, recipe, resume=True, sections=SECTIONS)
            train(model, objective, batches, options, run, student.save, evaluate, self.metric, self.world)
            self.world.from_leader([0.0])  # the others wait until the best student is written
        return load_folder(folder / BEST)

    def breach(self, metric: str, student: Row) -> str | None:
        """What the student's score breaks of `gates.teacher_share`, or None."""
        share, least = student.share, self.loaded.recipe.gates.teacher_share
        if least is None or (share is not None and share >= least - 1e-9):
            return None
        return f"the student keeps {share or 0.0:.1%} of the teacher's {metric}; gates.teacher_share is {least:g}"

    def conclude(
        self,
        run: Run,
        chosen: Assembly,
        scores: dict[str, Any],
        page: tuple[str, str],
        result: dict[str, Any],
        breach: str | None,
        fix: str,
    ) -> None:
        """Write the chosen student, the table and what the run reports; a student that breaks a gate is set aside.

        Args:
            run: the run.
            chosen: the student.
            scores: its scores.
            page: name and text of the file with the table.
            result: what the run reports.
            breach: the gates that the student breaks, or None.
            fix: what to do about that.

        Raises:
            GateError: there is a breach (`gate-failed`).
        """
        run.save_best(chosen.save, scores)
        write_text(run.folder / page[0], page[1])
        shutil.rmtree(run.folder / TEACHER, ignore_errors=True)
        rejected = run.folder / REJECTED
        if breach:
            shutil.rmtree(rejected, ignore_errors=True)
            run.best.rename(rejected)
        run.finish(result, report.figures(result["metric"], report.from_json(result["table"])))
        if breach:
            raise GateError("gate-failed", "{breach}", at=Location.of(rejected), fix=fix, breach=breach)


def collect_stages(run: Run, stages: Sequence[str]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The curves of all stages end to end as those of the run.

    Returns:
        What each stage reported; and the report of the last one with the steps and seconds of all.
    """
    results = {name: read_json(run.folder / STAGES / name / RESULT) for name in stages}
    run.go_on_from(0, 0)
    start = 0
    for name, result in results.items():
        for line in Run(run.folder / STAGES / name, "", ExitStack()).rows():
            run.report(line.pop("kind"), start + line.pop("step"), line)
        start += result["steps"]
    totals = {key: sum(each[key] for each in results.values()) for key in ("steps", "seconds")}
    return results, {**results[stages[-1]], **totals}
