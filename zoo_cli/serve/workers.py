"""Several server processes on one socket: started, watched and stopped by a parent that serves nothing itself.

The parent binds the socket; the processes share nothing else. The first process accepts requests at once, to say that
the server lives and is not ready yet; so that nobody hears this after it has been ready, the others are started when
the first one is, and accept requests only when their models are ready, too. One that dies is started again, after a
pause that grows while it keeps dying.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from prometheus_client.multiprocess import mark_process_dead

from zoo_cli.base.console import say, show_error
from zoo_cli.base.errors import ZooError
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve.metrics import SHARED_FOLDER

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_FINAL = {2, 3, 4, 5}
"""Exit codes of errors that would come again: wrong settings, bundles or keys, or a missing package."""
_STABLE = 60.0
"""Seconds after which a process counts as healthy, so that its next death is answered at once."""


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    loading: int
    """End of a pipe that the process closes when its models are ready or have failed."""
    pause: float
    started: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> bool:
        """Whether its models are ready or have failed."""
        return bool(select.select([self.loading], [], [], 0)[0])


class Supervisor:
    """The parent.

    Args:
        settings: of the server.
        listening: the socket that all share.
    """

    def __init__(self, settings: ServeSection, listening: socket.socket) -> None:
        self.settings = settings
        self.listening = listening
        self._stopping = threading.Event()
        self._workers: list[_Worker] = []

    def run(self, started: Callable[[], None]) -> int:
        """Serve until a stop signal; returns the exit code: 0 if every process ended well.

        A process that cannot read its files ends the others too, with its own exit code.

        Args:
            started: called when the processes are on their way.
        """
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)
        with tempfile.TemporaryDirectory(prefix="zoo-metrics-") as folder:
            self._workers = [self._start(folder)]
            started()
            while not self._stopping.wait(0.2):
                self._look_after(folder)
                self._complete(folder)
            return self._wait()

    def _start(self, folder: str, pause: float = _FIRST_PAUSE) -> _Worker:
        descriptor = self.listening.fileno()
        loading, loaded = os.pipe()
        code = "from zoo_cli.serve.workers import work; work()"
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            pass_fds=[descriptor, loaded],
            env={**os.environ, SHARED_FOLDER: folder},
            start_new_session=True,  # the terminal's signals reach the parent only, which passes them on
        )
        os.close(loaded)
        assert process.stdin is not None
        order = {
            "settings": self.settings.model_dump(mode="json"),
            "socket": descriptor,
            "loaded": loaded,
            "ready_first": any(worker.process.poll() is None for worker in self._workers),
        }
        process.stdin.write(json.dumps(order).encode() + b"\n")
        process.stdin.flush()
        return _Worker(process, loading, pause)

    def _complete(self, folder: str) -> None:
        while len(self._workers) < self.settings.workers and not self._stopping.is_set() and self._workers[0].settled:
            self._workers.append(self._start(folder))

    def _look_after(self, folder: str) -> None:
        for index, worker in enumerate(self._workers):
            status = worker.process.poll()
            if status is None:
                continue
            if status in _FINAL:
                self._stopping.set()
                return
            lived = time.monotonic() - worker.started
            mark_process_dead(worker.process.pid, folder)
            pause = _FIRST_PAUSE if lived > _STABLE else worker.pause
            say("worker {pid} ended with {status}; it is started again", pid=worker.process.pid, status=status)
            os.close(worker.loading)
            if self._stopping.wait(min(pause, _LONGEST_PAUSE)):
                del self._workers[index]
                return
            self._workers[index] = self._start(folder, pause * 2)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._stopping.is_set():
            self._stop_workers()  # a second signal stops them at once
        self._stopping.set()

    def _stop_workers(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(signal.SIGTERM)

    def _wait(self) -> int:
        self.listening.close()
        self._stop_workers()
        end = time.monotonic() + self.settings.drain_delay + self.settings.drain_timeout + 10
        statuses: list[int] = []
        for worker in self._workers:
            try:
                statuses.append(worker.process.wait(max(0.1, end - time.monotonic())))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                statuses.append(worker.process.wait())
        # One that had hardly begun dies of the signal itself.
        return max((abs(status) for status in statuses if status != -signal.SIGTERM), default=0)


def work() -> None:
    """The life of one process: read the order from standard input, and serve.

    It ends by itself when its parent is gone.
    """
    from zoo_cli.serve.server import serve

    order = json.loads(sys.stdin.buffer.readline())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)  # not through `sys.stdin`, whose lock would disturb the end of the process
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    settings = ServeSection.model_validate(order["settings"])
    try:
        serve(
            settings,
            socket.socket(fileno=order["socket"]),
            ready_first=order["ready_first"],
            models_started=lambda: os.close(order["loaded"]),
        )
    except ZooError as error:
        show_error(error)
        sys.exit(error.exit_code)
