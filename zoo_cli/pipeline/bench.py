"""`zoo bench`: speed and memory of bundles, models and graphs side by side.

Each graph runs in a process of its own, since back ends disturb one another and share one heap. The processes take
turns: round by round, each measures every shape once, so that a busy minute of the machine hits all of them alike.
"""

from __future__ import annotations

import math
import multiprocessing
import os
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

from zoo_cli.base import html
from zoo_cli.base.errors import ArtifactError, Location, UsageError, ZooError
from zoo_cli.base.files import verify_manifest, write_json, write_text
from zoo_cli.decoding.engine import StepModel
from zoo_cli.export.parity import random_batch
from zoo_cli.export.receipt import table
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.loading import bundle_folder, open_bundle
from zoo_cli.tasks.base import Task
from zoo_cli.tasks.generative import GenerativeTask

DYGRAPH = "dygraph"
"""Stands for a back end where the model's own code computes."""
FILE = "file"
"""Stands for the precision of an ONNX file that belongs to no bundle."""
_WEIGHTS = "model.safetensors"
_WARM_UP = 2
_LEAST_SECONDS = 0.02
"""A measurement repeats a call until it has taken this long."""
_MOST_CALLS = 50
_SOME_IDS = 100
"""Ids of an ONNX file's inputs are below this, since nothing says how large its tables are."""


@dataclass(frozen=True)
class Contestant:
    """One graph, or the model itself.

    Args:
        place: folder of the bundle or of the model, or an ONNX file.
        backend: name of the back end, or `DYGRAPH`.
        precision: that of the graph, or `FILE`.
        threads: threads of the back end.
    """

    place: Path
    backend: str
    precision: str
    threads: int


def contestants(
    places: Sequence[Path], backends: Sequence[str], precisions: Sequence[str], threads: Sequence[int]
) -> list[Contestant]:
    """What there is to measure, each with each number of threads.

    Args:
        places: bundles and run folders, whose manifests are checked; model folders; ONNX files. A model's own code is
            measured where there is no graph, and beside the graphs where `backends` names `DYGRAPH`.
        backends: only these, if any are named.
        precisions: only these, if any are named.
        threads: numbers of threads.

    Raises:
        ArtifactError: a bundle is damaged, or there is nothing there (`no-model`).
        UsageError: nothing is left to measure (`nothing-to-measure`).
    """
    found = []
    for place in places:
        for path, backend, precision in _entries(place):
            asked = backend in backends if backends else backend != DYGRAPH or not graphs(path)
            if asked and (not precisions or precision in precisions):
                found += [Contestant(path, backend, precision, count) for count in threads]
    if not found:
        raise UsageError("nothing-to-measure", "there is no such graph", fix="leave out --backend and --precision")
    return found


def _entries(place: Path) -> list[tuple[Path, str, str]]:
    """Path, back end and precision of all that a place has."""
    if place.is_file():
        return [(place, "onnx", FILE)]
    folders = (place, place / "best", bundle_folder(place))
    folder = next((each for each in folders if graphs(each) or (each / _WEIGHTS).is_file()), None)
    if folder is None:
        raise ArtifactError(
            "no-model",
            "there is no model here",
            at=Location.of(place),
            fix="name a bundle, a model folder, a run folder or an ONNX file",
        )
    verify_manifest(folder)
    found = [(folder, backend, precision) for backend, precision in graphs(folder)]
    return [*found, *([(folder, DYGRAPH, "fp32")] if (folder / _WEIGHTS).is_file() else [])]


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
        place: dict[str, Any] = {"place": str(each.place), "backend": each.backend, "precision": each.precision}
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
    os.environ["OMP_NUM_THREADS"] = str(each.threads)  # paddle reads it when it is imported
    try:
        before = _resident()
        call = _open(each)
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
        run = call(*question)
        if question not in warm:
            warm.add(question)
            for _ in range(_WARM_UP):
                run()
        calls: list[tuple[float, float]] = []
        while not calls or (sum(wall for wall, _ in calls) < _LEAST_SECONDS and len(calls) < _MOST_CALLS):
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            calls.append((time.perf_counter() - wall, time.process_time() - cpu))
        pipe.send(calls)


