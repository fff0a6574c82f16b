"""A server under mixed load for a while: no wrong answer, right refusals, flat memory, and a worker killed in the end.

    python benchmarks/soak.py [--minutes 10] [--bundle FOLDER]... [KEY=VALUE]...

Without a bundle a text classifier with six layers of 384 is made, with drawn weights (needs paddle). Most requests are
compared with the answers of `zoo predict`. Some have broken bodies, other encodings, ten megabytes, or clients that
go away or send a byte at a time. Memory is that of the server's processes after a third of the time, when caches and
arenas have filled, and at the end. Then one of two worker processes is killed again and again: what it was asked may be
lost, and nothing else. Prints one JSON object; exits with 1 if something was not as it should be.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

from load import Server, make_classifier, zoo_server
from mixture import Model, name_models, open_models

from zoo_cli.runtime.golden import same_answer

JSON = {"Content-Type": "application/json"}
WORKERS = 2
"""Processes of the server."""
DISTINCT = 300
"""Different requests whose answers are known."""
PATIENCE = 120
"""Seconds for an answer: the machine may be busy with other things."""
FAULTS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "half an object": (b'{"text": "a"', JSON, 400),
    "another encoding": ('{"text": "王"}'.encode("gb18030"), JSON, 400),
    "not announced": (b'{"text": "a"}', {"Content-Type": "text/plain"}, 415),
    "compressed": (gzip.compress(b'{"text": "a"}'), {**JSON, "Content-Encoding": "gzip"}, 415),
    "wrong type": (b'{"text": 3}', JSON, 422),
    "ten megabytes": (b'{"text": "' + b"a" * 10_000_000 + b'"}', JSON, 413),
}
"""Body, headers and the right status of what is wrong on purpose."""


class Clients:
    """They ask until they are stopped.

    Args:
        host: of the server.
        port: of the server.
        models: that it has.
    """

    def __init__(self, host: str, port: int, models: list[Model]) -> None:
        self.host, self.port = host, port
        self.asked = [
            (f"/v1/{model.task}", json.dumps({**request, "model": model.name}).encode(), answer)
            for model in models
            for request, answer in zip(model.requests, model.answers, strict=True)
        ]
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.longest = 0.0
        self.killing = False
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, clients: int) -> None:
        """Let so many clients begin."""
        self._threads = [threading.Thread(target=self._ask_forever, args=(seed,)) for seed in range(clients)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let them end."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask_forever(self, seed: int) -> None:
        draw = random.Random(seed)
        connection = self._connect()
        while not self._stop.is_set():
            kind = draw.random()
            try:
                if kind < 0.04:
                    self._go_away(draw)
                elif kind < 0.10:
                    self._fault(connection, draw)
                else:
                    self._ask(connection, draw)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection = self._connect()
                if self.killing:
                    self.counts["lost with a worker"] += 1
                else:
                    self.wrong.append(f"connection: {type(error).__name__}")
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=PATIENCE + 60)

    def _ask(self, connection: http.client.HTTPConnection, draw: random.Random) -> None:
        path, body, expected = draw.choice(self.asked)
        begin = time.perf_counter()
        connection.request("POST", path, body, JSON)
        response = connection.getresponse()
        text = response.read()
        self.longest = max(self.longest, time.perf_counter() - begin)
        if response.status != 200:
            self.wrong.append(f"status {response.status} of a good request: {text[:100]!r}")
        elif not same_answer(expected, json.loads(text)["answer"], 1e-4):
            self.wrong.append(f"answer: {text[:100]!r}")
        self.counts["answered"] += 1

    def _fault(self, connection: http.client.HTTPConnection, draw: random.Random) -> None:
        name = draw.choices([*FAULTS, "a byte at a time"], [10] * (len(FAULTS) - 1) + [1, 1])[0]
        if name == "a byte at a time":
            self._dribble()
        else:
            body, headers, status = FAULTS[name]
            connection.request("POST", draw.choice(self.asked)[0], body, headers)
            response = connection.getresponse()
            response.read()
            if response.status != status:
                self.wrong.append(f"status {response.status} of {name}")
        self.counts[name] += 1

    def _go_away(self, draw: random.Random) -> None:
        """Ask and hang up."""
        path, body, _ = draw.choice(self.asked)
        with socket.create_connection((self.host, self.port), timeout=20) as connection:
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            time.sleep(draw.random() * 0.02)
        self.counts["gone away"] += 1

    def _dribble(self) -> None:
        """Send a header a byte at a time, until the server has had enough."""
        with socket.create_connection((self.host, self.port), timeout=20) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nX-Slow: ")
            try:
                for _ in range(int(PATIENCE / 0.1)):
                    connection.sendall(b"a")
                    time.sleep(0.1)
            except OSError:
                return
        self.wrong.append("a byte at a time was endured")


def children_of(parent: int) -> list[int]:
    """Processes that a process started."""
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def wait_for_all(server: Server) -> None:
    """Wait until every process answers with every model: one process is enough to be ready."""
    ready = []
    while not ready or min(ready) < WORKERS:
        time.sleep(0.1)
        with urllib.request.urlopen(server.url + "/metrics") as answer:
            lines = answer.read().decode().splitlines()
        ready = [float(line.rpartition(" ")[2]) for line in lines if line.startswith("zoo_model_ready{")]


def resident(processes: list[int]) -> int:
    """Bytes of the processes that are in memory."""
    pages = (int(Path(f"/proc/{process}/statm").read_text().split()[1]) for process in processes)
    return sum(pages) * os.sysconf("SC_PAGE_SIZE")


def watch_memory(processes: list[int], seconds: float) -> dict[str, Any]:
    """Medians of the memory after a third of the time and at the end."""
    begin, samples = time.monotonic(), []
    while (passed := time.monotonic() - begin) < seconds:
        samples.append((passed / seconds, resident(processes)))
        time.sleep(min(1.0, seconds / 40))
    before = median(size for share, size in samples if 0.3 <= share < 0.4)
    after = median(size for share, size in samples if share >= 0.9)
    return {"memory_before": before, "memory_after": after, "memory_growth": round(after / before - 1, 4)}


def kill_workers(server: int, times: int, clients: Clients) -> list[float]:
    """Kill one worker after the other; seconds until there are as many again."""
    clients.killing = True
    seconds = []
    for _ in range(times):
        workers = children_of(server)
        os.kill(workers[0], signal.SIGKILL)
        begin = time.monotonic()
        while len(set(children_of(server)) - {workers[0]}) < len(workers) and time.monotonic() - begin < 60:
            time.sleep(0.05)
        seconds.append(round(time.monotonic() - begin, 2))
        time.sleep(2)
    return seconds


def main() -> int:
    """Run all; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--bundle", type=lambda name: Path(name).resolve(), action="append")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--growth", type=float, default=0.02, help="share by which memory may grow")
    parser.add_argument("settings", nargs="*", help="serve.KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bundles = options.bundle or [make_classifier(Path(scratch))["bundle"]]
        models = open_models(bundles, DISTINCT, Path(scratch))
        settings = [
            "--workers",
            str(WORKERS),
            "serve.threads=1",
            "serve.header_timeout=2",
            f"serve.limits.timeout={PATIENCE}",
            "serve.limits.tokens=100000000",  # schemas of many levels ask much of models that find much
        ]
        with zoo_server(bundles, [*settings, *options.settings]) as server:
            process = server.process
            wait_for_all(server)
            name_models(models, server)
            clients = Clients(server.host, server.port, models)
            clients.start(options.clients)
            report = watch_memory(children_of(process.pid), options.minutes * 60)
            report["seconds_until_replaced"] = kill_workers(process.pid, options.kills, clients)
            clients.stop()
            process.terminate()
            report["exit_code"] = process.wait(60)
    report |= {
        "counts": dict(clients.counts),
        "wrong": clients.wrong[:20],
        "longest_seconds": round(clients.longest, 3),
    }
    faults = {
        "wrong answers or statuses": clients.wrong,
        "memory grows": report["memory_growth"] > options.growth,
        "exit code": report["exit_code"],
    }
    report["failed"] = [name for name, fault in faults.items() if fault]
    print(json.dumps(report, ensure_ascii=False))
    return 1 if report["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
