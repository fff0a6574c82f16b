"""From a bundle's folder to a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli import tokenizers
from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import MANIFEST, sha256_file, verify_manifest
from zoo_cli.runtime.backends import BACKENDS, Backend
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS, Pipeline, Runner
from zoo_cli.tasks.base import Task, load_task


@dataclass(frozen=True)
class Bundle:
    """An open bundle.

    Args:
        folder: where it is.
        version: first twelve digits of the SHA-256 of its manifest: the same for the same files only.
        task: what it was made for.
        backend: what computes.
    """

    folder: Path
    version: str
    task: Task[Any]
    backend: Backend

    def runner(self, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Runner:
        """What computes features on a thread of its own; call it on the main thread."""
        names, backend = self.task.output_names, self.backend.clone()

        def forward(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            return dict(zip(names, backend(batch), strict=True))

        return Runner(self.task, forward, batch_tokens)


def open_bundle(
    bundle: str | Path, backend: str = "onnx", precision: str = "fp32", threads: int | None = None
) -> Bundle:
    """Check a bundle's files and open it; nothing in it is executed or unpickled.

    Args:
        bundle: folder that `zoo export` wrote.
        backend: ``"onnx"`` or ``"paddle"``.
        precision: ``"fp32"``, or another that the bundle has.
        threads: threads of the back end; by default the cores that the process owns.

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
    return Bundle(folder, sha256_file(folder / MANIFEST)[:12], task, graph)


def load(
    bundle: str | Path,
    backend: str = "onnx",
    precision: str = "fp32",
    threads: int | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Pipeline:
    """Load a bundle as a pipeline; see `open_bundle`.

    Args:
        batch_tokens: padded tokens in one batch at most.
    """
    opened = open_bundle(bundle, backend, precision, threads)
    return Pipeline(opened.task, opened.runner(batch_tokens))