def _resident() -> float:
    """Megabytes of memory that this process has now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


Call = Callable[[int, int], Callable[[], Any]]
"""From batch size and length to what is measured: one forward pass; of a model that writes texts, reading prompts."""


def _open(each: Contestant) -> Call:
    if each.precision == FILE:
        return _open_file(each.place, each.threads)
    if each.backend == DYGRAPH:
        return _open_model(each.place)
    bundle = open_bundle(each.place, each.backend, each.precision, each.threads)
    if isinstance(bundle.task, GenerativeTask):
        return _prompts(bundle.task, bundle.decoder())
    return _passes(bundle.task, bundle.backend)


def _passes(task: Task[Any], compute: Callable[[dict[str, np.ndarray]], Any]) -> Call:
    vocabulary = len(task.tokenizer)
    return lambda size, length: partial(compute, random_batch(task, vocabulary, size, length, seed=0))


def _prompts(task: Task[Any], model: StepModel) -> Call:
    def call(size: int, length: int) -> Callable[[], Any]:
        prompts = [{"input_ids": np.random.default_rng(0).integers(1, len(task.tokenizer), length)}] * size

        def read() -> None:
            model.prefill(prompts)
            model.select(np.zeros(0, np.int64))

        return read

    return call


def _open_model(folder: Path) -> Call:
    from zoo_cli.base.environment import prepare_paddle

    prepare_paddle("cpu")
    import paddle

    from zoo_cli.engine.setup import load_folder
    from zoo_cli.models.generation import RunningBatch

    assembly = load_folder(folder)
    assembly.model.eval()
    if isinstance(assembly.task, GenerativeTask):
        return _prompts(assembly.task, RunningBatch(assembly.model))

    def compute(batch: dict[str, np.ndarray]) -> None:
        with paddle.no_grad():
            assembly.model(**{name: paddle.to_tensor(array) for name, array in batch.items()})

    return _passes(assembly.task, compute)


def _open_file(path: Path, threads: int) -> Call:
    from zoo_cli.runtime.backends import open_onnx

    session = open_onnx(path, threads)
    inputs = {value.name: (value.shape, value.type) for value in session.get_inputs()}

    def call(size: int, length: int) -> Callable[[], Any]:
        generator = np.random.default_rng(0)
        batch = {}
        for name, (axes, kind) in inputs.items():
            # Axes without a number are the batch, in front, and the length.
            names = [axis if isinstance(axis, int) else length for axis in axes[1:]]
            shape = (axes[0] if isinstance(axes[0], int) else size, *names) if axes else ()
            batch[name] = _some(name, shape, kind, generator)
        return partial(session.run, None, batch)

    return call


def _some(name: str, shape: tuple[int, ...], kind: str, generator: np.random.Generator) -> np.ndarray:
    """What an input of that name could be.

    Raises:
        UsageError: it has a type that no zoo graph has (`unknown-input`).
    """
    types = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}
    if kind not in types:
        raise UsageError("unknown-input", "the input {name!r} is of type {kind}", name=name, kind=kind)
    if kind == "tensor(float)":
        return generator.normal(size=shape).astype(np.float32)
    if "mask" in name:
        return np.ones(shape, types[kind])
    if "position" in name:
        return np.broadcast_to(np.arange(shape[-1]), shape).astype(types[kind])
    if "type" in name:
        return np.zeros(shape, types[kind])
    return generator.integers(1, _SOME_IDS, shape).astype(types[kind])


def columns_and_rows(report: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A report as a table."""
    columns = ["model", "back end", "precision", "threads", "batch", "length", "sequences/s"]
    columns += ["p50 ms", "p95 ms", "p99 ms", "cpu ms", "spread", "MB"]
    rows = []
    for result in report["results"]:
        who = [str(result[key]) for key in ("place", "backend", "precision", "threads")]
        for shape in result["shapes"]:
            times = [f"{shape[name]:.2f}" for name in ("p50", "p95", "p99", "cpu")]
            where = [str(shape["batch"]), str(shape["length"]), f"{shape['throughput']:.1f}"]
            rows.append([*who, *where, *times, f"{shape['spread']:.0%}", f"{result['peak_megabytes']:.0f}"])
    return columns, rows


def write_report(report: dict[str, Any], folder: Path) -> None:
    """Write `bench.json`, `bench.md` (the table) and `bench.html` (table and curves) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    columns, rows = columns_and_rows(report)
    write_json(folder / "bench.json", report)
    write_text(folder / "bench.md", "\n".join(table(columns, rows)))
    charts = []
    for length in dict.fromkeys(shape["length"] for result in report["results"] for shape in result["shapes"]):
        lines = {
            " ".join(str(result[key]) for key in ("place", "backend", "precision", "threads")): [
                (float(shape["batch"]), shape["throughput"]) for shape in result["shapes"] if shape["length"] == length
            ]
            for result in report["results"]
        }
        charts.append(html.line_chart(f"Sequences a second, {length} tokens each", lines, "batch"))
    body = "".join(charts) + html.section("All figures", html.table(columns, rows))
    write_text(folder / "bench.html", html.page("zoo bench", body))
