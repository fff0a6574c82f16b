"""Trainings of a student that is compared with its teacher token by token, over one training set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from zoo_cli import registry
from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.distill import report
from zoo_cli.distill.course import TEACHER, Course, Training
from zoo_cli.distill.features import input_names, wanted
from zoo_cli.distill.objective import Distillation, Pupil
from zoo_cli.distill.teachers import AskedTeacher, StoredAnswers, TaughtBatches, Teacher, needed_bytes, store_answers
from zoo_cli.engine.batches import FeatureBatches, count_steps
from zoo_cli.engine.distributed import World
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.finetune import EncodedExamples
from zoo_cli.engine.run import flatten
from zoo_cli.engine.setup import Assembly, load_folder
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import DistillMatch, TrainSection
from zoo_cli.tasks.base import Task, load_task


@dataclass
class Lesson(Course):
    """Trainings of students that read the same tokens as their teacher; see `Course` for the other arguments.

    Args:
        task: encodes texts for both models.
        examples: the training set.
        encoded: the same for both models.
        inputs: names of the student's inputs.
        cache_gigabytes: room on disk for the teacher's answers.
    """

    task: Task[Any]
    examples: list[Any]
    encoded: EncodedExamples
    inputs: frozenset[str]
    cache_gigabytes: float

    @property
    def features(self) -> FeatureStore:
        return self.encoded.features

    @property
    def labels(self) -> list[str]:
        """Names in a batch that are no model's inputs."""
        return sorted(set(self.task.stack(self.features.take([0]))) - self.inputs - set(self.teacher.inputs))

    def stage(
        self, folder: Path, student: Assembly, matches: list[DistillMatch], options: TrainSection, recipe: str
    ) -> Assembly:
        """Train the student, unless that is done, and return the best one.

        A stage that looks at neither logits nor labels leaves the head untrained, so its last student is the best.
        """

        def prepare() -> Training:
            batches, teacher = self._batches(matches, options)
            config = self.teacher.assembly.model.config
            objective = Distillation(student.model, self.task, sorted(self.inputs), self.labels, matches, teacher)
            paddle.seed(options.seed)
            pupil = Pupil(student.model, matches, config)
            evaluate = None
            if self.dev and any(match.feature in ("logits", "labels") for match in matches):
                evaluate = Evaluation(student.model, student.task, self.dev, options, tune=True)
            return pupil, objective, batches, evaluate

        return self.train(folder, student, options, recipe, prepare)

    def compare(
        self, models: dict[str, tuple[Assembly, Path]], options: TrainSection
    ) -> tuple[list[report.Row], dict[str, dict[str, Any]]]:
        """Rows of the table, and all scores of each model on the development set (none where there is no such set).

        Args:
            models: name -> model and its folder; the first is the teacher.
            options: names the metric and the batch size.
        """
        metric = options.metric or self.metric
        scores = {
            name: Evaluation(assembly.model, assembly.task, self.dev, options)() if self.dev else {}
            for name, (assembly, _) in models.items()
        }
        numbers = {name: flatten(values).get(metric) for name, values in scores.items()}
        times = report.latencies([assembly for assembly, _ in models.values()], self.dev or self.examples)
        reference = numbers[next(iter(models))]
        rows = [
            report.row(name, *model, numbers[name], reference, metric == "loss", each)
            for (name, model), each in zip(models.items(), times, strict=True)
        ]
        return rows, scores

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
        room = self.cache_gigabytes * 1e9
        if not again or needed_bytes(teacher, self.features, self.task.stack) > room:
            return batches, teacher
        place = self.folder / TEACHER / self.teacher.identity(features, batches.fingerprint())
        if self.world.leads:
            store_answers(teacher, self.features, self.task.stack, place, options.batch_size)
        self.world.from_leader([0.0])
        return TaughtBatches(StoredAnswers(place), *arguments), teacher


def prepare(
    loaded: LoadedRecipe,
    folder: Path,
    source: Path,
    parts: dict[str, list[Any]],
    family: str,
    cache_gigabytes: float = 0.0,
) -> Lesson:
    """Read the teacher and encode the training set.

    Args:
        loaded: the recipe.
        folder: run folder.
        source: model folder of the teacher.
        parts: examples of ``train`` and, if there are any, ``dev``.
        family: of the student.
        cache_gigabytes: room on disk for the teacher's answers.

    Raises:
        UsageError: the teacher was made for another task, or cannot teach.
        DataError: there is nothing to learn from (`no-training-data`).
    """
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
        raise UsageError(
            "no-feature", "a model that reads texts segment by segment cannot teach", at=Location.of(source)
        )
    student = registry.family(family).inputs
    task = load_task(source, assembly.tokenizer, tuple(dict.fromkeys([*assembly.task.inputs, *student])))
    encoded = EncodedExamples(task, parts["train"])
    if not len(encoded.features):
        raise DataError("no-training-data", "the training files hold nothing to learn from", fix="look at data.train")
    teacher = Teacher(assembly, source, sorted(input_names(assembly.task, parts["train"])))
    inputs = input_names(load_task(source, assembly.tokenizer, student), parts["train"])
    dev = parts.get("dev", [])
    return Lesson(loaded, folder, teacher, dev, World.join(), task, parts["train"], encoded, inputs, cache_gigabytes)
