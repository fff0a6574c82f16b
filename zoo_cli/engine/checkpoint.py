"""Checkpoints: all that a run needs to go on as if it had never stopped, and nothing that executes code when read.

A checkpoint is a folder ``step-000500``: `model.safetensors` and `optimizer.safetensors` under structured names,
`progress.json`, and a manifest with the SHA-256 of each; `carried.safetensors` where the objective hands tensors from
pass to pass. No generator state is stored, since batches and dropout are functions of (seed, step).
"""

from __future__ import annotations

import dataclasses
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import paddle

# The paddle flavour cannot load while strided views are off (`zoo_cli.base.environment`).
from safetensors.numpy import load_file, save_file

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import atomic_folder, read_json, remove_partial, verify_manifest, write_json, write_manifest
from zoo_cli.engine.optimizer import AdamW
from zoo_cli.models.parallel import distinct, gather, set_weight
from zoo_cli.models.stored import safetensors_tensors

logger = logging.getLogger(__name__)

MODEL, OPTIMIZER, PROGRESS = "model.safetensors", "optimizer.safetensors", "progress.json"
CARRIED = "carried.safetensors"
_NAME = re.compile(r"step-(\d+)")


@dataclass
class Window:
    """What happened since the last line of `metrics.jsonl`.

    Args:
        steps: optimiser steps.
        losses: name -> sum over the steps.
        grad_norm: sum over the steps, before clipping.
        tokens: tokens read, padding not counted.
        seconds: time spent in steps.
    """

    steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    grad_norm: float = 0.0
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Progress:
    """How far a run is.

    Args:
        step: optimiser steps done.
        epoch: number of the current epoch, from 0.
        passes: forward passes done in this epoch.
        group_size: forward passes in a step, over all processes.
        fingerprint: of the training data.
        seconds: time spent in steps since the beginning of the run.
        evaluated: step of the latest evaluation.
        best_step: step of the best model, or None before the first evaluation.
        best_score: its score.
        metric: name of that score.
        stale: evaluations since then.
        loss_scale: factor on float16 losses.
        good_steps: steps since that factor last changed.
        window: sums for the next line of `metrics.jsonl`.
    """

    group_size: int
    fingerprint: str
    step: int = 0
    epoch: int = 0
    passes: int = 0
    seconds: float = 0.0
    evaluated: int = 0
    best_step: int | None = None
    best_score: float | None = None
    metric: str | None = None
    stale: int = 0
    loss_scale: float = 1.0
    good_steps: int = 0
    window: Window = field(default_factory=Window)


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, latest first."""
    found = [(int(match[1]), path) for path in Path(folder).glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def save_checkpoint(
    folder: Path,
    model: paddle.nn.Layer,
    optimizer: AdamW,
    progress: Progress,
    keep: int,
    carried: Mapping[str, paddle.Tensor] | None = None,
) -> Path:
    """Write a checkpoint, then remove all but the latest `keep`.

    Args:
        folder: the run's `checkpoints` folder.
        model: its weights and buffers are written; a tied weight once.
        optimizer: its state is written.
        progress: names the checkpoint by its step.
        keep: how many stay.
        carried: what the objective hands from pass to pass, see `zoo_cli.engine.objectives.base.Carrying`.
    """
    path = Path(folder) / f"step-{progress.step:06d}"
    with atomic_folder(path) as partial:
        save_file(_arrays(distinct(model)), partial / MODEL)
        save_file(_arrays(optimizer.state()), partial / OPTIMIZER)
        if carried:
            save_file(_arrays(carried), partial / CARRIED)
        write_json(partial / PROGRESS, dataclasses.asdict(progress))
        write_manifest(partial)
    for old in checkpoints(folder)[keep:]:
        doomed = old.with_name(f".partial-old-{old.name}")  # a half removed folder must not look like a checkpoint
        old.rename(doomed)
        shutil.rmtree(doomed)
    return path


def hand_over(model: paddle.nn.Layer, optimizer: AdamW) -> None:
    """Take part in `save_checkpoint` of another process that shares the model."""
    gather(distinct(model).values())
    gather(optimizer.state().values())


def latest_checkpoint(folder: Path) -> Path | None:
    """The latest checkpoint that is whole, or None where there is none at all.

    A damaged one is set aside as ``step-000500.damaged`` with a warning, and the one before it is tried.

    Raises:
        ArtifactError: there are checkpoints and all are damaged (`no-whole-checkpoint`).
    """
    remove_partial(folder)
    found = checkpoints(folder)
    for path in found:
        try:
            verify_manifest(path)
            return path
        except ArtifactError as error:
            logger.warning("checkpoint %s is damaged, trying the one before it: %s", path, error)
            aside = path.with_name(f"{path.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
    if found:
        raise ArtifactError(
            "no-whole-checkpoint", "all checkpoints are damaged", at=Location.of(folder), fix="start anew with --force"
        )
    return None


def load_checkpoint(path: Path, model: paddle.nn.Layer, optimizer: AdamW) -> Progress:
    """Put a checkpoint's weights and optimiser state in place and return how far it was.

    Args:
        path: a folder that `latest_checkpoint` has checked.
        model: of the same architecture as the one saved.
        optimizer: over `model`, and not used yet.

    Raises:
        ArtifactError: the weights are of another model (`weights-mismatch`, `optimizer-mismatch`), or the progress
            file has other fields (`broken-progress`).
    """
    own, stored = distinct(model), safetensors_tensors(path / MODEL)
    for name in sorted(own.keys() | stored.keys()):
        if name not in own or name not in stored or tuple(own[name].shape) != stored[name].shape:
            raise ArtifactError(
                "weights-mismatch",
                "the checkpoint is of another model: they differ in {name!r}",
                at=Location.of(path / MODEL),
                fix="use the recipe that the run was started with, or start anew with --force",
                name=name,
            )
    for name, tensor in own.items():
        set_weight(tensor, stored[name])
    optimizer.load_state(safetensors_tensors(path / OPTIMIZER))
    value = read_json(path / PROGRESS)
    try:
        return Progress(**{**value, "window": Window(**value["window"])})
    except (TypeError, KeyError) as error:
        raise ArtifactError(
            "broken-progress",
            "the file is of another version: {reason}",
            at=Location.of(path / PROGRESS),
            reason=str(error),
        ) from error


def load_carried(path: Path) -> dict[str, np.ndarray]:
    """What the objective had to hand on when a checkpoint was saved."""
    return load_file(path / CARRIED) if (path / CARRIED).is_file() else {}


def _arrays(tensors: Mapping[str, paddle.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}
