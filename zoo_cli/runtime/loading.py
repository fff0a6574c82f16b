"""From a bundle's folder to a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_cli import tokenizers
from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import MANIFEST, sha256_file, verify_manifest
from zoo_cli.runtime.backends import BACKENDS, Backend, graphs
from zoo_cli.runtime.decoder import DecoderFacts, GraphBatch
from zoo_cli.runtime.generation import GenerationRunner
from zoo_cli.runtime.pipeline import DEFAULT_BATCH_TOKENS, Pipeline, Runner
from zoo_cli.tasks.base import Task, load_task
from zoo_cli.tasks.generative import GenerativeTask

_PARTS_OF_RUNS = {"pretrain", "finetune", "distill", "prune", "export", "quantize", "bundle", "best"}


@dataclass(frozen=True)
class Bundle:
    """An open bundle.

    Args:
        folder: where it is.
        version: first twelve digits of the SHA-256 of its manifest: the same for the same files only.
        task: what it was made for.
        backend: what computes.
        engine: name of the back end, e.g. ``"onnx"``.
        precision: that of the graph.
    """

    folder: Path
    version: str
    task: Task[Any]
    backend: Backend
    engine: str
    precision: str

    def runner(self, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Runner:
        """What computes features on a thread of its own; call it on the main thread.

        Raises:
            UsageError: the task's answers are generated (`no-features`).
        """
        if isinstance(self.task, GenerativeTask):
            raise UsageError(
                "no-features", "the task {name} has no features to compute: it generates texts", name=self.task.name
            )
        return Runner.of_backend(self.task, self.backend.clone(), batch_tokens)

    def decoder(self) -> GraphBatch:
        """What reads prompts and tokens on a thread of its own, where the task's answers are generated; call it on the
        main thread."""
        return GraphBatch(self.backend.clone(), DecoderFacts.load(self.folder))

    def pipeline(self, batch_tokens: int = DEFAULT_BATCH_TOKENS) -> Pipeline:
        """What answers requests on a thread of its own; call it on the main thread."""
        if isinstance(self.task, GenerativeTask):
            return Pipeline(self.task, GenerationRunner(self.decoder))
        return Pipeline(self.task, self.runner(batch_tokens))


def default_name(folder: Path) -> str:
    """Name of a model after its folder: ``runs/uie/msra/export/bundle`` -> ``"msra"``."""
    parts = [part for part in folder.resolve().parts if part not in _PARTS_OF_RUNS]
    return parts[-1].removesuffix(".tiny") if len(parts) > 1 else "model"


def bundle_folder(path: Path) -> Path:
    """The bundle that a path means: that of a run folder, or the path itself."""
    return path / "bundle" if (path / "bundle").is_dir() else path


def existing_bundle(path: Path) -> Path:
    """The same, where there is something.

    Raises:
        ArtifactError: there is no such folder (`no-bundle`).
    """
    folder = bundle_folder(path)
    if not folder.is_dir():
        fix = "name a folder that `zoo export` or `zoo quantize` wrote"
        raise ArtifactError("no-bundle", "there is no bundle here", at=Location.of(folder), fix=fix)
    return folder


def open_bundle(
    bundle: str | Path, backend: str | None = None, precision: str | None = None, threads: int | None = None
) -> Bundle:
    """Check a bundle's files and open it; nothing in it is executed or unpickled.

    Args:
        bundle: folder that `zoo export` or `zoo quantize` wrote, or the run folder that it is in.
        backend: ``"onnx"``, ``"openvino"`` or ``"paddle"``; by default the first of these that the bundle has.
        precision: ``"fp32"`` or ``"int8"``; by default fp32 if the bundle has it.
        threads: threads of the back end; by default the cores that the process owns.

    Raises:
        ArtifactError: there is no bundle, a file is missing, damaged, unexpected or of a newer format, or there is no
            such graph.
        PlatformError: the back end is not installed.
        UsageError: there is no such back end.
    """
    folder = existing_bundle(Path(bundle))
    verify_manifest(folder)
    engine, numbers = _choose(folder, backend, precision)
    graph = BACKENDS[engine](folder, numbers, threads)
    task = load_task(folder, tokenizers.load(folder), graph.input_names)
    return Bundle(folder, sha256_file(folder / MANIFEST)[:12], task, graph, engine, numbers)


def _choose(folder: Path, backend: str | None, precision: str | None) -> tuple[str, str]:
    """The first of the bundle's graphs that was not ruled out."""
    if backend is not None and backend not in BACKENDS:
        raise UsageError(
            "unknown-backend",
            "there is no back end {name!r}",
            fix="choose one of: {names}",
            name=backend,
            names=", ".join(BACKENDS),
        )
    known = graphs(folder)
    for engine, numbers in known:
        if backend in (None, engine) and precision in (None, numbers):
            return engine, numbers
    raise ArtifactError(
        "no-graph",
        "the bundle has no graph for {backend} of precision {precision}",
        at=Location.of(folder),
        fix="it has: {known}" if known else "`zoo export` writes one",
        backend=backend or "any back end",
        precision=precision or "any",
        known=", ".join(f"{engine} {numbers}" for engine, numbers in known),
    )


def load(
    bundle: str | Path,
    backend: str | None = None,
    precision: str | None = None,
    threads: int | None = None,
    batch_tokens: int = DEFAULT_BATCH_TOKENS,
) -> Pipeline:
    """Load a bundle as a pipeline; see `open_bundle`.

    Args:
        batch_tokens: padded tokens in one batch at most; a graphics card wants thousands.
    """
    return open_bundle(bundle, backend, precision, threads).pipeline(batch_tokens)
