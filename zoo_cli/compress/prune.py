"""`zoo prune`: smaller models cut out of a fine-tuned one and trained to answer as it does.

The run folder has, beside what every run has: `tables/`, the model with the smaller vocabulary, where that is asked
for; `widths/<width>/`, the run of each width, whose `best/` is a model folder, and `widths/importance.npz`;
`pruning.md`, the table. `best/` is the narrowest model that keeps to the gates; where none does, `rejected/` is the
widest.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.base.files import atomic_file, atomic_folder, read_json, write_json
from zoo_cli.base.progress import progress as progress_line
from zoo_cli.compress.gates import breaches as breaches_of
from zoo_cli.compress.pruning import Importance, choose, cut, importance
from zoo_cli.compress.vocabulary import cut_tables, frequent_tokens, subset
from zoo_cli.data.parts import read_parts
from zoo_cli.distill import report
from zoo_cli.distill.course import SECTIONS
from zoo_cli.distill.lesson import Lesson, prepare
from zoo_cli.distill.strategies import expand
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.run import BEST, RESULT, Run, open_run
from zoo_cli.engine.setup import Assembly, load_folder
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.render import to_yaml
from zoo_cli.recipe.schema import DistillMatch, PruneSection, Recipe, TrainSection
from zoo_cli.tasks.base import Task, load_task

WIDTHS, TABLES, TABLE = "widths", "tables", "pruning.md"
IMPORTANCE = "importance.npz"
ALONE = " alone"
"""Behind the name of a width whose model learnt from labels alone."""
UNPRUNED = "unpruned.json"
"""In a pruned model's folder: what it was cut out of."""


@dataclass
class _Pruned(Assembly):
    """A pruned model that says what it was cut out of.

    Args:
        unpruned: ``bytes`` of the unpruned model's weights, its ``parameters``, ``metric`` and ``score``.
    """

    unpruned: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        super().save(folder)
        write_json(folder / UNPRUNED, self.unpruned)


def section_of(recipe: Recipe) -> PruneSection:
    """The recipe's `prune` section.

    Raises:
        UsageError: it has none (`no-pruning`).
    """
    if recipe.prune is None:
        raise UsageError(
            "no-pruning",
            "the recipe has no section 'prune'",
            fix="say in it how small the model is to be: `widths: [0.75]`",
        )
    return recipe.prune


def prune(loaded: LoadedRecipe, folder: Path, source: Path, resume: bool = False, force: bool = False) -> None:
    """Prune a model as a recipe says; the run folder has the result.

    Args:
        loaded: the recipe.
        folder: run folder.
        source: model folder of the fine-tuned model.
        resume: go on with an unfinished run.
        force: replace a run that is there.

    Raises:
        GateError: no width keeps to `gates.metric_drop` and `gates.teacher_share` (`gate-failed`).
        ZooError: see `zoo_cli.engine.loop.train`, `load_folder`, `choose` and `read_parts`.
    """
    section = section_of(loaded.recipe)
    if not loaded.recipe.data.train:
        raise DataError("no-training-data", "the recipe names no training files", fix="set data.train")
    parts = read_parts(loaded.recipe.data, loaded.recipe.train.seed, ("train", "dev"))
    recipe, options = to_yaml(loaded, defaults=True, origins=False), section.stage.training(loaded.recipe.train)
    with open_run(folder, recipe, resume=resume, force=force, sections=SECTIONS) as run:
        original = source
        if section.vocabulary is not None or section.positions is not None:
            source = _smaller_tables(section, folder / TABLES, source, parts["train"], force)
        lesson = prepare(loaded, folder, source, parts, loaded.recipe.model.family)
        lesson.claim(force, (WIDTHS,))
        teacher = lesson.teacher.assembly
        found = _importance(lesson, section.examples, options.seed, folder / WIDTHS / IMPORTANCE)
        models: dict[str, tuple[Assembly, Path]] = {"unpruned": (load_folder(original), original)}
        for width in sorted(section.widths, reverse=True):
            kept = choose(found, width, section.layers, section.uneven)
            ways = {"": lambda model: expand(section.stage, teacher.model.config, model.config)}
            if section.baseline:
                ways[ALONE] = lambda model: [DistillMatch(feature="labels")]
            for way, matches in ways.items():
                smaller = cut(teacher.model, kept)
                task = load_task(source, teacher.tokenizer, teacher.task.inputs)
                task.fit_model(smaller.config.state_shapes)
                place = folder / WIDTHS / f"{width:g}{way.replace(' ', '-')}"
                student = Assembly(smaller, teacher.tokenizer, task)
                best = lesson.stage(place, student, matches(smaller), options, recipe)
                models[f"width {width:g}{way}"] = best, place / BEST
        if lesson.world.leads:
            _conclude(loaded, run, lesson, models, options)


