"""`zoo quantize`: a model folder, or the bundle made of it, becomes a bundle with an integer graph.

bundle/
    config.json, tokenizer files, task.json, recipe.yaml, metrics.json     as training wrote them
    onnx/int8/model.onnx, or openvino/int8/model.{xml,bin}
    golden_requests.jsonl       requests with the integer graph's answers
    receipt.json, RECEIPT.md    every candidate, scores before and after, size, speed
    MANIFEST.json
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli import __version__
from zoo_cli.base.errors import DataError, GateError, Location, UsageError
from zoo_cli.base.files import atomic_folder, write_json, write_manifest, write_text
from zoo_cli.compress import calibration, gates
from zoo_cli.compress.routes import PRECISION, ROUTES
from zoo_cli.compress.scoring import DevelopmentSet, speed_up
from zoo_cli.compress.search import Candidate, Search
from zoo_cli.engine.setup import load_folder, read_parts
from zoo_cli.export.bundle import NEW, carry, export, refuse_existing, settle
from zoo_cli.export.receipt import provenance, provenance_lines, table, verdict
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import QuantizeSection
from zoo_cli.registry import resolve
from zoo_cli.registry import task as task_spec
from zoo_cli.runtime.backends import BACKENDS, graphs
from zoo_cli.runtime.golden import RECEIPT, RECEIPT_PAGE, write_golden
from zoo_cli.runtime.loading import Bundle, open_bundle
from zoo_cli.runtime.pipeline import Pipeline, Runner
from zoo_cli.tasks.base import Feature, Task
from zoo_cli.tasks.generative import GenerativeTask

_FLOAT_WEIGHTS = "model.safetensors"
_ALONE = 16
"""Texts whose time is measured one by one."""


def quantize_recipe(loaded: LoadedRecipe, source: Path, folder: Path, force: bool = False) -> dict[str, Any]:
    """Quantise a model as its recipe describes it, and measure what became of it.

    Args:
        loaded: the recipe.
        source: model folder, or a bundle with the float graph.
        folder: run folder; gets `bundle/`, or `rejected/` where a gate fails.
        force: replace a bundle that is there.

    Returns:
        The receipt, with the path of the bundle.

    Raises:
        GateError: a limit of the recipe's `gates` section is broken (`quantize-gate`); the bundle is in `rejected/`.
        PlatformError: a library is missing, or the quantiser did not do its work (`no-integers`).
        DataError: there are no development examples, or none to calibrate with.
        UsageError: there is a bundle already, or the model generates texts.
    """
    refuse_existing(folder, force)
    if issubclass(resolve(task_spec(loaded.task_name).implementation), GenerativeTask):
        raise UsageError("generates-texts", "models that generate texts cannot be quantised yet")
    recipe = loaded.recipe
    options = recipe.quantize or QuantizeSection()
    parts = read_parts(recipe.data, recipe.train.seed, ("train", "dev"))
    if not parts.get("dev"):
        raise DataError("no-data", "the recipe names no dev files, which say what is lost", fix="set data.dev")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".quantize-") as name:
        scratch = Path(name)
        before = open_bundle(_float_bundle(loaded, source, options, parts["dev"], scratch), options.backend, "fp32")
        task = before.task
        features = calibration.choose_features(
            task,
            before.runner(),
            parts.get("train") or parts["dev"],
            options.calibration_examples,
            recipe.train.seed,
        )
        inputs = calibration.batches(task, features)
        search = Search(
            ROUTES[options.backend](before.folder, options, inputs),
            DevelopmentSet(task, parts["dev"]),
            inputs,
            before.backend,
            _weights_size(before),
            _metric(loaded),
            scratch,
        )
        best, place = search.run(recipe.gates.metric_drop)
        after = BACKENDS[options.backend](place, PRECISION)
        alone = [task.stack([feature]) for feature in features[:: max(1, len(features) // _ALONE)]]
        speed = speed_up(before.backend, after, alone, inputs)
        ratio = best.size / search.float_size
        failures = gates.breaches(
            recipe.gates, search.metric, search.metric_before, best.metric, ratio, speed["speed_up"]
        )
        about = provenance(loaded, source)
        receipt = _receipt(options, source, before, search, best, features, speed, failures) | about
        requests = _requests(loaded, task, parts["dev"])
        with atomic_folder(folder / NEW) as partial:
            carry(before.folder, partial, without={_FLOAT_WEIGHTS})
            shutil.copytree(place / options.backend, partial / options.backend)
            receipt["golden_requests"] = write_golden(partial, Pipeline(task, Runner.of_backend(task, after)), requests)
            write_json(partial / RECEIPT, receipt)
            write_text(partial / RECEIPT_PAGE, receipt_page(receipt))
            write_manifest(partial)
    bundle = settle(folder, bool(failures))
    if failures:
        raise GateError(
            "quantize-gate",
            "the quantised model is not good enough: {failures}",
            at=Location.of(bundle),
            fix="see RECEIPT.md there; the limits are in the recipe's gates section",
            failures="; ".join(failures),
        )
    return {"bundle": str(bundle), **receipt}


def _metric(loaded: LoadedRecipe) -> str:
    """The score that chose the model, unless that was the loss."""
    own = loaded.recipe.train.metric
    return own if own not in (None, "loss") else task_spec(loaded.task_name).metric


def _float_bundle(
    loaded: LoadedRecipe, source: Path, options: QuantizeSection, examples: Sequence[Any], scratch: Path
) -> Path:
    """A bundle with the proven float graphs that are needed: the source itself, or one exported from it."""
    known = graphs(source)
    needed = ["onnx"] if options.backend == "onnx" else ["onnx", options.backend]
    if all((backend, "fp32") in known for backend in needed):
        return source
    if known and not (source / _FLOAT_WEIGHTS).is_file():
        raise UsageError(
            "already-quantized",
            "this bundle has no float graph to start from",
            at=Location.of(source),
            fix="name a model folder with --from",
        )
    requests = _requests(loaded, load_folder(source).task, examples)
    section = loaded.recipe.export.model_copy(update={"backends": needed})
    return Path(export(source, scratch, section, requests)["bundle"])


def _requests(loaded: LoadedRecipe, task: Task[Any], examples: Sequence[Any]) -> list[dict[str, Any]]:
    chosen = islice(task.adapt(examples, training=False), loaded.recipe.export.golden_requests)
    return [task.request_of(example) for example in chosen]


def _weights_size(bundle: Bundle) -> int:
    name = {"onnx": "model.onnx", "openvino": "model.bin"}[bundle.engine]
    return (bundle.folder / bundle.engine / bundle.precision / name).stat().st_size


def _receipt(
    options: QuantizeSection,
    source: Path,
    before: Bundle,
    search: Search,
    best: Candidate,
    features: Sequence[Feature],
    speed: dict[str, Any],
    failures: list[str],
) -> dict[str, Any]:
    lengths = [feature["input_ids"].shape[-1] for feature in features]
    return {
        "format": 1,
        "zoo": __version__,
        "source": str(source),
        "task": before.task.name,
        "backend": options.backend,
        "precision": PRECISION,
        "method": options.method,
        "tolerance": options.tolerance,
        "metric": search.metric,
        "before": search.before,
        "after": best.scores,
        "chosen": best.as_dict(),
        "candidates": [candidate.as_dict() for candidate in search.tried],
        "sensitivity": search.sensitivity,
        "calibration": {
            "examples": len(features),
            "lengths": [min(lengths), max(lengths)],
            "sha256": calibration.digest(features),
        },
        "bytes_before": search.float_size,
        "bytes_after": best.size,
        "speed": speed,
        "failures": failures,
    }


def receipt_page(receipt: dict[str, Any]) -> str:
    """The receipt as Markdown, with the command for each figure."""
    chosen, speed = receipt["chosen"], receipt["speed"]
    scores = [
        (f"{name} on the development set", f"{old:.4f}", f"{receipt['after'][name]:.4f}")
        for name, old in receipt["before"].items()
        if isinstance(old, float)
    ]
    times = [
        (f"processor ms a text, {way}", f"{speed[way]['before_ms']:.2f}", f"{speed[way]['after_ms']:.2f}")
        for way in ("alone", "batches")
    ]
    figures = [
        *scores,
        ("megabytes", f"{receipt['bytes_before'] / 1e6:.2f}", f"{receipt['bytes_after'] / 1e6:.2f}"),
        *times,
        ("matrix products with integers", 0, chosen["integer_products"]),
    ]
    candidates = [
        (each["calibration"], len(each["kept_in_float"]), f"{each['metric']:.4f}", f"{each['relative_error']:.4f}")
        for each in receipt["candidates"]
    ]
    lines = [
        f"# {receipt['task']} in {receipt['precision']} for {receipt['backend']}",
        "",
        f"Quantised by zoo {receipt['zoo']}, ranges {receipt['method']} ({chosen['calibration']}).",
        "",
        *verdict(receipt),
        *table(["", "before", "after"], figures),
        f"By `zoo quantize --from MODEL quantize.backend={receipt['backend']} quantize.method={receipt['method']}`;"
        " speed again by `zoo bench`, answers by `zoo verify`.",
        "",
        "## Candidates",
        "",
        *table(["calibration", "layers in float", receipt["metric"], "relative error"], candidates),
    ]
    if chosen["kept_in_float"]:
        lines += ["Back in float, the most sensitive first:", ""]
        lines += [f"- `{name}` (error {receipt['sensitivity'][name]:.4f})" for name in chosen["kept_in_float"]]
        lines.append("")
    return "\n".join([*lines, *provenance_lines(receipt)])
