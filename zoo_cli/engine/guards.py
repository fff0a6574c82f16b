"""What goes wrong in training steps, turned into errors that say what to do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from zoo_cli.base.errors import DivergedError, Location, MemoryLimitError
from zoo_cli.base.files import atomic_file
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.folders import DIVERGED
from zoo_cli.recipe.schema import TrainSection

_NAMED_ROWS = 5


def diverged(
    folder: Path, step: int, loss: float, norm: float, passes: Sequence[Arrays], sources: Sequence[str], save: bool
) -> DivergedError:
    """Save the input of a step that must not be applied as `diverged-batch.npz` and describe it.

    Args:
        folder: the run folder. With several passes the names in the file are ``<pass>/<name>``.
        step: number of the step, from 1.
        loss: its loss.
        norm: norm of its gradient.
        passes: batches that are to blame: those whose loss is no number, or all if only the gradient is none.
        sources: where their rows come from.
        save: whether to write the file; one process of several does.
    """
    path = folder / DIVERGED
    if save:
        named = {f"{number}/{name}": array for number, batch in enumerate(passes) for name, array in batch.items()}
        with atomic_file(path) as partial, partial.open("wb") as handle:
            np.savez(handle, **(passes[0] if len(passes) == 1 else named))
    quantity, value = ("gradient norm", norm) if math.isfinite(loss) else ("loss", loss)
    more = f" and {len(sources) - _NAMED_ROWS} more" if len(sources) > _NAMED_ROWS else ""
    return DivergedError(
        "diverged",
        "the {quantity} of step {step} is {value}; its batch is saved, made of {rows}",
        at=Location.of(path),
        fix="look at these rows; if they are right, lower train.learning_rate, raise train.warmup_ratio or set "
        "train.max_grad_norm, and start anew with --force",
        quantity=quantity,
        step=step,
        value=value,
        rows=", ".join(sources[:_NAMED_ROWS]) + more,
    )


@contextmanager
def explain_memory(batch: Arrays, options: TrainSection | None = None) -> Iterator[None]:
    """Turn paddle's out-of-memory error (a MemoryError) into advice computed from this batch.

    Args:
        batch: the input of the forward pass.
        options: the recipe's `train` section if this is a training step.

    Raises:
        MemoryLimitError: memory did not suffice (`out-of-memory`).
    """
    try:
        yield
    except MemoryError as error:
        largest = max(batch.values(), key=lambda array: array.size)
        rows, length = largest.shape[0], largest.shape[1] if largest.ndim > 1 else 1
        raise MemoryLimitError(
            "out-of-memory",
            "a batch of {rows} rows of {length} tokens does not fit into memory",
            fix="try one of: {advice}",
            rows=rows,
            length=length,
            advice="; ".join(_advice(rows, length, options) if options else ["smaller batches", "shorter texts"]),
        ) from error


def _advice(rows: int, length: int, options: TrainSection) -> list[str]:
    """The cheapest changes first; the first one leaves the result as it is."""
    advice = []
    if rows > 1:
        twice = f"train.gradient_accumulation={2 * options.gradient_accumulation}"
        if options.batch_tokens is None:
            advice.append(f"train.batch_size={-(-min(rows, options.batch_size) // 2)} {twice}")
        else:
            advice.append(f"train.batch_tokens={max(length, options.batch_tokens // 2)} {twice}")
    if not options.recompute:
        advice.append("train.recompute=true (slower)")
    if length > 1:
        advice.append(f"a smaller task.max_length than {length}")
    return advice
