"""Doing the steps of a run, each in a process of its own, so that memory returns and a crash names its step.

A step can be killed at any moment, and so can the process that starts the steps: what was begun is in `run.json`, and
the next call goes on from it. A step whose starter dies is told to stop, and the next call waits until it has.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import InterruptedByUser, Location, PreemptedError, UsageError, ZooError
from zoo_cli.base.locks import exclusive
from zoo_cli.engine.signals import StopSignals
from zoo_cli.pipeline.graph import TO_DO, Judgement, Road
from zoo_cli.pipeline.state import Record, State, clear, size_of
from zoo_cli.pipeline.steps import Step, answer_file

_POLL_SECONDS, _LOOK_SECONDS = 0.05, 0.5
_SET_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_STOPPED = (PreemptedError.exit_code, InterruptedByUser.exit_code)


@dataclass(frozen=True)
class Event:
    """Something that happened to a step.

    Args:
        step: its name.
        state: ``kept`` (nothing to do), ``running``, ``done`` or ``failed``.
        seconds: since it was started.
        note: how far it is, or why it is done or kept.
    """

    step: str
    state: str
    seconds: float = 0.0
    note: str = ""


Watch = Callable[[Event], None]


class StepError(ZooError):
    """A step failed; the exit code is that of its process.

    Args:
        step: its name.
        exit_code: of its process; 128 and the number of a signal that killed it.
        reason: what it said.
        log: what it wrote to standard error.
    """

    def __init__(self, step: str, exit_code: int, reason: str, log: Path) -> None:
        super().__init__(
            "step-failed",
            "the step {step} failed: {reason}",
            at=Location.of(log),
            fix="the same command goes on from there",
            step=step,
            reason=reason,
        )
        self.exit_code = exit_code


def execute(road: Road, watch: Watch) -> State:
    """Do what is to be done.

    Args:
        road: the run.
        watch: told what happens.

    Returns:
        The records of all steps.

    Raises:
        StepError: a step failed.
        UsageError: another process does this run (`run-busy`); see `Road.judge` too.
        PreemptedError, InterruptedByUser: stopped by a signal, which the step got, too.
    """
    road.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive(road.root / ".lock", wait=False))
        except BlockingIOError as error:
            raise UsageError(
                "run-busy", "another process does this run", at=Location.of(road.root), fix="wait for it"
            ) from error
        state = State(road.root)
        signals = stack.enter_context(StopSignals())
        road.plan(state)  # refuses what cannot be done before anything is
        for step in road.chosen:
            if signals.received:
                raise _stopped(signals.received, step)
            judgement = road.judge(step, state)
            if judgement.verdict == "rejected":
                record = state.records[step.name]
                raise _failure(step, record, road)
            if judgement.verdict in TO_DO:
                _Execution(road, state, judgement, watch, signals).run()
                continue
            if judgement.verdict == "adopt":
                record = state.records[step.name]
                record.state, record.output, record.disk_bytes = "done", state.output(step), _size(road, step)
                _save(road, state)
            watch(Event(step.name, "kept", note="; ".join(judgement.reasons)))
    return state


def _save(road: Road, state: State) -> None:
    state.save(road.recipe, road.overrides, road.loaded.tiny)


def _size(road: Road, step: Step) -> int:
    return size_of(road.root / step.name) + (size_of(road.root / "report.html") if step.artifact == "page" else 0)


def _failure(step: Step, record: Record, road: Road) -> StepError:
    reason = (record.error or {}).get("message") or "see its log"
    log = answer_file(road.root, step.name).with_suffix(".log")
    return StepError(step.name, record.exit_code or 1, reason, log)


def _stopped(number: int, step: Step) -> ZooError:
    kind = InterruptedByUser if number == signal.SIGINT else PreemptedError
    return kind(
        "run-stopped",
        "stopped by {name} in the step {step}",
        fix="the same command goes on from there",
        name=signal.Signals(number).name,
        step=step.name,
    )


class _Execution:
    """One step that is done."""

    def __init__(self, road: Road, state: State, judgement: Judgement, watch: Watch, signals: StopSignals) -> None:
        self._road, self._state, self._watch, self._signals = road, state, watch, signals
        self._step = judgement.step
        self._resumes = judgement.verdict == "resume"
        before = state.records.get(self._step.name)
        assert judgement.facts is not None  # all that it needs is done
        self._record = Record("running", judgement.facts, command=road.command(self._step))
        if before is not None:  # what it took the last time stays known until it is measured again
            self._record.peak_megabytes, self._record.disk_bytes = before.peak_megabytes, before.disk_bytes
            self._record.seconds = before.seconds
        self._spent = before.seconds if before is not None and self._resumes and self._step.trains else 0.0
        self._answer = answer_file(road.root, self._step.name)
        self._log = self._answer.with_suffix(".log")

    def run(self) -> None:
        """Run the command and note how it ended."""
        step, record = self._step, self._record
        self._answer.parent.mkdir(exist_ok=True)
        self._wait_for_orphan()
        if self._signals.received:
            raise _stopped(self._signals.received, step)
        if not self._resumes:
            clear(self._road.root, step)
        self._state.records[step.name] = record
        _save(self._road, self._state)
        started = time.monotonic()
        output = self._answer.with_suffix(".out")
        with output.open("wb") as answer, self._log.open("wb") as log:
            process = _start(record.command, answer, log)
            code, peak = self._follow(process, started)
        record.seconds = round(self._spent + time.monotonic() - started, 3)
        record.peak_megabytes = round(max(peak, record.peak_megabytes if self._resumes else 0.0), 1)
        record.disk_bytes = _size(self._road, step)
        if code == 0:
            output.replace(self._answer)
            record.state, record.output = "done", self._state.output(step)
            _save(self._road, self._state)
            self._watch(Event(step.name, "done", record.seconds))
            return
        record.exit_code = 128 - code if code < 0 else code
        stopped = bool(self._signals.received) or record.exit_code in _STOPPED
        record.state, record.error = "stopped" if stopped else "failed", _error_of(output, self._log, code)
        _save(self._road, self._state)
        if stopped:
            own = signal.SIGINT if record.exit_code == InterruptedByUser.exit_code else signal.SIGTERM
            raise _stopped(self._signals.received or own, step)
        self._watch(Event(step.name, "failed", record.seconds, record.error["message"]))
        raise _failure(step, record, self._road)

    def _wait_for_orphan(self) -> None:
        """Wait for a step whose starter was killed: it holds the lock of its folder until it has saved its state."""
        lock = self._road.root / self._step.name / ".lock"
        if lock.exists():
            self._watch(Event(self._step.name, "running", note="waiting for an earlier process"))
            with exclusive(lock):
                pass

    def _follow(self, process: subprocess.Popen[bytes], started: float) -> tuple[int, float]:
        """Wait for the process and tell how far it is; hand on signals.

        Returns:
            Exit code, or minus the number of a signal; and its largest memory in megabytes.
        """
        looked, handed_on = 0.0, 0
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            now = time.monotonic()
            if pid:
                process.returncode = code = os.waitstatus_to_exitcode(status)
                return code, usage.ru_maxrss / 1000
            if self._signals.received and not handed_on:
                process.send_signal(handed_on := self._signals.received)
            if now - looked >= _LOOK_SECONDS:
                looked = now
                self._watch(Event(self._step.name, "running", now - started, self._progress()))
            time.sleep(_POLL_SECONDS)

    def _progress(self) -> str:
        """The last line of a training's metrics."""
        if not self._step.trains:
            return ""
        try:
            files = list((self._road.root / self._step.name).rglob("metrics.jsonl"))
            newest = max(files, key=lambda path: path.stat().st_mtime)
            with newest.open("rb") as handle:
                handle.seek(max(0, newest.stat().st_size - 4000))
                row = json.loads(handle.read().splitlines()[-1])
        except (OSError, ValueError, IndexError):  # there is none yet, or the training writes or moves files just now
            return ""
        stage = newest.parent.name if newest.parent.name != self._step.name else ""
        loss = row.get("loss")
        return " ".join(
            filter(None, (stage, f"step {row['step']}", f"loss {loss:.4f}" if isinstance(loss, float) else ""))
        )


def _start(command: list[str], answer: Any, log: Any) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def end_with_parent() -> None:
        """Linux: have the process told to stop when its starter dies."""
        if hasattr(libc, "prctl"):
            libc.prctl(_SET_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return subprocess.Popen(
        [sys.executable, "-m", "zoo_cli", *command],
        stdin=subprocess.DEVNULL,
        stdout=answer,
        stderr=log,
        # In a session of its own, so that Ctrl-C reaches it once only: from here.
        start_new_session=True,
        preexec_fn=end_with_parent,
    )


def _error_of(output: Path, log: Path, code: int) -> dict[str, Any]:
    """The error that a command printed as JSON, or what is known without it."""
    try:
        error = json.loads(output.read_text("utf-8", "replace").splitlines()[-1])["error"]
        place = ":".join(str(error[key]) for key in ("file", "line", "column") if error.get(key) is not None)
        return {**error, "message": f"{place}: {error['message']}" if place else error["message"]}
    except (IndexError, KeyError, TypeError, ValueError):
        if code < 0:
            return {"code": None, "message": f"killed by {signal.Signals(-code).name}"}
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.startswith("error: ")]
        return {"code": None, "message": lines[0].removeprefix("error: ") if lines else "see its log"}
