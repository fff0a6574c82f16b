"""The training loop: fine-tuning, pretraining, distillation, pruning and QAT all run through `train`.

N steps end in the same weights, bit by bit on a CPU, as k steps, a kill and N - k steps: batches are functions of
(seed, epoch), dropout is seeded by (seed, step, forward pass), and a checkpoint has everything else. What happens
inside a step is in `zoo_cli.engine.step`.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from zoo_cli.base.errors import UsageError
from zoo_cli.base.progress import progress as progress_line
from zoo_cli.engine.batches import Batches, count_steps, groups
from zoo_cli.engine.checkpoint import (
    Progress,
    Window,
    hand_over,
    latest_checkpoint,
    load_carried,
    load_checkpoint,
    save_checkpoint,
)
from zoo_cli.engine.device import autocast
from zoo_cli.engine.distributed import World
from zoo_cli.engine.objectives.base import Carrying, Objective
from zoo_cli.engine.optimizer import AdamW
from zoo_cli.engine.recompute import recomputing
from zoo_cli.engine.run import Run, flatten
from zoo_cli.engine.signals import StopNow, StopSignals, stop_error
from zoo_cli.engine.step import FIRST_LOSS_SCALE, Stepper, StepReport
from zoo_cli.engine.throughput import measured_peak, operations_of_token
from zoo_cli.models.parallel import distinct, gather
from zoo_cli.recipe.schema import TrainSection

logger = logging.getLogger(__name__)

Evaluate = Callable[[], dict[str, Any]]
"""Scores of the model on the development set: numbers by name, or nested tables of numbers."""

SaveModel = Callable[[Path], None]
"""Writes a model folder (configuration, weights, tokenizer, task) into an existing empty folder."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Args:
        steps: optimiser steps done.
        seconds: time spent in them.
        best_step: step of the best model; the last one where nothing was evaluated.
        metric: name of the score that chose it.
        best_score: its score, or None where nothing was evaluated.
        stopped: ``completed`` or ``patience``.
    """

    steps: int
    seconds: float
    best_step: int
    metric: str
    best_score: float | None
    stopped: str


def train(
    model: paddle.nn.Layer,
    objective: Objective,
    batches: Batches,
    options: TrainSection,
    run: Run,
    save_model: SaveModel,
    evaluate: Evaluate | None = None,
    metric: str = "loss",
    world: World | None = None,
) -> Result:
    """Train a model, going on from the latest checkpoint of the run if it has one.

    Args:
        model: the model; its trainable parameters change.
        objective: what is minimised.
        batches: the training set.
        options: the recipe's `train` section.
        run: the run folder.
        save_model: called for each best model.
        evaluate: called every `eval_steps` or after each epoch, and at the end; without it the last model is the best.
        metric: the score that chooses the best model, unless `options.metric` names another; a dotted name reaches
            into tables. Higher is better, except for ``loss``.
        world: the processes that train together; by default this one alone.

    Raises:
        DivergedError: loss or gradient is no number; the step is not applied (`diverged`).
        MemoryLimitError: memory did not suffice (`out-of-memory`).
        PreemptedError, InterruptedByUser: SIGTERM or SIGINT came; a checkpoint is saved.
        ArtifactError, UsageError: the run cannot be resumed.
        DataError: there is nothing to train on.
        PlatformError: the device does not have `options.precision`.
    """
    world = world or World()
    metric = options.metric or metric
    group_size = options.gradient_accumulation * world.groups
    with run, StopSignals() as signals, recomputing(model, options.recompute):
        autocast(options.precision)  # refuses now what the device does not have
        total = count_steps(batches, options, group_size)
        optimizer = AdamW(model, options)
        progress = _start_or_resume(run, model, objective, optimizer, batches, options, group_size, world)
        stepper = Stepper(model, objective, batches, optimizer, options, total, world, run.folder)
        upcoming = groups(batches, group_size, progress.epoch, progress.passes)
        saved, signal_received, stopped = progress.step, 0, "completed"
        model.train()

        peak = measured_peak(options.precision) * world.size
        tokens_at_peak = peak / (operations_of_token(model) or peak)  # a second
        with progress_line("Training", total, progress.step, ("loss", "rate", "speed", "peak")) as show:
            while True:
                finished = progress.step >= total
                evaluation_due = finished or _is_due(options.eval_steps, progress)
                save_due = (
                    evaluation_due if options.save_steps is None else finished or _is_due(options.save_steps, progress)
                )

                # Saved before the evaluation, so that nothing is lost if that fails; a resumed run evaluates again.
                if (save_due or signal_received) and saved != progress.step:
                    if world.leads:
                        carried = objective.carried() if isinstance(objective, Carrying) else None
                        save_checkpoint(run.checkpoints, model, optimizer, progress, options.keep_checkpoints, carried)
                    elif world.group == 0:
                        hand_over(model, optimizer)
                    saved = progress.step
                if signal_received:
                    raise stop_error(signal_received, progress.step)
                if evaluate is not None and evaluation_due and progress.evaluated != progress.step:
                    if world.group == 0:
                        signal_received = _evaluate(evaluate, metric, progress, run, save_model, signals, world, model)
                        model.train()
                    signal_received, progress.stale = map(int, world.from_leader([signal_received, progress.stale]))
                    if signal_received:
                        continue
                    progress.evaluated = progress.step
                if finished:
                    break
                if options.patience is not None and progress.stale >= options.patience:
                    stopped = "patience"
                    break

                started = time.perf_counter()
                group = next(upcoming)
                report = stepper.step(group, progress, signals.received)
                signal_received = report.signal
                done = group.start + len(group.members)
                progress.step += 1
                progress.epoch, progress.passes = (group.epoch, done) if done < group.of else (group.epoch + 1, 0)
                _count(progress, report, time.perf_counter() - started)
                speed = progress.window.tokens / progress.window.seconds
                show(
                    1,
                    loss=f"{report.losses['loss']:.4f}",
                    rate=f"{report.rate:.2e}",
                    speed=f"{speed:,.0f} tokens/s",
                    peak=f"{speed / tokens_at_peak:.0%}",
                )
                if progress.step % options.log_steps == 0 or progress.step == total:
                    if world.leads:
                        line = _averages(progress, report, group.epoch + done / group.of)
                        share = round(line["tokens_per_second"] / tokens_at_peak, 4)
                        run.report("train", progress.step, {**line, "peak_share": share})
                    progress.window = Window()

        best_step = progress.step if progress.best_step is None else progress.best_step
        result = Result(progress.step, round(progress.seconds, 3), best_step, metric, progress.best_score, stopped)
        if progress.best_step is None:
            _save_best(run, save_model, {}, world, model)
        if world.leads:
            run.finish(dataclasses.asdict(result))
        return result


def _start_or_resume(
    run: Run,
    model: paddle.nn.Layer,
    objective: Objective,
    optimizer: AdamW,
    batches: Batches,
    options: TrainSection,
    group_size: int,
    world: World,
) -> Progress:
    """Load the latest whole checkpoint, if there is one; all processes go on from the same."""
    progress = Progress(group_size, batches.fingerprint(), loss_scale=FIRST_LOSS_SCALE[options.precision])
    path = latest_checkpoint(run.checkpoints) if world.leads else None
    (step,) = world.from_leader([-1.0 if path is None else float(path.name.removeprefix("step-"))])
    if step >= 0:
        path = run.checkpoints / f"step-{int(step):06d}"
        stored = load_checkpoint(path, model, optimizer)
        if stored.fingerprint != progress.fingerprint:
            raise UsageError(
                "data-changed",
                "the training data are not those that the run was started with",
                fix="restore the files that data.train names, or start anew with --force",
            )
        if stored.group_size != group_size:
            raise UsageError(
                "batch-changed",
                "the run was started with {before} forward passes in a step, now there would be {now}",
                fix="set train.gradient_accumulation so that times the number of processes ({size}) it is {before}",
                before=stored.group_size,
                now=group_size,
                size=world.groups,
            )
        if isinstance(objective, Carrying):
            objective.carry(load_carried(path))
        progress = stored
        logger.info("going on from %s", path)
    world.share_weights(model)
    if world.leads:
        run.go_on_from(progress.step, progress.evaluated)
    return progress


def _is_due(every: int | None, progress: Progress) -> bool:
    """Whether something happens after this step: every so many steps, or after each epoch."""
    if progress.step == 0:
        return False
    return progress.passes == 0 if every is None else progress.step % every == 0


def _count(progress: Progress, report: StepReport, seconds: float) -> None:
    window = progress.window
    window.steps += 1
    for name, value in report.losses.items():
        window.losses[name] = window.losses.get(name, 0.0) + value
    window.grad_norm += report.norm
    window.tokens += report.tokens
    window.seconds += seconds
    progress.seconds += seconds


def _averages(progress: Progress, report: StepReport, epoch: float) -> dict[str, Any]:
    """A line of `metrics.jsonl`: averages over the steps since the last one."""
    window = progress.window
    return {
        "epoch": round(epoch, 4),
        **{name: value / window.steps for name, value in window.losses.items()},
        "learning_rate": report.rate,
        "grad_norm": window.grad_norm / window.steps,
        "tokens_per_second": round(window.tokens / window.seconds, 1),
        "seconds": round(progress.seconds, 3),
    }


def _save_best(run: Run, save_model: SaveModel, scores: dict[str, Any], world: World, model: paddle.nn.Layer) -> None:
    """Write the model; those who share it with the process that leads take part."""
    if world.leads:
        run.save_best(save_model, scores)
    elif world.group == 0:
        gather(distinct(model).values())


def _evaluate(
    evaluate: Evaluate,
    metric: str,
    progress: Progress,
    run: Run,
    save_model: SaveModel,
    signals: StopSignals,
    world: World,
    model: paddle.nn.Layer,
) -> int:
    """Report an evaluation, and write the model if it is the best so far.

    Returns:
        The stop signal that broke the evaluation off, or 0. Processes that share a model do not break off, since they
        would do so at different places.
    """
    try:
        with signals.interruptible() if world.tensor == 1 else nullcontext():
            scores = evaluate()
    except StopNow:
        return signals.received
    if progress.metric != metric:  # the recipe of the resumed run names another one
        progress.best_score, progress.best_step, progress.stale = None, None, 0
    numbers = flatten(scores)
    score = numbers.get(metric)
    if not isinstance(score, int | float):
        raise UsageError(
            "unknown-metric",
            "the evaluation has no score {metric!r}",
            fix="set train.metric to one of: {names}",
            metric=metric,
            names=", ".join(name for name, value in numbers.items() if isinstance(value, int | float)),
        )
    best = progress.best_score
    if math.isfinite(score) and (best is None or (score < best if metric == "loss" else score > best)):
        _save_best(run, save_model, {"step": progress.step, **scores}, world, model)
        progress.best_step, progress.best_score, progress.stale = progress.step, float(score), 0
        progress.metric = metric
    else:
        progress.stale += 1
    if world.leads:
        run.report("dev", progress.step, scores)
        run.draw_report()
    logger.info("step %d: %s %.5g, best at step %s", progress.step, metric, score, progress.best_step)
    return 0
