"""Servers and clients for the benchmarks of serving: started, asked, and measured."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAUSE = 0.3
"""Seconds that a client waits after a refusal; `Retry-After` would ask for more."""
CHARACTERS = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面"


def draw_texts(count: int, mean: float) -> list[str]:
    """Texts of very different lengths, as requests have them."""
    draw = random.Random(0)
    return ["".join(draw.choices(CHARACTERS, k=1 + min(500, int(draw.expovariate(1 / mean))))) for _ in range(count)]


def make_classifier(folder: Path) -> dict[str, Path]:
    """A text classifier with six layers of 384 and drawn weights: its ONNX bundle, and its folder as PaddleNLP's."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    from zoo_cli import models, registry, tokenizers
    from zoo_cli.export.bundle import export
    from zoo_cli.recipe.schema import ExportSection
    from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions
    from zoo_cli.tasks.sequence_classification.task import SequenceClassificationTask

    source, peer = folder / "model", folder / "peer"
    source.mkdir()
    tokenizer = tokenizers.load(ROOT / "zoo_cli" / "data" / "samples" / "vocab" / "wordpiece")
    inputs = registry.family("ernie").inputs
    task = SequenceClassificationTask(SequenceClassificationOptions(labels=["a", "b", "c"]), tokenizer, inputs)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 512, **task.model_config()}
    model = models.build("ErnieForSequenceClassification", config)
    models.save(model, source)
    models.save(model, peer, "paddlenlp")
    for place in (source, peer):
        tokenizer.save(place)
    task.save(source)
    requests = [{"text": text} for text in draw_texts(4, 30)]
    bundle = export(source, folder, ExportSection(backends=["onnx"]), requests)["bundle"]
    return {"bundle": Path(bundle), "peer": peer}


# -- servers -----------------------------------------------------------------------------------------------------------


@dataclass
class Server:
    """A running server.

    Args:
        process: it.
        host: where it listens.
        port: where it listens.
    """

    process: subprocess.Popen[bytes]
    host: str
    port: int

    @property
    def url(self) -> str:
        """Address of the server."""
        return f"http://{self.host}:{self.port}"

    def processor_seconds(self, task: str = "") -> float:
        """User and system time of the process, or of one thread as `/proc` names it."""
        fields = Path(f"/proc/{self.process.pid}/{task}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def network_seconds(self) -> float:
        """That of the first thread, which runs the event loop: a request that is refused is seen by no other."""
        return self.processor_seconds(f"task/{self.process.pid}")

    def wait_for(self, path: str, seconds: float = 300) -> None:
        """Wait until a path is answered with 200."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urllib.request.urlopen(self.url + path, timeout=5):
                    return
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
        raise SystemExit(f"the server on port {self.port} does not come up; run again with BENCH_DEBUG=1")


def _errors() -> int | None:
    return None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL


@contextmanager
def zoo_server(bundles: Sequence[Path], settings: Sequence[str]) -> Iterator[Server]:
    """`zoo serve` on a free port."""
    command = [sys.executable, "-m", "zoo_cli", "serve", *map(str, bundles), "--port", "0", "--json", *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=_errors(), cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            host, _, port = json.loads(process.stdout.readline())["url"].removeprefix("http://").partition(":")
            server = Server(process, host, int(port))
            server.wait_for("/readyz")
            yield server
        finally:
            process.terminate()


@contextmanager
def peer_server(python: str, source: str, arguments: dict[str, Any]) -> Iterator[Server]:
    """Another server, by a Python source that finds `arguments` with its `port`, in the environment of `python`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"import json\narguments = json.loads({json.dumps(json.dumps({**arguments, 'port': port}))})\n{source}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FLAGS_")}
    environment.pop("OMP_NUM_THREADS", None)
    with subprocess.Popen(
        [python, "-c", code], stdout=_errors(), stderr=_errors(), env=environment, start_new_session=True
    ) as process:
        try:
            server = Server(process, "127.0.0.1", port)
            server.wait_for("/openapi.json")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# -- clients -----------------------------------------------------------------------------------------------------------


@dataclass
class Results:
    """What came back.

    Args:
        wall: seconds from the first request to the last answer.
        processor: seconds of the server's process meanwhile.
        network: those of its event loop.
        rows: status and seconds of each request.
    """

    wall: float = 0.0
    processor: float = 0.0
    network: float = 0.0
    rows: list[tuple[int, float]] = field(default_factory=list)

    @contextmanager
    def measured(self, server: Server) -> Iterator[None]:
        """Take the seconds that something takes, and those of the server meanwhile."""
        processor, network, begin = server.processor_seconds(), server.network_seconds(), time.perf_counter()
        yield
        self.wall = time.perf_counter() - begin
        self.processor = server.processor_seconds() - processor
        self.network = server.network_seconds() - network

    def seconds(self, status: int) -> list[float]:
        """Times of the responses with a status, in rising order."""
        return sorted(seconds for found, seconds in self.rows if found == status)

    def count(self, status: int) -> int:
        """Number of responses with a status."""
        return sum(1 for found, _ in self.rows if found == status)


class Connection:
    """One HTTP connection, kept open."""

    def __init__(self, server: Server, path: str, headers: str = "") -> None:
        self._server = server
        self._head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> tuple[int, float]:
        """Status and seconds of one request."""
        begin = time.perf_counter()
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._server.host, self._server.port)
        reader, writer = self._streams
        writer.write(f"{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        await reader.readexactly(int(headers.partition("content-length:")[2].split()[0]))
        return int(headers.split()[1]), time.perf_counter() - begin

    def close(self) -> None:
        """Hang up."""
        if self._streams:
            self._streams[1].close()


def ask_all(server: Server, path: str, bodies: Sequence[bytes], clients: int) -> Results:
    """Send the bodies over so many connections, each of which waits for its answer before it asks again."""

    async def run() -> Results:
        results, pending = Results(), iter(bodies)

        async def client() -> None:
            connection = Connection(server, path)
            for body in pending:
                results.rows.append(await connection.ask(body))
                if results.rows[-1][0] == 429:
                    await asyncio.sleep(PAUSE)
            connection.close()

        with results.measured(server):
            await asyncio.gather(*(client() for _ in range(clients)))
        return results

    return asyncio.run(run())


def flood(server: Server, path: str, bodies: Sequence[bytes], rate: float, seconds: float, deadline: float) -> Results:
    """Send so many requests a second, whether or not the ones before are answered.

    Args:
        rate: requests a second.
        seconds: how long.
        deadline: seconds after which the server is to give a request up.
    """

    async def run() -> Results:
        results, free, open_ = Results(), list[Connection](), list[Connection]()
        headers = f"Request-Timeout: {deadline}\r\n"

        async def ask(body: bytes) -> None:
            if not free:
                open_.append(Connection(server, path, headers))
                free.append(open_[-1])
            connection = free.pop()
            try:
                results.rows.append(await connection.ask(body))
                free.append(connection)
            except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                results.rows.append((0, 0.0))
                connection.close()

        with results.measured(server):
            begin, tasks = time.perf_counter(), []
            for number in range(int(rate * seconds)):
                await asyncio.sleep(max(0.0, begin + number / rate - time.perf_counter()))
                tasks.append(asyncio.ensure_future(ask(bodies[number % len(bodies)])))
            await asyncio.gather(*tasks)
        for connection in open_:
            connection.close()
        return results

    return asyncio.run(run())
