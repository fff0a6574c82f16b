"""`zoo verify`: does a bundle answer here what it answered where it was made?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import PlatformError, UsageError
from zoo_cli.base.files import verify_manifest
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.golden import differing, golden_tolerance, read_golden
from zoo_cli.runtime.loading import open_bundle


def verify(folder: Path) -> dict[str, Any]:
    """Check a bundle's files and answer its golden requests with each of its graphs.

    Args:
        folder: the bundle.

    Returns:
        ``ok``; ``files``, how many agree with the manifest; ``requests``; and for each graph its ``backend``,
        ``precision``, ``status`` (``same``, ``different`` or ``not installed``), ``seconds``, and ``differences``: line
        of the golden requests, what was ``expected``, and what was ``found``.

    Raises:
        ArtifactError: a file is missing, damaged, unexpected, or of a newer format.
        PlatformError: none of the back ends is installed.
        UsageError: the bundle has no graph, or no golden requests to compare (`nothing-to-verify`).
    """
    files = len(verify_manifest(folder)["files"])
    golden = read_golden(folder)
    known = graphs(folder)
    if not known or not golden:
        raise UsageError(
            "nothing-to-verify", "the bundle has {what}", what="no golden requests" if known else "no graph"
        )
    results: list[dict[str, Any]] = []
    missing: PlatformError | None = None
    for backend, precision in known:
        begin = time.perf_counter()
        entry: dict[str, Any] = {"backend": backend, "precision": precision}
        try:
            bundle = open_bundle(folder, backend, precision)
        except PlatformError as error:
            missing = error
            results.append({**entry, "status": "not installed", "seconds": 0.0, "differences": []})
            continue
        wrong = differing(bundle.pipeline(), golden, golden_tolerance(folder, precision))
        differences = [
            {"line": number + 1, "expected": golden[number][1], "found": answer} for number, answer in wrong.items()
        ]
        seconds = round(time.perf_counter() - begin, 3)
        status = "different" if wrong else "same"
        results.append({**entry, "status": status, "seconds": seconds, "differences": differences})
    if missing is not None and all(entry["status"] == "not installed" for entry in results):
        raise missing
    return {
        "bundle": str(folder),
        "ok": all(entry["status"] != "different" for entry in results),
        "files": files,
        "requests": len(golden),
        "tolerance": golden_tolerance(folder),
        "graphs": results,
    }
