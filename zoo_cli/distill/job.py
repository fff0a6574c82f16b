"""`zoo distill`: the stages of a recipe one after another, over the same loop as fine-tuning.

The run folder has, beside what every run has: `stages/<name>/`, the run of each stage, and `baseline/`; `teacher/`, the teacher's answers
while they are needed; `distillation.md`, the table. `best/` is the student of the last stage, or `rejected/` where it
keeps too little.
"""

from __future__ import annotations

import logging
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from zoo_cli import registry
from zoo_cli.base.errors import DataError, GateError, Location, UsageError
from zoo_cli.base.files import read_json, write_json, write_text
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.distill import report
from zoo_cli.distill.features import input_names, wanted
from zoo_cli.distill.objective import Distillation, Pupil
from zoo_cli.distill.pair import build_student
from zoo_cli.distill.strategies import expand, section_of
from zoo_cli.distill.teachers import AskedTeacher, StoredAnswers, TaughtBatches, Teacher, needed_bytes, store_answers
from zoo_cli.engine.batches import FeatureBatches, count_steps
from zoo_cli.engine.distributed import World
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.finetune import EncodedExamples
from zoo_cli.engine.loop import train
from zoo_cli.engine.run import BEST, RESULT, Run, flatten, open_run
from zoo_cli.engine.run import SECTIONS as TRAINING_SECTIONS
from zoo_cli.engine.setup import Assembly, load_folder, read_parts
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import DistillMatch, TrainSection
from zoo_cli.tasks.base import Task, load_task

logger = logging.getLogger(__name__)

SECTIONS = (*TRAINING_SECTIONS, "distill")
STAGES, TEACHER, REJECTED, TABLE, BASELINE = "stages", "teacher", "rejected", "distillation.md", "baseline"
_TEACHER_FILE = "teacher.json"


def distill(
    loaded: LoadedRecipe,
    folder: Path,
    source: Path,
    resume: bool = False,
    force: bool = False,
    progress: FileProgress | None = None,
) -> None:
    """Teach a student as a recipe says; the run folder has the result.

    Args:
        loaded: the recipe.
        folder: run folder.
        source: model folder of the teacher.
        resume: go on with an unfinished run.
        force: replace a run that is there.
        progress: shows downloads.

    Raises:
        GateError: the student keeps less of the teacher's score than `gates.teacher_share` (`gate-failed`).
        ZooError: see `zoo_cli.engine.loop.train`, `load_folder`, `build_student`, `expand` and `read_parts`.
    """
    section = section_of(loaded.recipe)
    if not loaded.recipe.data.train:
        raise DataError("no-training-data", "the recipe names no training files", fix="set data.train")
    parts = read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("train", "dev"))
    lesson = _prepare(loaded, folder, source, parts)
    student = build_student(loaded, lesson.teacher.assembly, source, parts["train"], progress)
    configs = (lesson.teacher.assembly.model.config, student.model.config)
    stages = {name: expand(stage, *configs) for name, stage in section.stages.items()}
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        lesson.claim(force)
        for name, matches in stages.items():
            options = section.stages[name].training(loaded.recipe.train)
            student = lesson.stage(folder / STAGES / name, student, matches, options, recipe)
        models = {"teacher": (lesson.teacher.assembly, source), "student": (student, folder / STAGES / name / BEST)}
        if section.baseline:
            fresh = build_student(loaded, lesson.teacher.assembly, source, parts["train"], progress)
            labels = [DistillMatch(feature="labels")]
            alone = lesson.stage(folder / BASELINE, fresh, labels, options, recipe)
            models[BASELINE] = (alone, folder / BASELINE / BEST)
        if lesson.world.leads:
            _conclude(loaded, run, lesson, models, stages, options)


@dataclass
class _Lesson:
    """What all stages have in common.

    Args:
        loaded: the recipe.
        folder: run folder.
        teacher: who teaches.
        task: encodes texts for both models.
        encoded: the training set.
        dev: development examples.
        inputs: names of the student's inputs.
        world: the processes that train together.
    """

    loaded: LoadedRecipe
    folder: Path
    teacher: Teacher
    task: Task[Any]
    encoded: EncodedExamples
    dev: list[Any]
    inputs: frozenset[str]
    world: World

    @property
    def features(self) -> FeatureStore:
        return self.encoded.features

    @property
    def metric(self) -> str:
        """The score that chooses the best student, unless a stage names another."""
        return registry.task(self.loaded.task_name).metric

    @property
    def labels(self) -> list[str]:
        """Names in a batch that are no model's inputs."""
        return sorted(set(self.task.stack(self.features.take([0]))) - self.inputs - set(self.teacher.inputs))

    def claim(self, force: bool) -> None:
        """Make the opened run folder that of this teacher.

        Raises:
            UsageError: the run was started with another teacher (`teacher-changed`).
        """
        if not self.world.leads:
            return
        for name in (STAGES, BASELINE, TEACHER, REJECTED) if force else ():
            shutil.rmtree(self.folder / name, ignore_errors=True)
        place, own = self.folder / _TEACHER_FILE, {"sha256": self.teacher.identity((), "")}
        if not force and place.is_file() and read_json(place) != own:
            raise UsageError(
                "teacher-changed",
                "the run was started with another teacher",
                at=Location.of(place),
                fix="name the former one with --from, or start anew with --force",
            )
        write_json(place, own)

    def stage(
        self, folder: Path, student: Assembly, matches: list[DistillMatch], options: TrainSection, recipe: str
    ) -> Assembly:
        """Train the student, unless that is done, and return the best one.

        A stage that looks at neither logits nor labels leaves the head untrained, so its last student is the best.
        """
        (done,) = self.world.from_leader([float((folder / RESULT).is_file())])
        if not done:
            batches, teacher = self._batches(matches, options)
            config = self.teacher.assembly.model.config
            objective = Distillation(student.model, self.task, sorted(self.inputs), self.labels, matches, teacher)
            paddle.seed(options.seed)
            pupil = Pupil(student.model, matches, config)
            evaluate = None
            if self.dev and any(match.feature in ("logits", "labels") for match in matches):
                evaluate = Evaluation(student.model, student.task, self.dev, options, tune=True)
            run = open_run(folder, recipe, resume=True, sections=SECTIONS)
            train(pupil, objective, batches, options, run, student.save, evaluate, self.metric, self.world)
            self.world.from_leader([0.0])  # the others wait until the best student is written
        return load_folder(folder / BEST)

    def _batches(
        self, matches: list[DistillMatch], options: TrainSection
    ) -> tuple[FeatureBatches, AskedTeacher | None]:
        """The training set; with the teacher's answers where texts come more than once and there is room for them."""
        arguments = (self.features, options, self.task.stack, self.encoded.sources)
        batches, features = FeatureBatches(*arguments), wanted(matches, "teacher")
        if not features:
            return batches, None
        teacher = self.teacher.asked(features)
        group = options.gradient_accumulation * self.world.size
        again = count_steps(batches, options, group) * group > len(batches.plan(0))
        room = section_of(self.loaded.recipe).cache_gigabytes * 1e9
        if not again or needed_bytes(teacher, self.features, self.task.stack) > room:
            return batches, teacher
        place = self.folder / TEACHER / self.teacher.identity(features, batches.fingerprint())
        if self.world.leads:
            store_answers(teacher, self.features, self.task.stack, place, options.batch_size)
        self.world.from_leader([0.0])
        return TaughtBatches(StoredAnswers(place), *arguments), teacher


