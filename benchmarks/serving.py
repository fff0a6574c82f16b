"""Throughput, latency and overload of `zoo serve`, beside what its model could do at most.

    python benchmarks/serving.py [--bundle FOLDER] [--clients 1 16 64] [--requests 1000] [KEY=VALUE]...

Without a bundle a text classifier with six layers of 384 is made, with drawn weights (needs paddle). The ceiling is the
same texts through the same back end in ideal batches, tokenised before. Both are counted in processor seconds of the
process, so that other load on the machine does not matter; the clients are in a process of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import quantiles
from typing import Any

from zoo_cli.runtime.loading import open_bundle
from zoo_cli.runtime.pipeline import with_parameters

PAUSE = 0.3
"""Seconds that a client waits after a refusal; `Retry-After` would ask for more."""
ROOT = Path(__file__).resolve().parent.parent
CHARACTERS = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面"


def make_bundle(folder: Path) -> Path:
    """A classifier with six layers of 384, exported to ONNX."""
    from zoo_cli import models, registry, tokenizers
    from zoo_cli.export.bundle import export
    from zoo_cli.recipe.schema import ExportSection
    from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions
    from zoo_cli.tasks.sequence_classification.task import SequenceClassificationTask

    source = folder / "model"
    source.mkdir()
    tokenizer = tokenizers.load(ROOT / "zoo_cli" / "data" / "samples" / "vocab" / "wordpiece")
    inputs = registry.family("ernie").inputs
    task = SequenceClassificationTask(SequenceClassificationOptions(labels=["a", "b", "c"]), tokenizer, inputs)
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = {**sizes, "vocab_size": len(tokenizer), "max_position_embeddings": 512, **task.model_config()}
    models.save(models.build("ErnieForSequenceClassification", config), source)
    tokenizer.save(source)
    task.save(source)
    requests = [{"text": text} for text in draw_texts(4, 30)]
    return Path(export(source, folder, ExportSection(backends=["onnx"]), requests)["bundle"])


def draw_texts(count: int, mean: float) -> list[str]:
    """Texts of very different lengths, as requests have them."""
    draw = random.Random(0)
    return ["".join(draw.choices(CHARACTERS, k=1 + min(500, int(draw.expovariate(1 / mean))))) for _ in range(count)]


def ceiling(bundle: Path, bodies: list[Any], batch_tokens: int, threads: int) -> float:
    """Processor seconds for each request in ideal batches."""
    opened = open_bundle(bundle, threads=threads)
    runner = opened.runner(batch_tokens)
    features = [feature for body in bodies for feature in next(opened.task.steps(opened.task.request(body)))]
    runner(features[:64])
    begin = time.process_time()
    runner(features)
    return (time.process_time() - begin) / len(bodies)


def processor_seconds(process: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def ask(host: str, port: int, path: str, bodies: list[bytes], clients: int) -> list[tuple[int, float]]:
    """Send the bodies over `clients` connections; status and seconds of each."""
    pending = iter(bodies)
    results: list[tuple[int, float]] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for body in pending:
            begin = time.perf_counter()
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            headers = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(headers.partition("content-length:")[2].split()[0]))
            status = int(headers.split()[1])
            results.append((status, time.perf_counter() - begin))
            if status == 429:
                await asyncio.sleep(PAUSE)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return results


def report(title: str, results: list[tuple[int, float]], wall: float, processor: float, best: float) -> dict[str, Any]:
    """Print one line of the table, and return it."""
    statuses = Counter(status for status, _ in results)
    answered = sorted(seconds for status, seconds in results if status == 200)
    refused = sorted(seconds for status, seconds in results if status == 429)
    cuts = quantiles(answered, n=100) if len(answered) > 1 else [0.0] * 99
    row: dict[str, Any] = {
        "run": title,
        "answered": statuses[200],
        "refused": statuses[429],
        "other": len(results) - statuses[200] - statuses[429],
        "per_second": round(statuses[200] / wall, 1),
        "milliseconds_50_95_99": [round(cuts[place] * 1000, 1) for place in (49, 94, 98)],
        "processor_milliseconds": round(processor / max(1, statuses[200]) * 1000, 2),
        "share_of_ceiling": round(best * statuses[200] / processor, 3) if processor else None,
    }
    if refused:
        row["refusal_milliseconds_50"] = round(refused[len(refused) // 2] * 1000, 1)
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=lambda name: Path(name).resolve())
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--characters", type=float, default=30, help="mean length of a text")
    parser.add_argument("--schema", help="for extraction, as JSON")
    parser.add_argument("--overload", type=int, default=512, help="clients of the last run; 0 leaves it out")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("settings", nargs="*", help="serve.KEY=VALUE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        bundle = options.bundle or make_bundle(Path(scratch))
        shared = {"schema": json.loads(options.schema)} if options.schema else {}
        requests = [
            with_parameters({"text": text}, shared) for text in draw_texts(options.requests, options.characters)
        ]
        task = json.loads((bundle / "task.json").read_text())["task"]
        best = ceiling(bundle, requests, options.batch_tokens, options.threads)
        print(json.dumps({"run": "ceiling", "processor_milliseconds": round(best * 1000, 2)}), flush=True)
        settings = [f"serve.batch_tokens={options.batch_tokens}", f"serve.threads={options.threads}", *options.settings]
        command = [sys.executable, "-m", "zoo_cli", "serve", str(bundle), "--port", "0", "--json", *settings]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as server:
            try:
                assert server.stdout is not None
                url = json.loads(server.stdout.readline())["url"]
                host, _, port = url.removeprefix("http://").partition(":")
                bodies = [json.dumps(request).encode() for request in requests]
                path = f"/v1/{task}"
                asyncio.run(_until_ready(host, int(port)))
                runs = [(f"{count} clients", count, bodies) for count in options.clients]
                if options.overload:
                    runs.append((f"overload, {options.overload} clients", options.overload, bodies * 4))
                for title, count, load in runs:
                    before, begin = processor_seconds(server.pid), time.perf_counter()
                    results = asyncio.run(ask(host, int(port), path, load, count))
                    wall = time.perf_counter() - begin
                    report(title, results, wall, processor_seconds(server.pid) - before, best)
            finally:
                server.terminate()


async def _until_ready(host: str, port: int) -> None:
    while True:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        status = int((await reader.readline()).split()[1])
        writer.close()
        if status == 200:
            return
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    main()
