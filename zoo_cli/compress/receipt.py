"""The receipt of a quantised model: what was tried and measured, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_cli import __version__
from zoo_cli.base.files import read_json
from zoo_cli.compress.prune import UNPRUNED
from zoo_cli.compress.search import Candidate, Search
from zoo_cli.compress.workloads import Sample
from zoo_cli.export.receipt import provenance_lines, table, verdict
from zoo_cli.recipe.schema import QuantizeSection
from zoo_cli.runtime.golden import RECEIPT
from zoo_cli.runtime.loading import Bundle


def make_receipt(
    options: QuantizeSection,
    source: Path,
    before: Bundle,
    search: Search,
    best: Candidate,
    sample: Sample,
    fewer: Mapping[int, Sample],
    measured: dict[str, Any],
) -> dict[str, Any]:
    """The receipt without what concerns the data.

    Args:
        options: the recipe's section.
        source: what was quantised.
        before: the float bundle that it is compared with.
        search: what was tried.
        best: what was chosen.
        sample: what ranges were found from.
        fewer: samples of fewer texts that were tried, too, by their number.
        measured: further figures.
    """
    receipt = {
        "format": 1,
        "zoo": __version__,
        "source": str(source),
        "task": before.task.name,
        "backend": options.backend,
        "precision": search.route.precision,
        "method": options.method,
        "tolerance": options.tolerance,
        "metric": search.metric,
        "before": search.before,
        "after": best.scores,
        "chosen": best.as_dict(),
        "candidates": [candidate.as_dict() for candidate in search.tried],
        "sensitivity": search.sensitivity,
        "calibration": {
            "examples": len(sample.lengths),
            "lengths": [min(sample.lengths), max(sample.lengths)],
            "sha256": sample.sha256,
            **({"fewer": {str(count): each.sha256 for count, each in fewer.items()}} if fewer else {}),
        },
        "bytes_before": search.float_size,
        "bytes_after": best.size,
        **measured,
    }
    if (before.folder / RECEIPT).is_file():
        parity = read_json(before.folder / RECEIPT).get("parity", ())
        found = sorted({row["backend"] for row in parity})
        receipt["float_graphs"] = {
            name: max(row["difference"] for row in parity if row["backend"] == name) for name in found
        }
    if (source / UNPRUNED).is_file():
        unpruned = read_json(source / UNPRUNED)
        receipt["unpruned"] = {**unpruned, "share": best.size / unpruned["bytes"]}
    return receipt


def receipt_page(receipt: dict[str, Any]) -> str:
    """The receipt as Markdown, with the command for each figure."""
    chosen, speed, metric = receipt["chosen"], receipt["speed"], receipt["metric"]
    scores = [
        (f"{name} on the development set", f"{old:.4f}", f"{receipt['after'][name]:.4f}")
        for name, old in receipt["before"].items()
        if isinstance(old, float)
    ]
    intervals = receipt["intervals"]
    times = [
        (f"processor ms a text, {way}", f"{speed[way]['before_ms']:.2f}", f"{speed[way]['after_ms']:.2f}")
        for way in ("alone", "batches")
    ]
    figures = [
        *scores,
        (f"95 % interval of {metric}", _range(intervals["before"]), _range(intervals["after"])),
        ("megabytes", f"{receipt['bytes_before'] / 1e6:.2f}", f"{receipt['bytes_after'] / 1e6:.2f}"),
        *times,
        ("matrix products with integers", 0, chosen["integer_products"]),
    ]
    candidates = [
        (each["calibration"], len(each["kept_in_float"]), f"{each['metric']:.4f}", f"{each['relative_error']:.4f}")
        for each in receipt["candidates"]
    ]
    changes = [
        f"quantize.{key}={receipt[key]}" for key in ("backend", "method") if receipt[key] not in ("onnx", "dynamic")
    ]
    lines = [
        f"# {receipt['task']} in {receipt['precision']} for {receipt['backend']}",
        "",
        f"Quantised by zoo {receipt['zoo']}, method {receipt['method']} ({chosen['calibration']}).",
        "",
        *verdict(receipt),
        *table(["", "before", "after"], figures),
        f"By `{' '.join(['zoo quantize --from MODEL', *changes])}`; speed again by `zoo bench`, size by `wc -c FILE`.",
        f"The change of {metric} is in {_range(intervals['difference'])} with 95 % confidence (bootstrap over the"
        " development set, the same draws for both).",
        "",
        *_agreement(receipt),
        *_unpruned(receipt),
        "## Candidates",
        "",
        *table(["calibration", "layers in float", metric, "relative error"], candidates),
    ]
    if chosen["kept_in_float"]:
        lines += ["Back in float, the most sensitive first:", ""]
        lines += [f"- `{name}` (error {receipt['sensitivity'][name]:.4f})" for name in chosen["kept_in_float"]]
        lines.append("")
    return "\n".join([*lines, *provenance_lines(receipt)])


def _range(ends: list[float]) -> str:
    return f"{ends[0]:.4f} to {ends[1]:.4f}"


def _agreement(receipt: dict[str, Any]) -> list[str]:
    rows = [
        (f"{name} in float, and the model", "largest difference", f"{difference:.2g}")
        for name, difference in receipt.get("float_graphs", {}).items()
    ]
    alike = f"{receipt['golden_requests'] - receipt['golden_differences']} of {receipt['golden_requests']}"
    rows.append((f"{receipt['precision']} and float", "golden requests answered alike", alike))
    return [
        "## Agreement",
        "",
        *table(["", "", ""], rows),
        f"Scores within {receipt['tolerance']:g} of each other count as alike. The first by `zoo export --from MODEL`,"
        " answers again by `zoo verify BUNDLE`.",
        "",
    ]


def _unpruned(receipt: dict[str, Any]) -> list[str]:
    """Where the model was cut out of another one: what is left of that one's size."""
    unpruned = receipt.get("unpruned")
    if unpruned is None:
        return []
    score = "" if unpruned["score"] is None else f"; its {unpruned['metric']} was {unpruned['score']:.4f}"
    return [
        "## Size of all steps",
        "",
        f"{receipt['bytes_after'] / 1e6:.2f} of {unpruned['bytes'] / 1e6:.2f} megabytes are left,"
        f" {unpruned['share']:.1%} of the model before pruning{score}. By `zoo prune` and then `zoo quantize`.",
        "",
    ]
