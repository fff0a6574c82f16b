"""`zoo quantize`: a model folder, or the bundle made of it, becomes a bundle with an integer graph.

bundle/
    config.json, tokenizer files, task.json, recipe.yaml, metrics.json     as training wrote them
    onnx/int8/model.onnx, or openvino/int8/model.{xml,bin}
    decoder.json                of models that write texts
    golden_requests.jsonl       requests with the integer graph's answers
    receipt.json, RECEIPT.md    every candidate, scores before and after, size, speed
    MANIFEST.json
qat/                            where weights get used to being rounded: the run of that training, `best/` is its model
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, GateError, Location, UsageError
from zoo_cli.base.files import atomic_folder, write_json, write_manifest, write_text
from zoo_cli.compress import gates, qat
from zoo_cli.compress.receipt import make_receipt, receipt_page
from zoo_cli.compress.routes import route_class
from zoo_cli.compress.scoring import DevelopmentSet, interval, speed_up
from zoo_cli.compress.search import Search
from zoo_cli.compress.workloads import workload
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.folders import NEW
from zoo_cli.engine.setup import load_folder
from zoo_cli.export.bundle import carry, export, refuse_existing, settle
from zoo_cli.export.card import write_card
from zoo_cli.export.receipt import provenance
from zoo_cli.recipe.loading import LoadedRecipe
from zoo_cli.recipe.schema import QuantizeSection
from zoo_cli.registry import task as task_spec
from zoo_cli.runtime.backends import BACKENDS, Backend, graphs
from zoo_cli.runtime.decoder import DECODER
from zoo_cli.runtime.golden import RECEIPT, RECEIPT_PAGE, differing, read_golden, write_golden
from zoo_cli.runtime.loading import Bundle, open_bundle
from zoo_cli.tasks.base import Task

_FLOAT_WEIGHTS = "model.safetensors"


def quantize_recipe(
    loaded: LoadedRecipe, source: Path, folder: Path, force: bool = False, resume: bool = False
) -> dict[str, Any]:
    """Quantise a model as its recipe describes it, and measure what became of it.

    Args:
        loaded: the recipe.
        source: model folder, or a bundle with the float graph.
        folder: run folder; gets `bundle/`, or `rejected/` where a gate fails.
        force: replace what is there.
        resume: go on with an unfinished training.

    Returns:
        The receipt, with the path of the bundle.

    Raises:
        GateError: a limit of the recipe's `gates` section is broken (`quantize-gate`); the bundle is in `rejected/`.
        PlatformError: a library is missing, or the quantiser did not do its work (`no-integers`).
        DataError: there are no development examples, or none to calibrate with.
        UsageError: there is a bundle already.
        ZooError: see `zoo_cli.compress.qat.train`.
    """
    refuse_existing(folder, force)
    recipe = loaded.recipe
    options = recipe.quantize or QuantizeSection()
    parts = read_parts(recipe.data, recipe.train.seed, ("train", "dev"))
    if not parts.get("dev"):
        raise DataError("no-data", "the recipe names no dev files, which say what is lost", fix="set data.dev")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".quantize-") as name:
        scratch = Path(name)
        before = _float_bundle(loaded, source, options, parts["dev"], scratch / "before")
        trained, learned = before, None
        if options.method == "qat":
            best_folder = qat.train(loaded, options.qat, source, folder / qat.RUN, parts, resume, force)
            trained = _float_bundle(loaded, best_folder, options, parts["dev"], scratch / "trained")
            learned = qat.ranges_of_graph(best_folder, trained.folder / "onnx" / "fp32" / "model.onnx")
        work = workload(trained)
        examples = parts.get("train") or parts["dev"]
        counts = sorted(set(options.calibration_examples), reverse=True)
        sample, *smaller = (
            work.sample(trained.backend, examples, count, recipe.train.seed)
            for count in (counts if options.method == "static" else counts[:1])
        )
        fewer = dict(zip(counts[1:], smaller, strict=False))
        develop, metric = DevelopmentSet(work, parts["dev"]), _metric(loaded)
        search = Search(
            route_class(options)(
                trained.folder, options, sample.inputs, learned, {count: each.inputs for count, each in fewer.items()}
            ),
            develop,
            sample.inputs,
            trained.backend,
            _weights_size(before),
            metric,
            develop.scores(before.backend),
            scratch,
        )
        best, place = search.run(recipe.gates.metric_drop)
        after = BACKENDS[options.backend](place, search.route.precision)
        speed = speed_up(before.backend, after, sample.alone, sample.inputs)
        ratio = best.size / search.float_size
        failures = gates.breaches(
            recipe.gates, search.metric, search.metric_before, best.metric, ratio, speed["speed_up"]
        )
        measured = {
            "speed": speed,
            "intervals": _intervals(develop, metric, before.backend, after),
            "failures": failures,
            **provenance(loaded, source),
        }
        receipt = make_receipt(options, source, before, search, best, sample, fewer, measured)
        requests = _requests(loaded, work.task, parts["dev"])
        with atomic_folder(folder / NEW) as partial:
            carry(trained.folder, partial, without={_FLOAT_WEIGHTS, qat.RANGES})
            if (trained.folder / DECODER).is_file():
                shutil.copyfile(trained.folder / DECODER, partial / DECODER)
            shutil.copytree(place / options.backend, partial / options.backend)
            receipt["golden_requests"] = write_golden(partial, work.pipeline(after), requests)
            wrong = differing(work.pipeline(before.backend), read_golden(partial), options.tolerance)
            receipt["golden_differences"] = len(wrong)
            write_json(partial / RECEIPT, receipt)
            write_text(partial / RECEIPT_PAGE, receipt_page(receipt))
            write_card(partial, receipt)
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


def _intervals(develop: DevelopmentSet, metric: str, before: Backend, after: Backend) -> dict[str, list[float]]:
    """95 % confidence intervals of the score and of its change."""
    old, new = (develop.resampled(backend, metric) for backend in (before, after))
    return {"before": interval(old), "after": interval(new), "difference": interval(new - old)}


def _metric(loaded: LoadedRecipe) -> str:
    """The score that chose the model, unless that was the loss."""
    own = loaded.recipe.train.metric
    return own if own not in (None, "loss") else task_spec(loaded.task_name).metric


def _float_bundle(
    loaded: LoadedRecipe, source: Path, options: QuantizeSection, examples: Sequence[Any], scratch: Path
) -> Bundle:
    """The opened bundle with the proven float graphs that are needed: the source itself, or one exported from it."""
    known = graphs(source)
    needed = ["onnx"] if options.backend == "onnx" else ["onnx", options.backend]
    if all((backend, "fp32") in known for backend in needed):
        return open_bundle(source, options.backend, "fp32")
    if known and not (source / _FLOAT_WEIGHTS).is_file():
        raise UsageError(
            "already-quantized",
            "this bundle has no float graph to start from",
            at=Location.of(source),
            fix="name a model folder with --from",
        )
    requests = _requests(loaded, load_folder(source).task, examples)
    section = loaded.recipe.export.model_copy(update={"backends": needed})
    exported = Path(export(source, scratch, section, requests)["bundle"])
    return open_bundle(exported, options.backend, "fp32")


def _requests(loaded: LoadedRecipe, task: Task[Any], examples: Sequence[Any]) -> list[dict[str, Any]]:
    chosen = islice(task.adapt(examples, training=False), loaded.recipe.export.golden_requests)
    return [task.request_of(example) for example in chosen]


def _weights_size(bundle: Bundle) -> int:
    name = {"onnx": "model.onnx", "openvino": "model.bin"}[bundle.engine]
    return (bundle.folder / bundle.engine / bundle.precision / name).stat().st_size
