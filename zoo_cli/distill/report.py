"""How good, how large and how fast a student is beside its teacher."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli.base.html import scatter, section, table
from zoo_cli.base.messages import translate
from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.setup import Assembly
from zoo_cli.models.checkpoint import PDPARAMS, SAFETENSORS

BATCH = 32
"""Texts in a batch whose time is measured."""
_ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """A model in the table.

    Args:
        model: ``teacher``, ``student``, or ``baseline`` for a student that learnt from labels alone.
        parameters: numbers that it is made of.
        bytes: size of its weight file.
        score: on the development set, if there is one.
        share: of the teacher's score; None where that is not positive.
        alone_ms: median processor time for one text in evaluation, in milliseconds.
        batch_ms: the same for one text of a batch of 32.
    """

    model: str
    parameters: int
    bytes: int
    score: float | None
    share: float | None
    alone_ms: float
    batch_ms: float


def row(
    name: str,
    assembly: Assembly,
    folder: Path,
    score: float | None,
    reference: float | None,
    lower: bool,
    times: tuple[float, float],
) -> Row:
    """The row of a model.

    Args:
        name: what it is.
        assembly: the model.
        folder: its model folder.
        score: its score.
        reference: the teacher's score.
        lower: whether less is better (a loss).
        times: `alone_ms` and `batch_ms`.
    """
    files = [folder / file for file in (SAFETENSORS, PDPARAMS)]
    share = None
    if score is not None and reference is not None and min(score, reference) > 0:
        share = reference / score if lower else score / reference
    elif score is not None and reference is not None and reference > 0:
        share = 0.0
    return Row(
        name,
        sum(parameter.size for parameter in assembly.model.parameters()),
        next(file.stat().st_size for file in files if file.is_file()),
        score,
        share,
        *times,
    )


def latencies(assemblies: Sequence[Assembly], examples: Sequence[Any]) -> list[tuple[float, float]]:
    """Milliseconds of processor time for a feature of a text, see `timed`.

    Args:
        assemblies: the models.
        examples: gold examples; the first of them are read.
    """
    runs = []
    for assembly in assemblies:
        adapted = islice(assembly.task.adapt(examples[:BATCH], training=False), BATCH)
        features = [feature for each in adapted for feature in assembly.task.encode(each, training=False)]
        runs.append((Predictor(assembly.model, assembly.task, BATCH), features[:BATCH]))
    return timed(runs)


def timed(runs: Sequence[tuple[Callable[[list[Any]], Any], list[Any]]]) -> list[tuple[float, float]]:
    """Milliseconds of processor time for an input, alone and with all others; models take turns, medians count.

    Args:
        runs: for each model a function of a list of inputs, and at most `BATCH` inputs.
    """
    calls = []
    for run, inputs in runs:
        calls += [[(run, inputs[:1])] * min(8, len(inputs)), [(run, inputs)]]
    taken: list[list[float]] = [[] for _ in calls]
    for round_number in range(_ROUNDS + 1):
        for group, times in zip(calls, taken, strict=True):
            begin = time.process_time()
            for run, inputs in group:
                run(inputs)
            if round_number:  # the first round warms up
                count = sum(len(inputs) for _, inputs in group)
                times.append((time.process_time() - begin) / max(1, count) * 1000)
    medians = [statistics.median(times) for times in taken]
    return list(zip(medians[::2], medians[1::2], strict=True))


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """The rows for people."""
    return [
        [
            each.model,
            f"{each.parameters / 1e6:.2f} M",
            f"{each.bytes / 1e6:.1f} MB",
            "–" if each.score is None else f"{each.score:.4f}",
            "–" if each.share is None else f"{each.share:.1%}",
            f"{each.alone_ms:.2f} ms",
            f"{each.batch_ms:.2f} ms",
        ]
        for each in rows
    ]


def columns(metric: str) -> list[str]:
    """Heads of the columns of `cells`."""
    return ["model", "parameters", "size", metric, "share", "one text", f"of {BATCH}"]


def markdown(
    title: str,
    metric: str,
    rows: Sequence[Row],
    stages: dict[str, Any],
    breach: str | None,
    remarks: Sequence[str] = (),
) -> str:
    """The table as a page, with what each stage compared, and remarks below the table."""
    lines = [f"# {title}", ""]
    if breach:
        lines += [f"**Rejected:** {breach}", ""]
    lines += ["| " + " | ".join(columns(metric)) + " |", "|---" * len(columns(metric)) + "|"]
    lines += ["| " + " | ".join(each) + " |" for each in cells(rows)]
    lines += ["", *remarks] if remarks else []
    for name, stage in stages.items():
        lines += ["", f"## {name}", "", f"{stage['steps']} steps, {stage['seconds']:.0f} s", ""]
        for match in stage["matches"]:
            pairs = ", ".join(f"{key} {value}" for key, value in match.items() if key != "feature")
            lines.append(f"- {match['feature']}: {pairs}" if pairs else f"- {match['feature']}")
    return "\n".join(lines) + "\n"


def figures(metric: str, rows: Sequence[Row]) -> str:
    """The table as HTML, and the scores over the time for one text; a dashed line joins models that no other beats."""
    points = [(each.model, each.alone_ms, each.score) for each in rows if each.score is not None]
    group = translate("Models") if metric != "loss" else ""  # of a loss less is better
    chart = scatter(metric, {group: points}, translate("milliseconds for one text"))
    return section(translate("Models"), table(columns(metric), cells(rows)), chart)


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows for programs."""
    return [asdict(each) for each in rows]


def from_json(rows: Sequence[dict[str, Any]]) -> list[Row]:
    """The inverse of `as_json`."""
    return [Row(**each) for each in rows]
