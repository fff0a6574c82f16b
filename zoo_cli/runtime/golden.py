"""The golden requests of a bundle: what it was asked when it was made, and what it answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.runtime.pipeline import Pipeline

GOLDEN_REQUESTS = "golden_requests.jsonl"


def read_golden(bundle: Path) -> list[tuple[Any, Any]]:
    """(request, answer) pairs of a bundle.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    path = bundle / GOLDEN_REQUESTS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError("missing-file", "the golden requests cannot be read", at=Location.of(path)) from error
    pairs = []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
            pairs.append((value["request"], value["answer"]))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ArtifactError("broken-json", "no request with its answer", at=Location.of(path, number)) from error
    return pairs


def same_answer(first: Any, second: Any, tolerance: float) -> bool:
    """Whether two answers are equal, numbers that are no integers within `tolerance`."""
    if isinstance(first, float) or isinstance(second, float):
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second))
        return numbers and abs(first - second) <= tolerance
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same_answer(first[key], second[key], tolerance) for key in first)
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(
            same_answer(one, other, tolerance) for one, other in zip(first, second, strict=True)
        )
    return type(first) is type(second) and first == second


def differing(pipeline: Pipeline, golden: list[tuple[Any, Any]], tolerance: float = 1e-4) -> list[int]:
    """Numbers of the golden requests that a pipeline answers differently."""
    answers = pipeline.stream([request for request, _ in golden])
    return [
        number
        for number, ((_, expected), answer) in enumerate(zip(golden, answers, strict=True))
        if not same_answer(expected, answer, tolerance)
    ]
