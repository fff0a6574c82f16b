"""Data distillation of UIE: a teacher that is asked about one thing at a time labels texts, and a student that finds
everything at once learns from them.

PaddleNLP calls it "UIE Slim" (its `data_distill` and `closed_domain` examples). The student is trained on what people
have annotated, on what the teacher has found in other texts, and on texts in which it has found nothing. The run folder
has, beside what `zoo_cli.distill.job` says, `labelled.jsonl`: the teacher's answers with their probabilities, as lines
that annotation tools and `format: doccano` read.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import paddle

from zoo_cli.base.errors import UsageError
from zoo_cli.data.parts import read_parts
from zoo_cli.distill import report
from zoo_cli.distill.course import BASELINE, SECTIONS, STAGES, TABLE, Course, Training, collect_stages
from zoo_cli.distill.labelling import label, labelled_examples, open_teacher, texts_to_label
from zoo_cli.distill.strategies import section_of
from zoo_cli.distill.teachers import Teacher
from zoo_cli.engine.distributed import World
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.finetune import EncodedExamples, training
from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.run import BEST, Run, flatten, open_run
from zoo_cli.engine.setup import Assembly, from_recipe, load_folder
from zoo_cli.recipe.loading import LoadedRecipe, run_folder
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import LabellingSection, ModelSection, TrainSection
from zoo_cli.recipe.students import student_options, student_task
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.closed_extraction.task import ClosedExtractionTask

logger = logging.getLogger(__name__)

LABELLED = "labelled.jsonl"


def distill_by_labelling(
    loaded: LoadedRecipe,
    labelling: LabellingSection,
    folder: Path,
    source: Path,
    resume: bool,
    force: bool,
    progress: FileProgress | None,
) -> None:
    """Teach a student by labelling texts for it; arguments and errors as of `zoo_cli.distill.job.distill`.

    Raises:
        UsageError: the teacher was made for another task (`other-task`).
    """
    seed = loaded.recipe.train.seed
    assembly = load_folder(source)
    if assembly.task.name != loaded.task_name:
        raise UsageError(
            "other-task",
            "the teacher was made for {theirs}, the recipe is for {ours}",
            theirs=assembly.task.name,
            ours=loaded.task_name,
        )
    parts = read_parts(loaded.recipe.data, seed, ("train", "dev"))
    course = Course(loaded, folder, Teacher(assembly, source, ()), parts.get("dev", []), World.join())
    student = _student(loaded, source, parts["train"], progress)
    gold = list(student.task.adapt(parts["train"], training=True))
    texts = texts_to_label(labelling, loaded.recipe.data, gold, seed)
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        course.claim(force, (STAGES, BASELINE))
        place = folder / LABELLED
        exported = run_folder(loaded, "export") / "bundle"
        teacher = open_teacher(source, exported, paddle.device.get_device())
        task = _closed(student)
        if course.world.leads:
            if force:
                place.unlink(missing_ok=True)
                place.with_name(f"{place.name}.partial").unlink(missing_ok=True)
            label(texts, teacher, task, place)
        course.world.from_leader([0.0])  # the others wait until the file is there
        labelled = labelled_examples(place, labelling, task.options.separator, seed)
        logger.info("%d annotated texts, %d of %d labelled ones", len(gold), len(labelled), len(texts))
        stages = section_of(loaded.recipe).stages
        for name, stage in stages.items():
            options = stage.training(loaded.recipe.train)
            student = _train(course, folder / STAGES / name, student, [*gold, *labelled], options, recipe)
        models = {"student": (student, folder / STAGES / name / BEST)}
        if section_of(loaded.recipe).baseline:
            fresh = _student(loaded, source, parts["train"], progress)
            alone = _train(course, folder / BASELINE, fresh, gold, options, recipe)
            models[BASELINE] = (alone, folder / BASELINE / BEST)
        if course.world.leads:
            models = {"teacher": (assembly, source), **models}
            finds = sum(len(each.entities) + len(each.relations) + len(each.classes) for each in labelled)
            counts = {"annotated": len(gold), "texts": len(texts), "labelled": len(labelled), "finds": finds}
            _conclude(course, run, teacher, models, list(stages), options, counts)


def _student(loaded: LoadedRecipe, source: Path, examples: Sequence[Any], progress: FileProgress | None) -> Assembly:
    """The student as the recipe describes it; one from scratch has the teacher's vocabulary."""
    section = section_of(loaded.recipe).student
    model = ModelSection(
        family=section.family,
        init=section.init,
        architecture=section.architecture,
        config=section.config,
        vocab=str(source) if section.is_fresh else None,
    )
    task = {"name": student_task(loaded.recipe), **section.task}
    own = replace(
        loaded,
        recipe=loaded.recipe.model_copy(update={"model": model, "task": task}),
        task=student_options(loaded.recipe, loaded.task),
    )
    return from_recipe(own, examples, progress=progress)


