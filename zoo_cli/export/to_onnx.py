"""Paddle graph to ONNX, converted in a process of its own.

Some faults of paddle2onnx abort the process, which is kept away from the caller.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from zoo_cli.base.errors import PlatformError
from zoo_cli.base.files import atomic_file
from zoo_cli.export.onnx_graph import tidy
from zoo_cli.tasks.base import Axes

OPSET = 17


def convert(paddle_folder: Path, target: Path, output_names: Sequence[str], axes: Mapping[str, Axes]) -> dict[str, int]:
    """Convert `inference.json` and `inference.pdiparams` to one ONNX file.

    Args:
        paddle_folder: holds the Paddle graph.
        target: file to write.
        output_names: names of the outputs, in the graph's order.
        axes: names of the axes of inputs and outputs, see `zoo_cli.export.onnx_graph.tidy`.

    Returns:
        What the graph passes did (`zoo_cli.export.onnx_graph.tidy`).

    Raises:
        PlatformError: the converter failed; the message ends with its last words.
    """
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "model.onnx"
        graph, weights = paddle_folder / "inference.json", paddle_folder / "inference.pdiparams"
        program = [sys.executable, "-m", "zoo_cli.export.converter"]
        command = [*program, str(graph), str(weights), str(raw), str(OPSET)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not raw.is_file():
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
            raise PlatformError(
                "onnx-conversion",
                "paddle2onnx failed with exit code {status}: {reason}",
                status=done.returncode,
                reason=last.strip(),
            )
        model = onnx.load(str(raw))
    report = tidy(model, output_names, axes)
    with atomic_file(target) as partial:
        onnx.save(model, str(partial))
    return report
