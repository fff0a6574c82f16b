"""One optimiser step: forward and backward passes, shared between processes, checked, clipped, applied."""

from __future__ import annotations

import hashlib
import math
import signal
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import paddle

from zoo_cli.engine.batches import Batch, Batches, Group
from zoo_cli.engine.checkpoint import Progress
from zoo_cli.engine.device import autocast
from zoo_cli.engine.distributed import World
from zoo_cli.engine.guards import diverged, explain_memory
from zoo_cli.engine.objectives.base import Counting, Losses, Objective
from zoo_cli.engine.optimizer import AdamW, gradient_norm, learning_rate, scale_gradients
from zoo_cli.recipe.schema import TrainSection

FIRST_LOSS_SCALE = {"float32": 1.0, "bfloat16": 1.0, "float16": 2.0**15}
"""Factor on the loss that keeps small gradients from vanishing in float16."""
_STEPS_TO_RAISE_SCALE = 2000


@dataclass(frozen=True)
class StepReport:
    """What a step did.

    Args:
        losses: ``loss`` and its parts, averaged over the labels of all passes and processes.
        norm: norm of the gradient before clipping; 0 in a step that float16 overflow made void.
        rate: learning rate.
        tokens: tokens read by all processes, padding not counted.
        signal: number of the stop signal that some process has received, or 0; the same on all of them.
    """

    losses: dict[str, float]
    norm: float
    rate: float
    tokens: int
    signal: int


@dataclass(frozen=True)
class Stepper:
    """All that a step needs and that stays the same over a run; see `zoo_cli.engine.loop.train` for the fields."""

    model: paddle.nn.Layer
    objective: Objective
    batches: Batches
    optimizer: AdamW
    options: TrainSection
    total: int
    world: World
    folder: Path

    def step(self, group: Group, progress: Progress, signal_received: int) -> StepReport:
        """Run the passes of a group and update the weights once.

        Args:
            group: the passes, those of the other processes included.
            progress: read for the number of the step; its loss scale is adapted.
            signal_received: by this process so far.

        Raises:
            DivergedError: loss or gradient is no number; the weights are left as they were.
            MemoryLimitError: memory did not suffice.
        """
        parameters, world = self.optimizer.parameters, self.world
        numbers = range(len(group.members))
        # A process without a share, at the end of an epoch, runs a pass that does not count: all of them must have
        # gradients for the same parameters.
        mine = numbers[world.group :: world.groups]
        sums: dict[str, float] = defaultdict(float)
        labels, tokens, broken = 0.0, 0, [0.0 for _ in numbers]
        loaded = [self.batches.load(group.epoch, group.members[number]) for number in mine or [0]]
        shares = self._shares(loaded, len(numbers), counts=bool(mine))
        for number, batch, share in zip(mine or [0], loaded, shares, strict=True):
            paddle.seed(_seed(self.options.seed, progress.step, number))
            with explain_memory(batch.arrays, self.options):
                losses, values = self._forward(batch, progress.step, share)
                weight = _weight(losses, alone=len(numbers) == 1) if mine else 0.0
                (losses.total * (weight * progress.loss_scale)).backward()
            for name, value in values.items():
                sums[name] += value * weight
            broken[number] = float(not math.isfinite(values["loss"]))
            labels += weight
            tokens += batch.tokens if mine else 0

        stops = [float(signal_received == number) for number in (signal.SIGTERM, signal.SIGINT)]
        labels, total_tokens, terminated, interrupted, *summed = world.sum([labels, tokens, *stops, *sums.values()])
        world.sum_gradients(parameters)
        divisor = (labels or 1.0) * progress.loss_scale
        means = {name: value / (labels or 1.0) for name, value in zip(sums, summed, strict=True)}
        norm = gradient_norm(parameters) / divisor

        overflow = not math.isfinite(norm) and math.isfinite(means["loss"]) and progress.loss_scale > 1.0
        if not math.isfinite(means["loss"]) or not (math.isfinite(norm) or overflow):
            self._give_up(group, broken, progress.step, means["loss"], norm)
        rate = learning_rate(progress.step, self.total, self.options)
        if labels and not overflow:
            limit = self.options.max_grad_norm
            clip = 1.0 if limit is None else limit / max(norm, limit)
            scale_gradients(parameters, clip / divisor)
            self.optimizer.step(rate)
        self.optimizer.clear_gradients()
        if self.options.precision == "float16":
            _adapt_loss_scale(progress, overflow)
        stop = signal.SIGINT if interrupted else signal.SIGTERM if terminated else 0
        return StepReport(means, 0.0 if overflow else norm, rate, int(total_tokens), int(stop))

    def _shares(self, loaded: Sequence[Batch], passes: int, counts: bool) -> list[Sequence[float] | None]:
        """What each average of each own pass is multiplied by, so that over the step it is one over all its labels.

        Args:
            loaded: the own passes.
            passes: number of all.
            counts: False where this process has none, so that it only runs along.

        Returns:
            The factors, or None for a pass that has one weight: always where there is one pass or one average.
        """
        plain: list[Sequence[float] | None] = [None for _ in loaded]
        if passes == 1 or not isinstance(self.objective, Counting):
            return plain
        labels = np.array([self.objective.counts(batch.arrays) for batch in loaded], np.float64) * counts
        if not labels.size:
            return plain
        totals = np.array(self.world.sum(labels.sum(axis=0).tolist()))
        if not totals.any():
            return plain
        return list((passes * labels / np.maximum(totals, 1.0)).tolist())

    def _forward(self, batch: Batch, step: int, shares: Sequence[float] | None) -> tuple[Losses, dict[str, float]]:
        """The losses of one pass, as tensors and as numbers (one transfer from the device)."""
        with autocast(self.options.precision):
            if shares is not None and isinstance(self.objective, Counting):
                losses = self.objective.loss(self.model, batch.arrays, step, shares)
            else:
                losses = self.objective.loss(self.model, batch.arrays, step)
        named = {"loss": losses.total, **losses.parts}
        numbers = paddle.stack([tensor.detach().astype("float32").reshape([]) for tensor in named.values()]).tolist()
        return losses, dict(zip(named, numbers, strict=True))

    def _give_up(self, group: Group, broken: list[float], step: int, loss: float, norm: float) -> None:
        flags = self.world.sum(broken)
        blamed = [rows for rows, flag in zip(group.members, flags, strict=True) if flag] or list(group.members)
        raise diverged(
            self.folder,
            step + 1,
            loss,
            norm,
            passes=[self.batches.load(group.epoch, rows).arrays for rows in blamed],
            sources=[source for rows in blamed for source in self.batches.describe(rows)],
            save=self.world.leads,
        )


def _seed(*place: int) -> int:
    """A seed for paddle's generator, which uses the lower 32 bits on a CPU."""
    return int.from_bytes(hashlib.sha256(repr(place).encode()).digest()[:7], "little")


def _weight(losses: Losses, alone: bool) -> float:
    """Factor on the gradient of a pass: its labels, so that passes can be averaged over them; 1 for a lone pass."""
    return float(losses.weight > 0) if alone else float(losses.weight)


def _adapt_loss_scale(progress: Progress, overflow: bool) -> None:
    """Halve the scale when gradients overflow, double it after many steps in which they did not."""
    progress.good_steps = 0 if overflow else progress.good_steps + 1
    if overflow:
        progress.loss_scale = max(1.0, progress.loss_scale / 2)
    elif progress.good_steps == _STEPS_TO_RAISE_SCALE:
        progress.loss_scale, progress.good_steps = progress.loss_scale * 2, 0