def _closed(student: Assembly) -> ClosedExtractionTask:
    assert isinstance(student.task, ClosedExtractionTask)
    return student.task


def _train(
    course: Course, folder: Path, student: Assembly, examples: Sequence[Any], options: TrainSection, recipe: str
) -> Assembly:
    def prepare() -> Training:
        paddle.seed(options.seed)
        encoded = EncodedExamples(student.task, examples)
        evaluate = Evaluation(student.model, student.task, course.dev, options, tune=True) if course.dev else None
        return student.model, *training(student.task, encoded, options, course.world), evaluate

    return course.train(folder, student, options, recipe, prepare)


def _conclude(
    course: Course,
    run: Run,
    teacher: Pipeline,
    models: dict[str, tuple[Assembly, Path]],
    stages: list[str],
    options: TrainSection,
    counts: dict[str, int],
) -> None:
    """Compare whole results of all models with the annotations, write the table and the student, and judge it."""
    task = _closed(models["student"][0])
    metric = options.metric if options.metric not in (None, "loss") else course.metric
    pipelines = {
        name: Pipeline(model.task, Predictor(model.model, model.task, report.BATCH))
        for name, (model, _) in models.items()
    }
    scores = {name: _scores(task, pipe, course.dev) for name, pipe in (pipelines | {"teacher": teacher}).items()}
    numbers = {name: flatten(values).get(metric) for name, values in scores.items()}
    texts = list(task.adapt(course.dev or read_parts(course.loaded.recipe.data, 0, ("train",))["train"], False))
    requests = _requests(task, texts[: report.BATCH])
    times = report.timed([(pipe, requests) for pipe in pipelines.values()])
    rows = [
        report.row(name, *model, numbers[name], numbers["teacher"], False, each)
        for (name, model), each in zip(models.items(), times, strict=True)
    ]
    results, totals = collect_stages(run, stages)
    described = {
        name: {"matches": [{"feature": "labels"}], "steps": each["steps"], "seconds": each["seconds"]}
        for name, each in results.items()
    }
    breach = course.breach(metric, rows[1])
    remark = (
        f"The student learnt from {counts['annotated']} annotated texts and {counts['labelled']} of the "
        f"{counts['texts']} that the teacher labelled ({LABELLED}), with {counts['finds']} finds. Scores are of whole "
        "results, times of a text with the whole schema."
    )
    course.conclude(
        run,
        models["student"][0],
        scores["student"],
        (TABLE, report.markdown("Data distillation", metric, rows, described, breach, [remark])),
        {
            **totals,
            "best_score": rows[1].score,
            "table": report.as_json(rows),
            "stages": described,
            "labelling": counts,
        },
        breach,
        "label more texts, train longer or take a larger student, and repeat with --force",
    )


def _requests(task: ClosedExtractionTask, texts: Sequence[Any]) -> list[dict[str, Any]]:
    """Ask either model for the whole schema."""
    return [{"text": text.text, "schema": task.options.schema} for text in texts]


def _scores(task: ClosedExtractionTask, pipeline: Pipeline, examples: Sequence[Any]) -> dict[str, Any]:
    """Scores of whole results; none without examples."""
    texts = list(task.adapt(examples, training=False))
    metrics = task.metrics()
    for text, answers in zip(texts, pipeline.stream(_requests(task, texts)), strict=True):
        metrics.add_answers(text, answers)
    return metrics.result() if texts else {}
