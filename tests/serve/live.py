"""A real server process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]


class Live:
    """A running server.

    Attributes:
        url: where it listens.
        process: it.
        client: an HTTP client for it.
    """

    def __init__(self, process: subprocess.Popen[str], url: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.log = log
        self.client = httpx.Client(base_url=url, timeout=30)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        return self.client.post(
            path, json=body, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def wait_ready(self, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.client.get('/readyz').text}\n{self.log.read_text()}")

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric over all its series that have these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        lines = self.client.get("/metrics").text.splitlines()
        found = [line for line in lines if line.partition("{")[0].partition(" ")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in found if all(part in line for part in wanted))

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def serving(folder: Path, *arguments: str, ready: bool = True, env: dict[str, str] | None = None) -> Iterator[Live]:
    """Start `zoo serve` on a free port, and kill it in the end.

    Args:
        folder: for its log; the working directory.
        *arguments: bundles, options and settings.
        ready: whether to wait until it is.
        env: additions to its environment.
    """
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "zoo_cli", "serve", "--port", "0", "--json", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **(env or {})}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=environment
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        live = Live(process, json.loads(line)["url"], log)
        if ready:
            live.wait_ready()
        yield live
        live.client.close()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
