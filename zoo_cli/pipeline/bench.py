"""`zoo bench`: speed and memory of graphs side by side.

Each graph runs in a process of its own, since back ends disturb one another and share one heap. The processes take
turns: round by round, each measures every shape once, so that a busy minute of the machine hits all of them alike.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import UsageError, ZooError
from zoo_cli.base.files import verify_manifest
from zoo_cli.export.parity import random_batch
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.loading import Bundle, open_bundle
from zoo_cli.tasks.generative import GenerativeTask

_WARM_UP = 2
_LEAST_SECONDS = 0.02
"""A measurement repeats a call until it has taken this long."""
_MOST_CALLS = 50


@dataclass(frozen=True)
class Contestant:
    """One graph of one bundle.

    Args:
        bundle: the bundle's folder.
        backend: name of the back end.
        precision: that of the graph.
        threads: threads of the back end.
    """

    bundle: Path
    backend: str
    precision: str
    threads: int


def contestants(
    bundles: Sequence[Path], backends: Sequence[str], precisions: Sequence[str], threads: Sequence[int]
) -> list[Contestant]:
    """All graphs of some bundles, each with each number of threads.

    Args:
        bundles: folders; their manifests are checked.
        backends: only these, if any are named.
        precisions: only these, if any are named.
        threads: numbers of threads.

    Raises:
        ArtifactError: a bundle is damaged.
        UsageError: nothing is left to measure (`nothing-to-measure`).
    """
    found = []
    for bundle in bundles:
        verify_manifest(bundle)
        for backend, precision in graphs(bundle):
            if (not backends or backend in backends) and (not precisions or precision in precisions):
                found += [Contestant(bundle, backend, precision, count) for count in threads]
    if not found:
        raise UsageError(
            "nothing-to-measure", "the bundles have no such graph", fix="leave out --backend and --precision"
        )
    return found


def bench(runners: Sequence[Contestant], batches: Sequence[int], lengths: Sequence[int], rounds: int) -> dict[str, Any]:
    """Measure graphs on every batch size and length, with random ids.

    Args:
        runners: what to measure.
        batches: numbers of sequences in a batch.
        lengths: numbers of tokens of a sequence.
        rounds: measurements of each shape.

    Returns:
        ``rounds``, and ``results``: for each graph its place, ``load_megabytes`` (how much larger the process grew by
        loading it), ``peak_megabytes``, and for each shape ``p50``, ``p95``, ``p99`` (wall milliseconds a batch),
        ``cpu`` (median processor milliseconds a batch), ``spread`` (half of the distance between the quartiles, as a
        share of the median), ``calls``, and ``throughput`` (sequences a second, from the median).

    Raises:
        ZooError: a graph cannot be opened here.
    """
    shapes = [(batch, length) for batch in batches for length in lengths]
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(each)) for each in runners]
        loaded = [_ask(worker, None) for worker in workers]
        calls: list[dict[tuple[int, int], list[tuple[float, float]]]] = [
            {shape: [] for shape in shapes} for _ in workers
        ]
        for _ in range(rounds):
            for shape in shapes:
                for worker, found in zip(workers, calls, strict=True):
                    found[shape] += _ask(worker, shape)
        peaks = [_ask(worker, "memory") for worker in workers]
    results = []
    for each, memory, peak, found in zip(runners, loaded, peaks, calls, strict=True):
        place: dict[str, Any] = {"bundle": str(each.bundle), "backend": each.backend, "precision": each.precision}
        place |= {"threads": each.threads, "load_megabytes": memory, "peak_megabytes": peak}
        results.append({**place, "shapes": [_summary(*shape, found[shape]) for shape in shapes]})
    return {"rounds": rounds, "results": results}


def _summary(batch: int, length: int, calls: list[tuple[float, float]]) -> dict[str, Any]:
    wall = sorted(seconds * 1000 for seconds, _ in calls)
    middle = statistics.median(wall)
    quarters = statistics.quantiles(wall, n=4) if len(wall) > 1 else [middle] * 3
    return {
        "batch": batch,
        "length": length,
        "calls": len(calls),
        "throughput": batch / middle * 1000,
        "p50": middle,
        "p95": percentile(wall, 0.95),
        "p99": percentile(wall, 0.99),
        "cpu": statistics.median(seconds * 1000 for _, seconds in calls),
        "spread": (quarters[2] - quarters[0]) / 2 / middle,
    }


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below or at which that share of ordered values lies (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@contextmanager
def _worker(each: Contestant) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, each), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(timeout=5)
        if process.is_alive():
            process.kill()


def _ask(worker: Connection, question: Any) -> Any:
    if question is not None:
        worker.send(question)
    answer = worker.recv()
    if isinstance(answer, ZooError):
        raise answer
    return answer


def _serve(pipe: Connection, each: Contestant) -> None:
    """Open the graph, report its memory, then measure shapes until the other side hangs up."""
    try:
        before = _resident()
        bundle = open_bundle(each.bundle, each.backend, each.precision, each.threads)
        pipe.send(_resident() - before)
    except ZooError as error:
        pipe.send(error)
        return
    warm: set[tuple[int, int]] = set()
    while True:
        try:
            question = pipe.recv()
        except EOFError:
            return
        if question == "memory":
            pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000)
            continue
        call = _call(bundle, *question)
        if question not in warm:
            warm.add(question)
            for _ in range(_WARM_UP):
                call()
        calls: list[tuple[float, float]] = []
        while not calls or (sum(wall for wall, _ in calls) < _LEAST_SECONDS and len(calls) < _MOST_CALLS):
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            calls.append((time.perf_counter() - wall, time.process_time() - cpu))
        pipe.send(calls)


def _resident() -> float:
    """Megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def _call(bundle: Bundle, size: int, length: int) -> Callable[[], Any]:
    """What to measure: one forward pass; of a model that generates texts the reading of prompts."""
    vocabulary = len(bundle.task.tokenizer)
    if isinstance(bundle.task, GenerativeTask):
        prompts = [{"input_ids": np.random.default_rng(0).integers(1, vocabulary, length)}] * size
        model = bundle.decoder()

        def read() -> None:
            model.prefill(prompts)
            model.select(np.zeros(0, np.int64))

        return read
    return partial(bundle.backend, random_batch(bundle.task, vocabulary, size, length, seed=0))
