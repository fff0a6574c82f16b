"""How large a batch may be: measured at start over the lengths that the model takes."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import MemoryLimitError
from zoo_cli.decoding.engine import StepModel
from zoo_cli.runtime.pipeline import Runner
from zoo_cli.tasks.base import Feature, Task

_log = logging.getLogger(__name__)
_STATUS = Path("/proc/self/status")
_SHORTEST = 16


def _status(name: str) -> int:
    """Bytes of a line of the process status, 0 where the system has none."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def memory_in_use() -> int:
    """Bytes of this process that are in memory now."""
    return _status("VmRSS")


def _peak_of(work: Callable[[], Any]) -> int:
    """Most bytes of this process in memory while `work` runs."""
    # The peak starts again from what is in use; where that is not allowed it is the process's own, which is no less.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    work()
    return _status("VmHWM")


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Nine tenths of what the container, or else the machine, has; None where nobody says.

    Args:
        cgroups: where the control groups are mounted.
    """
    found = []
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # there is no such file, or it says "max"
            found.append(int((cgroups / name).read_text()))
    with contextlib.suppress(OSError, ValueError, IndexError):
        found.append(int(Path("/proc/meminfo").read_text().split()[1]) * 1024)
    return min(found) * 9 // 10 if found else None


class Ceiling:
    """Number of rows that a batch may have, by their length: the tokens of a row, those of all its choices.

    Args:
        batch_tokens: padded tokens in one batch at most.
        row_bytes: length -> bytes that one row takes while it is computed; longer ones take more in proportion.
        room: bytes that one batch may take; None for any number.
    """

    def __init__(self, batch_tokens: int, row_bytes: dict[int, int] | None = None, room: int | None = None) -> None:
        self.batch_tokens = batch_tokens
        self.row_bytes = dict(sorted((row_bytes or {}).items()))
        self.room = room

    def __call__(self, length: int) -> int:
        rows = self.batch_tokens // max(1, length)
        if self.room is not None and self.row_bytes:
            rows = min(rows, self.room // max(1, self._bytes(length)))
        return max(1, rows)

    def fits(self, length: int) -> bool:
        """Whether a row of that length can be computed at all; one may have many choices, each as long as may be."""
        return self.room is None or not self.row_bytes or self._bytes(length) <= self.room

    def _bytes(self, length: int) -> int:
        longest = max(self.row_bytes)
        measured = next((size for size in self.row_bytes if size >= length), longest)
        return self.row_bytes[measured] * max(length, longest) // longest


def calibrate(
    runner: Runner, task: Task[Any], sample: Any, batch_tokens: int, limit: int | None, side_by_side: int = 1
) -> Ceiling:
    """Warm a model up, and measure the memory of one row at every power of two of its length.

    Args:
        runner: computes; its first runs are slower than later ones, so this is the warm-up too.
        task: of the model.
        sample: a request that the task takes, with text to read.
        batch_tokens: padded tokens in one batch at most.
        limit: bytes that the process may use; None for any number.
        side_by_side: batches that are computed at the same time.

    Raises:
        MemoryLimitError: a single sequence of the greatest length is too much (`memory-limit`).
    """
    longest = longest_of(task)
    feature = feature_of(task, sample)
    assert feature is not None, "the sample has no text"
    lengths = [length for length in (2**power for power in range(4, 14)) if length < longest] + [longest]
    before = memory_in_use()
    row_bytes, most = {}, 1
    for length in lengths:
        row = stretched(task, feature, length)
        most = max(most, _peak_of(lambda row=row: runner.one_batch([row])) - before)  # type: ignore[misc]
        row_bytes[row["input_ids"].size] = most
    room = None if limit is None else (limit - before) // side_by_side
    _must_fit(longest, most, room)
    ceiling = Ceiling(batch_tokens, row_bytes, room)
    for length in (lengths[0], longest):
        row = stretched(task, feature, length)
        size = row["input_ids"].size
        runner.one_batch([row] * ceiling(size))
    if ceiling(size) < max(1, batch_tokens // size):
        _log.warning("memory allows batches of %d rows of %d tokens only", ceiling(size), size)
    return ceiling


def calibrate_writer(model: StepModel, longest: int, limit: int | None, side_by_side: int = 1) -> int | None:
    """Warm a model that writes up, and measure the memory of one row that is as long as may be.

    Args:
        model: reads prompts and tokens; its batch is empty.
        longest: most tokens of a row.
        limit: bytes that the process may use; None for any number.
        side_by_side: batches that are written at the same time.

    Returns:
        Number of rows that may be written at the same time; None for any number.

    Raises:
        MemoryLimitError: a single row is too much (`memory-limit`).
    """

    def write() -> None:
        model.prefill([{"input_ids": np.zeros(longest - 1, np.int64)}])
        model.step(np.zeros(1, np.int64))

    before = memory_in_use()
    most = max(1, _peak_of(write) - before)
    model.select(np.zeros(0, np.int64))
    if limit is None:
        return None
    room = (limit - before) // side_by_side
    _must_fit(longest, most, room)
    return room // most


def feature_of(task: Task[Any], sample: Any) -> Feature | None:
    """The first thing that a request asks of a model that reads, or None where there is no text in it."""
    asked = next(task.steps(task.request(sample)), None)
    return asked[0] if asked else None


def longest_of(task: Task[Any]) -> int:
    """Most tokens that the task lets a model read at once."""
    return int(getattr(task.options, "max_length", 512))


def _must_fit(length: int, need: int, room: int | None) -> None:
    if room is not None and room < need:
        raise MemoryLimitError(
            "memory-limit",
            "one sequence of {length} tokens takes {need} MB, and {room} MB of the limit are left",
            fix="raise serve.memory_limit, or serve a smaller model",
            length=length,
            need=need >> 20,
            room=max(0, room) >> 20,
        )


def stretched(task: Task[Any], feature: Feature, length: int) -> Feature:
    """The feature with its sequence repeated or cut to `length` tokens."""
    size = feature["input_ids"].shape[-1]

    def stretch(name: str, array: np.ndarray) -> np.ndarray:
        axes = 2 if name in task.square else 1
        if name in task.fixed or array.shape[-axes:] != (size,) * axes:
            return array
        return np.resize(array, (*array.shape[:-axes], *(length,) * axes))

    return {name: stretch(name, array) for name, array in feature.items()}
