"""The golden requests of a bundle: what it was asked when it was made, and what it answered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import read_json, write_text
from zoo_cli.runtime.pipeline import Pipeline

GOLDEN_REQUESTS = "golden_requests.jsonl"
RECEIPT, RECEIPT_PAGE = "receipt.json", "RECEIPT.md"
TOLERANCE = 1e-4


def write_golden(bundle: Path, pipeline: Pipeline, requests: Sequence[Any]) -> int:
    """Write requests with a pipeline's answers; return how many.

    Each is asked alone: with integer ranges that are found in each call, an answer depends a little on what else is in
    the batch.
    """
    answers = pipeline.stream(requests, window=1)
    lines = [
        json.dumps({"request": request, "answer": answer}, ensure_ascii=False) + "\n"
        for request, answer in zip(requests, answers, strict=True)
    ]
    write_text(bundle / GOLDEN_REQUESTS, "".join(lines))
    return len(lines)


def golden_tolerance(bundle: Path, precision: str = "fp32") -> float:
    """By how much a score may differ when the golden requests are answered again: what the receipt, if any, says.

    Args:
        bundle: the bundle's folder.
        precision: of the graph that answers.

    Raises:
        ArtifactError: the receipt is broken.
    """
    receipt = read_json(bundle / RECEIPT) if (bundle / RECEIPT).is_file() else {}
    name = f"{precision}_tolerance"
    value = receipt.get(name, receipt.get("tolerance", TOLERANCE)) if isinstance(receipt, dict) else None
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise ArtifactError("broken-receipt", "the receipt has no tolerance", at=Location.of(bundle / RECEIPT))
    return float(value)


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


def differing(pipeline: Pipeline, golden: list[tuple[Any, Any]], tolerance: float = TOLERANCE) -> dict[int, Any]:
    """Numbers of the golden requests that a pipeline answers differently, from 0, with what it answers."""
    answers = pipeline.stream([request for request, _ in golden], window=1)
    return {
        number: answer
        for number, ((_, expected), answer) in enumerate(zip(golden, answers, strict=True))
        if not same_answer(expected, answer, tolerance)
    }
