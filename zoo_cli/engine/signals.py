"""SIGTERM and SIGINT: let the step finish, save, and leave with an exit code that says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from zoo_cli.base.errors import InterruptedByUser, PreemptedError, ZooError


class StopNow(Exception):
    """Raised by the signal handler inside `StopSignals.interruptible`."""


class StopSignals:
    """While entered, the first SIGTERM or SIGINT is remembered instead of killing the process.

    A second SIGINT raises KeyboardInterrupt at once. Outside the main thread, where Python allows no handlers, nothing
    is caught.

    Attributes:
        received: number of the signal, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._interruptible = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = number
        if self._interruptible:
            raise StopNow

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that a signal may break off at any line, because it changes nothing and can be done again."""
        self._interruptible = True
        try:
            if self.received:
                raise StopNow
            yield
        finally:
            self._interruptible = False


def stop_error(number: int, step: int) -> ZooError:
    """The error to raise once the checkpoint of `step` is on disk.

    Args:
        number: of the signal; in a distributed run another process may have received it.
        step: optimiser steps done.
    """
    kind, code = (InterruptedByUser, "interrupted") if number == signal.SIGINT else (PreemptedError, "preempted")
    return kind(
        code,
        "stopped by {name} after step {step}; the checkpoint is saved",
        fix="run the same command with --resume to go on",
        name=signal.Signals(number).name,
        step=step,
    )
