"""`zoo distill`: the stages of a recipe one after another, over the same loop as fine-tuning.

The run folder has, beside what every run has: `stages/<name>/`, the run of each stage, and `baseline/`; `teacher/`, the
teacher's answers while they are needed; `distillation.md`, the table. `best/` is the student of the last stage, or
`rejected/` where it keeps too little.
"""

from __future__ import annotations

from pathlib import Path

from zoo_cli.base.errors import DataError
from zoo_cli.data.augment.recipe import training_data
from zoo_cli.data.parts import read_parts
from zoo_cli.distill import report
from zoo_cli.distill.closed_domain import distill_by_labelling
from zoo_cli.distill.course import BASELINE, SECTIONS, STAGES, TABLE, collect_stages
from zoo_cli.distill.lesson import Lesson, prepare
from zoo_cli.distill.pair import build_student
from zoo_cli.distill.strategies import expand, section_of
from zoo_cli.engine.run import BEST, Run, open_run
from zoo_cli.engine.setup import Assembly
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.presets import FileProgress
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import DistillMatch, TrainSection


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
    if section.labelling is not None:
        distill_by_labelling(loaded, section.labelling, folder, source, resume, force, progress)
        return
    parts = read_parts(training_data(loaded), loaded.recipe.train.seed, ("train", "dev"))
    lesson = prepare(loaded, folder, source, parts, section.student.family, section.cache_gigabytes)
    student = build_student(loaded, lesson.teacher.assembly, source, parts["train"], progress)
    configs = (lesson.teacher.assembly.model.config, student.model.config)
    stages = {name: expand(stage, *configs) for name, stage in section.stages.items()}
    recipe = to_yaml(loaded, defaults=True, origins=False)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        lesson.claim(force, (STAGES, BASELINE))
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


def _conclude(
    loaded: LoadedRecipe,
    run: Run,
    lesson: Lesson,
    models: dict[str, tuple[Assembly, Path]],
    stages: dict[str, list[DistillMatch]],
    options: TrainSection,
) -> None:
    """Measure the models, write the table and the student, and judge it."""
    metric = options.metric or lesson.metric
    rows, scores = lesson.compare(models, options)
    results, totals = collect_stages(run, list(stages))
    described = {
        name: {
            "matches": [match.model_dump(mode="json", exclude_defaults=True) for match in matches],
            "steps": results[name]["steps"],
            "seconds": results[name]["seconds"],
        }
        for name, matches in stages.items()
    }
    breach = lesson.breach(metric, rows[1])
    lesson.conclude(
        run,
        models["student"][0],
        scores["student"],
        (TABLE, report.markdown("Distillation", metric, rows, described, breach)),
        {**totals, "best_score": rows[1].score, "table": report.as_json(rows), "stages": described},
        breach,
        "train longer, take a larger student or other matches, and repeat with --force",
    )