def _prepare(loaded: LoadedRecipe, folder: Path, source: Path, parts: dict[str, list[Any]]) -> _Lesson:
    assembly = load_folder(source)
    if assembly.task.name != loaded.task_name:
        raise UsageError(
            "other-task",
            "the teacher was made for {theirs}, the recipe is for {ours}",
            at=Location.of(source),
            theirs=assembly.task.name,
            ours=loaded.task_name,
        )
    if assembly.task.states:
        raise UsageError("no-feature", "a model that reads texts segment by segment cannot teach", at=Location.of(source))
    student = registry.family(section_of(loaded.recipe).student.family).inputs
    task = load_task(source, assembly.tokenizer, tuple(dict.fromkeys([*assembly.task.inputs, *student])))
    encoded = EncodedExamples(task, parts["train"])
    if not len(encoded.features):
        raise DataError("no-training-data", "the training files hold nothing to learn from", fix="look at data.train")
    teacher = Teacher(assembly, source, sorted(input_names(assembly.task, parts["train"])))
    inputs = input_names(load_task(source, assembly.tokenizer, student), parts["train"])
    return _Lesson(loaded, folder, teacher, task, encoded, parts.get("dev", []), inputs, World.join())


def _conclude(
    loaded: LoadedRecipe,
    run: Run,
    lesson: _Lesson,
    models: dict[str, tuple[Assembly, Path]],
    stages: dict[str, list[DistillMatch]],
    options: TrainSection,
) -> None:
    """Measure the models, write the table and the student, and judge it."""
    metric = options.metric or lesson.metric
    scores: dict[str, dict[str, Any]] = {}
    for name, (assembly, _) in models.items():
        scores[name] = Evaluation(assembly.model, assembly.task, lesson.dev, options)() if lesson.dev else {}
    numbers = {name: flatten(values).get(metric) for name, values in scores.items()}
    rows = [
        report.row(name, *model, numbers[name], numbers["teacher"], lower=metric == "loss")
        for name, model in models.items()
    ]
    results = {name: read_json(run.folder / STAGES / name / RESULT) for name in stages}
    described = {
        name: {
            "matches": [match.model_dump(mode="json", exclude_defaults=True) for match in matches],
            "steps": results[name]["steps"],
            "seconds": results[name]["seconds"],
        }
        for name, matches in stages.items()
    }
    share, least = rows[1].share, loaded.recipe.gates.teacher_share
    failed = least is not None and not (share is not None and share >= least - 1e-9)
    breach = f"the student keeps {share or 0.0:.1%} of the teacher's {metric}; gates.teacher_share is {least:g}" if failed else None

    run.save_best(models["student"][0].save, scores["student"])
    _collect_curves(run, list(stages))
    write_text(run.folder / TABLE, report.markdown(metric, rows, described, breach))
    shutil.rmtree(run.folder / TEACHER, ignore_errors=True)
    if breach:
        shutil.rmtree(run.folder / REJECTED, ignore_errors=True)
        run.best.rename(run.folder / REJECTED)
    last = results[list(stages)[-1]]
    totals = {key: sum(each[key] for each in results.values()) for key in ("steps", "seconds")}
    run.finish({**last, **totals, "best_score": numbers["student"], "table": report.as_json(rows), "stages": described})
    if breach:
        raise GateError(
            "gate-failed",
            "{breach}",
            at=Location.of(run.folder / REJECTED),
            fix="train longer, take a larger student or other matches, and repeat with --force",
            breach=breach,
        )


def _collect_curves(run: Run, stages: list[str]) -> None:
    """The curves of all stages end to end as those of the run."""
    run.go_on_from(0, 0)
    start = 0
    for name in stages:
        folder = run.folder / STAGES / name
        for line in Run(folder, "", ExitStack()).rows():
            run.report(line.pop("kind"), start + line.pop("step"), line)
        start += read_json(folder / RESULT)["steps"]
