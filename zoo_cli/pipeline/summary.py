"""What a whole run made: a table of its steps, and a receipt with every hash and command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from zoo_cli import __version__
from zoo_cli.base.files import read_json, write_text
from zoo_cli.export.receipt import table
from zoo_cli.pipeline.graph import Road
from zoo_cli.pipeline.state import Record, State
from zoo_cli.pipeline.steps import BENCH, CHECK, REPORT, SPLIT, VERIFY, Step, answer_file, served
from zoo_cli.runtime.golden import RECEIPT, RECEIPT_PAGE


def summary(road: Road, state: State) -> dict[str, Any]:
    """What a run made; the receipt of the whole run is written.

    Args:
        road: the run, all of whose chosen steps are done.
        state: the records of its steps.

    Returns:
        ``run`` (its folder), ``recipe``, ``steps`` (name, state, seconds, peak_megabytes, disk_bytes, result), and, as
        far as they are there, ``bundle``, ``report`` and ``receipt``.
    """
    rows = []
    for step in road.steps:
        record = state.records.get(step.name)
        if record is None:
            continue
        costs = {"seconds": record.seconds, "peak_megabytes": record.peak_megabytes, "disk_bytes": record.disk_bytes}
        rows.append({"step": step.name, "state": record.state, **costs, "result": _result(step, road.root)})
    found: dict[str, Any] = {"run": str(road.root), "recipe": str(road.loaded.path), "steps": rows}
    bundle = None if road.loaded.recipe.pretrain else road.by_name[served(road.loaded.recipe)].output(road.root)
    if bundle is not None and bundle.is_dir():
        found["bundle"] = str(bundle)
    if REPORT in road.by_name and (road.root / "report.html").is_file():
        found["report"] = str(road.root / "report.html")
    receipt = road.root / RECEIPT_PAGE
    write_text(receipt, receipt_page(road, state, rows))
    return {**found, "receipt": str(receipt)}


def _result(step: Step, root: Path) -> str:
    """The main figure of a step, in a few words."""
    if not step.finished(root):
        return ""
    if step.trains:
        result = read_json(root / step.name / "result.json")
        score = result["best_score"]
        return f"{result['steps']} steps" if score is None else f"{result['metric']} {score:.4f}"
    if step.artifact == "bundle":
        receipt = read_json(root / step.name / "bundle" / RECEIPT)
        if "parity" in receipt:
            worst = max((row["difference"] for row in receipt["parity"]), default=0.0)
            return f"largest difference {worst:.1g}, {receipt['golden_requests']} answers alike"
        metric = receipt["metric"]
        size = receipt["bytes_after"] / receipt["bytes_before"]
        return f"{metric} {receipt['before'][metric]:.4f} -> {receipt['after'][metric]:.4f}, {size:.0%} of the size"
    answer = read_json(answer_file(root, step.name))
    if step.name == CHECK:
        rows = sum(part["rows"] for part in answer["parts"])
        warnings = sum(finding["level"] == "warning" for finding in answer["findings"])
        return f"{rows} rows, {warnings} warnings"
    if step.name == SPLIT:
        return ", ".join(f"{name} {count}" for name, count in answer.items())
    if step.name == VERIFY:
        return f"{answer['requests']} golden requests, {answer['files']} files"
    if step.name == BENCH:
        best = max((shape["throughput"] for each in answer["results"] for shape in each["shapes"]), default=0.0)
        return f"up to {best:.0f} sequences/s"
    return ""


def receipt_page(road: Road, state: State, rows: list[dict[str, Any]]) -> str:
    """The receipt of a run as Markdown: what each step took and made, from which data, by which command."""
    steps = [
        (
            row["step"],
            row["state"],
            f"{row['seconds']:.1f}",
            f"{row['peak_megabytes']:.0f}",
            f"{row['disk_bytes'] / 1e6:.1f}",
            row["result"],
        )
        for row in rows
    ]
    data: dict[str, str] = {}
    for record in state.records.values():
        data |= {name: digest for name, digest in record.facts["data"].items() if digest}
    outputs = [(name, f"`{record.output}`") for name, record in state.records.items() if record.output]
    lines = [
        f"# {road.loaded.name}",
        "",
        f"By zoo {__version__} from `{road.recipe}`{_with(road.overrides)}.",
        "",
        *table(["step", "state", "seconds", "megabytes", "on disk, MB", "result"], steps),
        "## Data",
        "",
        *table(["file", "SHA-256"], [(name, f"`{digest}`") for name, digest in data.items()]),
        "## Outputs",
        "",
        *table(["step", "SHA-256 of its manifest or answer"], outputs),
        "## Commands",
        "",
        *(f"    zoo {_shell(record)}" for record in state.records.values()),
        "",
    ]
    return "\n".join(lines)


def _with(overrides: list[str]) -> str:
    return f" with `{' '.join(overrides)}`" if overrides else ""


def _shell(record: Record) -> str:
    return shlex.join(record.command)
