"""Names of what runs leave in their folders, and how it is read; free of paddle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RECIPE, METRICS, REPORT, RESULT, LOCK = "recipe.yaml", "metrics.jsonl", "report.html", "result.json", ".lock"
CHECKPOINTS, BEST, TENSORBOARD, CORPORA = "checkpoints", "best", "tensorboard", "corpora"
DIVERGED = "diverged-batch.npz"
BUNDLE, REJECTED, NEW = "bundle", "rejected", "bundle.new"

OWN = (CHECKPOINTS, BEST, TENSORBOARD, CORPORA, METRICS, REPORT, DIVERGED, RESULT, RECIPE)
"""What a training writes into its folder, the recipe last."""


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The reports of a training so far; a last line that a kill cut short is left out."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as one, with dotted names: ``{"PER": {"f1": 1.0}}`` -> ``{"PER.f1": 1.0}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
