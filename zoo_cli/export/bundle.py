"""`zoo export`: a model folder becomes a bundle, and the bundle is proven before it gets its place.

bundle/
    config.json, model.safetensors, tokenizer files, task.json, recipe.yaml, metrics.json   as training wrote them
    paddle/inference.{json,pdiparams}
    onnx/fp32/model.onnx        and fp16/, where it is asked for
    openvino/fp32/model.{xml,bin}
    decoder.json                what the decoding engine needs to know, of models that write texts
    golden_requests.jsonl       requests with the model's answers
    receipt.json, RECEIPT.md    what was compared and measured
    README.md                   the card: what it is, where it comes from, how to use it
    MANIFEST.json               SHA-256 of every file
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli import __version__
from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import GateError, Location, UsageError
from zoo_cli.base.files import MANIFEST, atomic_folder, write_json, write_manifest, write_text
from zoo_cli.engine.folders import BUNDLE, NEW, REJECTED
from zoo_cli.engine.setup import Assembly, load_folder
from zoo_cli.export import to_onnx
from zoo_cli.export.card import CARD, write_card
from zoo_cli.export.decoder import DecoderGraph
from zoo_cli.export.encoder import EncoderGraph
from zoo_cli.export.half import HALF, to_half
from zoo_cli.export.receipt import latency, receipt_page, sizes
from zoo_cli.export.rewriting import fused_nodes
from zoo_cli.export.to_openvino import to_openvino
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.runtime.backends import BACKENDS, Backend
from zoo_cli.runtime.decoder import DECODER
from zoo_cli.runtime.golden import GOLDEN_REQUESTS, RECEIPT, RECEIPT_PAGE, differing, read_golden, write_golden
from zoo_cli.tasks.generative import GenerativeTask

# What is not part of a model but of the run that made it.
_NOT_CARRIED = {MANIFEST, RECEIPT, RECEIPT_PAGE, GOLDEN_REQUESTS, DECODER, CARD}


def export(
    source: Path,
    folder: Path,
    options: ExportSection,
    requests: Sequence[Any],
    force: bool = False,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a bundle and prove it.

    Args:
        source: model folder.
        folder: run folder; gets `bundle/`, or `rejected/` where a comparison fails.
        options: the recipe's `export` section.
        requests: what to ask all back ends; their answers must be the same.
        force: replace a bundle that is there.
        about: where the model comes from, see `zoo_cli.export.receipt.provenance`.

    Returns:
        The receipt, with the path of the bundle.

    Raises:
        GateError: a back end computes something else, or answers differently (`export-parity`); the bundle is in
            `rejected/`.
        ArtifactError: the model folder cannot be read.
        PlatformError: the conversion to ONNX failed.
        UsageError: there is a bundle already.
    """
    refuse_existing(folder, force)
    assembly = load_folder(source)
    failures: list[str] = []
    with atomic_folder(folder / NEW) as partial:
        carry(source, partial)
        graph = DecoderGraph(assembly) if isinstance(assembly.task, GenerativeTask) else EncoderGraph(assembly)
        graph_report = _write_graphs(graph, partial, options)
        receipt = _receipt(assembly, source, partial, options, about or {})
        backends, tolerances = _open(partial, options)
        comparisons = graph.compare(backends)
        for name in backends:
            # A NaN must not get lost, as it would in Python's `max`.
            worst = np.max([each.difference for each in comparisons if each.backend == name])
            if not worst <= tolerances[name]:
                failures.append(f"{name} differs by {worst:.2g}")
        if graph_report.get("fused_nodes") == 0:
            failures.append("ONNX Runtime fuses nothing in the graph")
        answers = write_golden(partial, graph.pipeline(), requests)
        golden = read_golden(partial)
        wrong = {
            name: len(differing(graph.pipeline(backend), golden, tolerances[name]))
            for name, backend in backends.items()
        }
        failures += [
            f"{name} answers {count} of {answers} requests differently" for name, count in wrong.items() if count
        ]
        receipt |= {
            "onnx_passes": graph_report,
            "parity": [comparison.as_dict() for comparison in comparisons],
            "golden_requests": answers,
            "golden_differences": wrong,
            "latency": latency(graph.calls(backends)),
            "failures": failures,
        }
        write_json(partial / RECEIPT, receipt)
        write_text(partial / RECEIPT_PAGE, receipt_page(receipt))
        write_card(partial, receipt)
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


def _open(bundle: Path, options: ExportSection) -> tuple[dict[str, Backend], dict[str, float]]:
    """All graphs of the new bundle, and what may differ; those in half precision are called ``onnx fp16``."""
    backends: dict[str, Backend] = {name: BACKENDS[name](bundle) for name in options.backends}
    tolerances: dict[str, float] = dict.fromkeys(options.backends, options.tolerance)
    for name in options.backends if HALF in options.precisions else ():
        if name != "paddle":  # Paddle Inference has it on graphics cards only, where it converts what it loads
            backends[f"{name} {HALF}"] = BACKENDS[name](bundle, HALF)
            tolerances[f"{name} {HALF}"] = options.half_tolerance
    return backends, tolerances


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


def _write_graphs(graph: EncoderGraph | DecoderGraph, partial: Path, options: ExportSection) -> dict[str, int]:
    """Write the graphs of all back ends; return what the ONNX passes did."""
    (partial / "paddle").mkdir()
    graph.save(partial)
    report: dict[str, int] = {}
    if {"onnx", "openvino"} & set(options.backends):
        target = partial / "onnx" / "fp32" / "model.onnx"
        target.parent.mkdir(parents=True)
        report = to_onnx.convert(partial / "paddle", target, graph.output_names, graph.axes)
        fused = fused_nodes(target)
        report |= {"fused_nodes": sum(fused.values()), **{f"fused_{kind}": count for kind, count in fused.items()}}
        if HALF in options.precisions and "onnx" in options.backends:
            to_half(target, partial / "onnx" / HALF / "model.onnx")
        if "openvino" in options.backends:
            to_openvino(target, partial / "openvino" / "fp32")
            if HALF in options.precisions:
                to_openvino(target, partial / "openvino" / HALF, half=True)
    for name in {"onnx", "paddle"} - set(options.backends):
        shutil.rmtree(partial / name, ignore_errors=True)
    return report


def _receipt(
    assembly: Assembly, source: Path, partial: Path, options: ExportSection, about: Mapping[str, Any]
) -> dict[str, Any]:
    """What is known before anything is measured."""
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
        **({f"{HALF}_tolerance": options.half_tolerance} if HALF in options.precisions else {}),
        "threads": owned_cores(),
        **about,
        "bytes": sizes(partial),
    }
