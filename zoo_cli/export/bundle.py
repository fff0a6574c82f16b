"""`zoo export`: a model folder becomes a bundle, and the bundle is proven before it gets its place.

bundle/
    config.json, model.safetensors, tokenizer files, task.json, recipe.yaml, metrics.json   as training wrote them
    paddle/inference.{json,pdiparams}
    onnx/fp32/model.onnx
    openvino/fp32/model.{xml,bin}
    golden_requests.jsonl       requests with the model's answers
    receipt.json, RECEIPT.md    what was compared and measured
    MANIFEST.json               SHA-256 of every file
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli import __version__
from zoo_cli.base.errors import GateError, Location, UsageError
from zoo_cli.base.files import MANIFEST, atomic_folder, write_json, write_manifest, write_text
from zoo_cli.engine.predictor import Predictor
from zoo_cli.engine.setup import Assembly, load_folder
from zoo_cli.export import to_onnx
from zoo_cli.export.parity import Comparison, compare
from zoo_cli.export.to_openvino import to_openvino
from zoo_cli.export.trace import save_paddle
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.runtime.backends import BACKENDS, Backend
from zoo_cli.runtime.golden import GOLDEN_REQUESTS, RECEIPT, differing, read_golden, write_golden
from zoo_cli.runtime.pipeline import Pipeline, Runner

BUNDLE, REJECTED, NEW = "bundle", "rejected", "bundle.new"
# What is not part of a model but of the run that made it.
_NOT_CARRIED = {MANIFEST, RECEIPT, "RECEIPT.md", GOLDEN_REQUESTS}


def export(
    source: Path, folder: Path, options: ExportSection, requests: Sequence[Any], force: bool = False
) -> dict[str, Any]:
    """Write a bundle and prove it.

    Args:
        source: model folder.
        folder: run folder; gets `bundle/`, or `rejected/` where a comparison fails.
        options: the recipe's `export` section.
        requests: what to ask all back ends; their answers must be the same.
        force: replace a bundle that is there.

    Returns:
        The receipt, with the path of the bundle.

    Raises:
        GateError: a back end computes something else (`export-parity`) or answers differently (`export-answers`); the
            bundle is in `rejected/`.
        ArtifactError: the model folder cannot be read.
        PlatformError: the conversion to ONNX failed.
        UsageError: there is a bundle already.
    """
    refuse_existing(folder, force)
    assembly = load_folder(source)
    failures: list[str] = []
    with atomic_folder(folder / NEW) as partial:
        carry(source, partial)
        graph_report = _write_graphs(assembly, partial, options)
        backends: dict[str, Backend] = {name: BACKENDS[name](partial) for name in options.backends}
        comparisons = _compare(assembly, backends)
        worst = {name: max(c.difference for c in comparisons if c.backend == name) for name in backends}
        for name, difference in worst.items():
            if not difference <= options.tolerance:
                failures.append(f"{name} differs by {difference:.2g}")
        answers = write_golden(partial, Pipeline(assembly.task, Predictor(assembly.model, assembly.task)), requests)
        for name, backend in backends.items():
            pipeline = Pipeline(assembly.task, Runner(assembly.task, _named(assembly, backend)))
            wrong = differing(pipeline, read_golden(partial), options.tolerance)
            if wrong:
                failures.append(f"{name} answers {len(wrong)} of {answers} requests differently")
        receipt = _receipt(assembly, source, partial, options, graph_report, comparisons, answers, failures)
        write_json(partial / RECEIPT, receipt)
        write_text(partial / "RECEIPT.md", receipt_page(receipt))
        write_manifest(partial)
    place = settle(folder, bool(failures))
    if failures:
        raise GateError(
            "export-parity",
            "the exported model is not the model: {failures}",
            at=Location.of(place),
            fix="see receipt.json there; export.tolerance sets how much may differ",
            failures="; ".join(failures),
        )
    return {"bundle": str(place), **receipt}


def refuse_existing(folder: Path, force: bool) -> None:
    """Refuse a run folder that has a bundle, unless it is to be replaced.

    Raises:
        UsageError: there is a bundle already (`bundle-exists`).
    """
    target = folder / BUNDLE
    if target.exists() and not force:
        raise UsageError(
            "bundle-exists", "there is a bundle already", at=Location.of(target), fix="replace it with --force"
        )


def settle(folder: Path, failed: bool) -> Path:
    """Give the new bundle of a run folder its place, `bundle/` or `rejected/`; return it."""
    rejected = folder / REJECTED
    if rejected.exists():
        shutil.rmtree(rejected)
    place = rejected if failed else folder / BUNDLE
    if place.exists():
        shutil.rmtree(place)
    return (folder / NEW).rename(place)


def carry(source: Path, partial: Path, without: Collection[str] = ()) -> None:
    """Copy the files of a model folder or of another bundle, except graphs and what was said of them."""
    for entry in sorted(source.iterdir()):
        if entry.name not in _NOT_CARRIED and entry.name not in without and entry.is_file():
            shutil.copyfile(entry, partial / entry.name)


def _write_graphs(assembly: Assembly, partial: Path, options: ExportSection) -> dict[str, int]:
    task = assembly.task
    paddle_folder = partial / "paddle"
    paddle_folder.mkdir()
    states = assembly.model.config.state_shapes
    save_paddle(assembly.model, task.graph_inputs, task.output_names, paddle_folder, states)
    report: dict[str, int] = {}
    if {"onnx", "openvino"} & set(options.backends):
        target = partial / "onnx" / "fp32" / "model.onnx"
        target.parent.mkdir(parents=True)
        report = to_onnx.convert(paddle_folder, target, task.output_names, task.sequence_outputs)
        if "openvino" in options.backends:
            to_openvino(target, partial / "openvino" / "fp32")
    for name in {"onnx", "paddle"} - set(options.backends):
        shutil.rmtree(partial / name, ignore_errors=True)
    return report


def _named(assembly: Assembly, backend: Backend) -> Any:
    names = assembly.task.output_names
    return lambda batch: dict(zip(names, backend(batch), strict=True))


def _compare(assembly: Assembly, backends: dict[str, Backend]) -> list[Comparison]:
    task, config = assembly.task, assembly.model.config
    assembly.model.eval()

    def reference(inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        with paddle.no_grad():
            result = assembly.model(**{name: paddle.to_tensor(array) for name, array in inputs.items()})
        return [getattr(result, name).numpy() for name in task.output_names]

    max_length = min(getattr(task.options, "max_length", 512), config.max_position_embeddings)
    sizes = config.vocab_size, max_length, config.state_shapes
    return list(compare(reference, dict(backends), task.graph_inputs, *sizes))


def _receipt(
    assembly: Assembly,
    source: Path,
    partial: Path,
    options: ExportSection,
    graph_report: dict[str, int],
    comparisons: list[Comparison],
    answers: int,
    failures: list[str],
) -> dict[str, Any]:
    sizes = {
        str(path.relative_to(partial)): path.stat().st_size
        for path in sorted(partial.rglob("*"))
        if path.suffix in (".onnx", ".bin", ".pdiparams", ".safetensors")
    }
    return {
        "format": 1,
        "zoo": __version__,
        "paddle": paddle.__version__,
        "source": str(source),
        "family": assembly.model.config.family,
        "architecture": assembly.model.config.architecture,
        "task": assembly.task.name,
        "backends": list(options.backends),
        "tolerance": options.tolerance,
        "onnx_passes": graph_report,
        "parity": [comparison.as_dict() for comparison in comparisons],
        "golden_requests": answers,
        "bytes": sizes,
        "failures": failures,
    }


def receipt_page(receipt: dict[str, Any]) -> str:
    """The receipt as Markdown."""
    lines = [
        f"# {receipt['architecture']} for {receipt['task']}",
        "",
        f"Exported by zoo {receipt['zoo']} with PaddlePaddle {receipt['paddle']}.",
        "",
        "| back end | batch | length | largest difference |",
        "|---|---|---|---|",
    ]
    lines += [f"| {c['backend']} | {c['batch']} | {c['length']} | {c['difference']:.2g} |" for c in receipt["parity"]]
    lines += [
        "",
        f"All back ends may differ from the model by {receipt['tolerance']:g}; {receipt['golden_requests']} requests were answered alike"
        if not receipt["failures"]
        else "Refused: " + "; ".join(receipt["failures"]),
        "",
        "| file | megabytes |",
        "|---|---|",
    ]
    lines += [f"| {name} | {size / 1e6:.1f} |" for name, size in receipt["bytes"].items()]
    return "\n".join(lines) + "\n"