def _importance(lesson: Lesson, count: int, seed: int, place: Path) -> list[Importance]:
    """The importance of heads and neurons by some of the training examples, computed unless it is there."""
    if not place.is_file():
        found = importance(lesson.teacher.assembly.model, _samples(lesson, count, seed))
        arrays = {f"{name}.{index}": value for index, each in enumerate(found) for name, value in vars(each).items()}
        with atomic_file(place) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)
    with np.load(place) as stored:
        layers = range(len(stored.files) // 2)
        return [Importance(stored[f"heads.{index}"], stored[f"neurons.{index}"]) for index in layers]


def _smaller_tables(section: PruneSection, folder: Path, source: Path, examples: list[Any], force: bool) -> Path:
    """The model folder with fewer tokens and positions, made unless it is there."""
    if force:
        shutil.rmtree(folder, ignore_errors=True)
    if not folder.is_dir():
        assembly = load_folder(source)
        tokenizer, tokens = assembly.tokenizer, None
        if section.vocabulary is not None:
            ids = (
                feature["input_ids"].ravel()
                for example in assembly.task.adapt(examples, training=True)
                for feature in assembly.task.encode(example, training=True)
            )
            tokens = frequent_tokens(tokenizer, ids, section.vocabulary)
            tokenizer = subset(tokenizer, tokens)
        smaller = cut_tables(assembly.model, tokens, section.positions)
        task = load_task(source, tokenizer, assembly.task.inputs)
        _shorten(task, smaller.config.longest_text)
        with atomic_folder(folder) as partial:
            Assembly(smaller, tokenizer, task).save(partial)
    return folder


def _shorten(task: Task[Any], longest: int) -> None:
    """Let a task cut texts to what fewer positions hold.

    Raises:
        UsageError: its other options do not go with that (`positions`).
    """
    if getattr(task.options, "max_length", 0) <= longest:
        return
    try:
        values = {**task.options.model_dump(), "max_length": longest}
        task.options = type(task.options).model_validate(values)
    except ValidationError as error:
        raise UsageError(
            "positions",
            "texts of {length} tokens are too short for the task: {reason}",
            fix="set prune.positions to more",
            length=longest,
            reason=error.errors()[0]["msg"],
        ) from error


def _samples(lesson: Lesson, count: int, seed: int) -> Iterator[Arrays]:
    """Training examples, each a batch of its own."""
    total = len(lesson.features)
    chosen = np.random.default_rng(seed).permutation(total)[:count]
    names = lesson.inputs | set(lesson.labels)
    with progress_line("Judging heads and neurons", len(chosen)) as show:
        for index in chosen:
            batch = lesson.task.stack(lesson.features.take([index]))
            yield {name: array for name, array in batch.items() if name in names}
            show(1)


def _conclude(
    loaded: LoadedRecipe, run: Run, lesson: Lesson, models: dict[str, tuple[Assembly, Path]], options: TrainSection
) -> None:
    """Measure the models, write the table and the chosen one, and judge it."""
    metric, gates = options.metric or lesson.metric, loaded.recipe.gates
    rows, scores = lesson.compare(models, options)
    reference = rows[0].score
    breaches: dict[str, str] = {}
    for row in rows[1:]:
        if row.score is None or reference is None or row.model.endswith(ALONE):
            continue  # nothing to judge by, or only there to compare
        # Size and speed are those of graphs, and judged where these are made.
        found = breaches_of(gates, metric, reference, row.score, size_ratio=0.0, speed_up=math.inf)
        if found:
            breaches[row.model] = found[0]
        elif gates.teacher_share is not None and (row.share or 0.0) < gates.teacher_share - 1e-9:
            breaches[row.model] = f"{row.share or 0.0:.1%} of {metric}"
    kept = [row.model for row in rows[1:] if row.model not in breaches and not row.model.endswith(ALONE)]
    chosen = kept[-1] if kept else rows[1].model
    breach = None if kept else f"no width keeps to the gates: {'; '.join(f'{k}: {v}' for k, v in breaches.items())}"
    results = {name: read_json(place.parent / RESULT) for name, (_, place) in models.items() if name != "unpruned"}
    described = {
        name: {"matches": [], "steps": result["steps"], "seconds": result["seconds"]}
        for name, result in results.items()
    }
    score = next(row.score for row in rows if row.model == chosen)
    totals = {key: sum(each[key] for each in results.values()) for key in ("steps", "seconds")}
    table = report.as_json(rows)
    pruned = models[chosen][0]
    unpruned = {"bytes": rows[0].bytes, "parameters": rows[0].parameters, "metric": metric, "score": reference}
    lesson.conclude(
        run,
        _Pruned(pruned.model, pruned.tokenizer, pruned.task, unpruned),
        scores[chosen],
        (TABLE, report.markdown("Pruning", metric, rows, described, breach)),
        {**results[chosen], **totals, "chosen": chosen, "best_score": score, "table": table},
        breach,
        "prune less, train longer, or loosen gates.metric_drop, and repeat with --force",
    )
