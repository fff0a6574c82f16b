"""A bundle's receipt: what was known and measured when it was made, as JSON and as a page.

What is not known is left out.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo_cli.base.files import read_json, sha256_file
from zoo_cli.base.resources import locate, resource_folder
from zoo_cli.recipe.loading import LoadedRecipe, read_document

METRICS = "metrics.json"
_WEIGHTS = (".onnx", ".bin", ".pdiparams", ".safetensors")
_BATCHES = (1, 8)
_LONGEST = 128
ROUNDS = 8
"""Measurements of each time, the first of which does not count."""

Calls = dict[tuple[str, int, int], Callable[[], object]]
"""What to measure, by back end, batch size and length."""


def provenance(loaded: LoadedRecipe, source: Path) -> dict[str, Any]:
    """Where a model comes from.

    Args:
        loaded: the recipe.
        source: model folder or bundle.

    Returns:
        ``seed`` of the training; ``data``: SHA-256 of each of the recipe's files, by part, as they are now;
        ``metrics``: the scores that training wrote; and ``origin``: ``init``, the weights that training began with,
        their ``source``, ``language`` and ``licence``, of which the recipe may state another.
    """
    section = loaded.recipe.data
    parts = {"train": section.train, "dev": section.dev, "test": section.test}
    data = {
        part: {name: sha256_file(locate(name)) for name in files if locate(name).is_file()}
        for part, files in parts.items()
    }
    known: dict[str, Any] = {
        "seed": loaded.recipe.train.seed,
        "data": {part: files for part, files in data.items() if files},
        "metrics": read_json(source / METRICS) if (source / METRICS).is_file() else {},
        "origin": _origin(loaded),
    }
    return {name: value for name, value in known.items() if value not in ({}, None)}


def _origin(loaded: LoadedRecipe) -> dict[str, str]:
    known: dict[str, Any] = {"init": loaded.recipe.model.init}
    if loaded.checkpoint is not None and loaded.preset is not None:
        preset = read_document(resource_folder("configs") / "models" / f"{loaded.preset}.yaml").value
        known |= {name: preset.get(name) for name in ("source", "language", "licence")}
    known["licence"] = loaded.recipe.export.licence or known.get("licence")
    return {name: str(value) for name, value in known.items() if value}


def timed_shapes(longest: int) -> list[tuple[int, int]]:
    """Batch sizes and lengths whose time is measured, of a model that reads `longest` tokens at most."""
    return [(size, min(_LONGEST, longest)) for size in _BATCHES]


def latency(calls: Calls) -> list[dict[str, Any]]:
    """Wall time of calls: medians of measurements in turn, after one that warms up.

    Args:
        calls: what to do, by back end, batch size and length.

    Returns:
        ``backend``, ``batch``, ``length`` and ``ms`` of each.
    """
    times: dict[tuple[str, int, int], list[float]] = {key: [] for key in calls}
    for number in range(ROUNDS):
        for key, call in calls.items():
            begin = time.perf_counter()
            call()
            if number:
                times[key].append(time.perf_counter() - begin)
    return [
        {"backend": name, "batch": size, "length": length, "ms": round(statistics.median(taken) * 1000, 3)}
        for (name, size, length), taken in times.items()
    ]


def sizes(bundle: Path) -> dict[str, int]:
    """Bytes of each file of weights."""
    files = sorted(path for path in bundle.rglob("*") if path.suffix in _WEIGHTS)
    return {path.relative_to(bundle).as_posix(): path.stat().st_size for path in files}


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A Markdown table and an empty line behind it; nothing if there are no rows."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    head = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return [*head, *lines, ""] if lines else []


def provenance_lines(receipt: Mapping[str, Any]) -> list[str]:
    """What `provenance` found, as Markdown."""
    lines = []
    if receipt.get("metrics"):
        scores = [(name, _number(value)) for name, value in receipt["metrics"].items() if not isinstance(value, dict)]
        lines += ["## Scores in training", "", *table(["score", "value"], scores)]
    if receipt.get("data"):
        rows = [
            (part, name, f"`{digest}`") for part, files in receipt["data"].items() for name, digest in files.items()
        ]
        seed = f" Seed of the training: {receipt['seed']}." if "seed" in receipt else ""
        lines += ["## Data", "", *table(["part", "file", "SHA-256"], rows), f"By `sha256sum FILE`.{seed}", ""]
    return lines


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def verdict(receipt: Mapping[str, Any]) -> list[str]:
    """Why a bundle is refused, if it is."""
    return ["Refused: " + "; ".join(receipt["failures"]), ""] if receipt["failures"] else []


def receipt_page(receipt: Mapping[str, Any]) -> str:
    """The receipt of an export as Markdown, with the command for each figure."""
    agreement = []
    for name, wrong in receipt["golden_differences"].items():
        differences = [row["difference"] for row in receipt["parity"] if row["backend"] == name]
        alike = f"{receipt['golden_requests'] - wrong} of {receipt['golden_requests']}"
        agreement.append((name, len(differences), f"{max(differences):.2g}", alike))
    lines = [
        f"# {receipt['architecture']} for {receipt['task']}",
        "",
        f"Exported by zoo {receipt['zoo']} with PaddlePaddle {receipt['paddle']}. `BUNDLE` is this folder.",
        "",
        *verdict(receipt),
        "## Agreement with the model",
        "",
        *table(["back end", "shapes compared", "largest difference", "golden requests answered alike"], agreement),
        f"At most {receipt['tolerance']:g} is allowed. By `zoo export --from BUNDLE`, and `zoo verify BUNDLE` for the"
        " golden requests.",
        "",
        "## Time",
        "",
        *table(
            ["back end", "batch", "length", "ms a batch"],
            [(row["backend"], row["batch"], row["length"], f"{row['ms']:.2f}") for row in receipt["latency"]],
        ),
        f"On {receipt['threads']} cores. By `zoo bench BUNDLE --threads {receipt['threads']}"
        f" --batch {','.join(map(str, _BATCHES))} --length {receipt['latency'][0]['length']}`.",
        "",
        "## Size",
        "",
        *table(["file", "megabytes"], [(name, f"{size / 1e6:.2f}") for name, size in receipt["bytes"].items()]),
        "By `wc -c FILE`.",
        "",
        *provenance_lines(receipt),
    ]
    if receipt.get("metrics"):
        lines += ["Scores again by `zoo evaluate --from BUNDLE`.", ""]
    return "\n".join(lines)
