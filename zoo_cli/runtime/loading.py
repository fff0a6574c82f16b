"""From a bundle's folder to a pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo_cli import tokenizers
from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import verify_manifest
from zoo_cli.runtime.backends import BACKENDS
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS, Pipeline, Runner
from zoo_cli.tasks.base import load_task


def load(
    bundle: str | Path,
    backend: str = "onnx",
    precision: str = "fp32",
    threads: int | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Pipeline:
    """Load a bundle; nothing in it is executed or unpickled.

    Args:
        bundle: folder that `zoo export` wrote.
        backend: ``"onnx"`` or ``"paddle"``.
        precision: ``"fp32"``, or another that the bundle has.
        threads: threads of the back end; by default the cores that the process owns.
        batch_tokens: padded tokens in one batch at most.

    Raises:
        ArtifactError: a file is missing, damaged, unexpected or of a newer format.
        PlatformError: the back end is not installed.
        UsageError: there is no such back end.
    """
    folder = Path(bundle)
    verify_manifest(folder)
    if backend not in BACKENDS:
        raise UsageError(
            "unknown-backend",
            "there is no back end {name!r}",
            fix="choose one of: {names}",
            name=backend,
            names=", ".join(BACKENDS),
        )
    graph = BACKENDS[backend](folder, precision, threads)
    task = load_task(folder, tokenizers.load(folder), graph.input_names)

    def forward(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(task.output_names, graph(batch), strict=True))

    return Pipeline(task, Runner(task, forward, batch_tokens))
