"""Two programs measured in turn: A B A B ..., each in a process of its own that stays up between rounds.

A worker is a Python source that defines ``prepare(arguments) -> callable``; the callable does the measured work once
and returns how many units it did. Wall and processor seconds are taken inside of the worker.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from dataclasses import dataclass, field
from typing import Any

_ENVIRONMENT = dict(os.environ)
"""As it is before a script imports paddle with this project's flags, which the other side does not have."""

_HARNESS = """
import json, os, sys, time
out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
source, arguments = json.loads(sys.stdin.readline())
space = {}
exec(compile(source, "worker", "exec"), space)
work = space["prepare"](arguments)
print(json.dumps("ready"), file=out, flush=True)
for line in sys.stdin:
    wall, cpu = time.perf_counter(), time.process_time()
    units = work()
    figures = {"units": units, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(figures), file=out, flush=True)
"""


@dataclass
class Worker:
    """One program.

    Args:
        name: for the table.
        python: interpreter of its environment.
        source: see the module.
        arguments: given to `prepare`; JSON.
        environment: variables that it needs.
    """

    name: str
    python: str
    source: str
    arguments: Any
    environment: dict[str, str] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self.python, "-c", _HARNESS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if not os.environ.get("BENCH_DEBUG") else None,
            text=True,
            env={**_ENVIRONMENT, **self.environment},
        )
        self._send([self.source, self.arguments])

    def _send(self, value: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early; run again with BENCH_DEBUG=1")
        return json.loads(line)

    def measure(self, count: bool = True) -> None:
        figures = self._send("run")
        if count:
            self.rounds.append(figures)

    def median(self, key: str) -> float:
        """Median units per second of `key` ("wall" or "cpu")."""
        return statistics.median(each["units"] / each[key] for each in self.rounds)


def compare(workers: list[Worker], rounds: int, unit: str) -> dict[str, Any]:
    """Measure workers in turn and print a table; the last one is what the others are compared with."""
    for worker in workers:
        worker.start()
        worker.measure(count=False)
    for _ in range(rounds):
        for worker in workers:
            worker.measure()
    base = workers[-1]
    print(f"| program | {unit} a second | {unit} a processor second | times {base.name} (wall, processor) |")
    print("|---|---|---|---|")
    result = {}
    for worker in workers:
        ratios = {key: worker.median(key) / base.median(key) for key in ("wall", "cpu")}
        print(
            f"| {worker.name} | {worker.median('wall'):.4g} | {worker.median('cpu'):.4g} "
            f"| {ratios['wall']:.2f}, {ratios['cpu']:.2f} |"
        )
        result[worker.name] = {"wall": worker.median("wall"), "cpu": worker.median("cpu"), **ratios}
        worker.process.kill()
    return result
