"""What compression costs and wins: score and size of models trained here, latency of a larger shape.

    ZOO_DATA=FOLDER python benchmarks/compression.py --output FOLDER [--vocab vocab.txt] [--tasks titles,tags,uie]
    ZOO_DATA=FOLDER python benchmarks/compression.py --output FOLDER --encoder FOLDER --steps 800 --dev 1000
    python benchmarks/compression.py --output FOLDER --tiny

`ZOO_DATA` has `thucnews_titles/{train,dev}.txt` and `msra/{train.txt.gz,dev.txt}`. For each task a model of nano size
(4 layers of width 312) is trained from scratch, or from the encoder that `--encoder` names, pruned, trained on with
rounding and quantised by every route; scores are on the development set, by the back end that is named. Latency is
that of a model of medium size (6 layers of width 768) with random weights, all variants in turn. What is finished is
not computed again, so a broken run can be repeated, and tasks can be computed one at a time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402
from integers import integer_bundle  # noqa: E402

from zoo_cli import models, tokenizers  # noqa: E402
from zoo_cli.base.files import read_json, write_json, write_manifest, write_text  # noqa: E402
from zoo_cli.base.resources import locate  # noqa: E402
from zoo_cli.compress import qat  # noqa: E402
from zoo_cli.compress.prune import prune  # noqa: E402
from zoo_cli.compress.quantize import quantize_recipe  # noqa: E402
from zoo_cli.compress.scoring import DevelopmentSet  # noqa: E402
from zoo_cli.compress.workloads import workload  # noqa: E402
from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.engine.answering import evaluate_folder  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.setup import Assembly, find_model_folder  # noqa: E402
from zoo_cli.export.bundle import export  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402
from zoo_cli.export.receipt import table  # noqa: E402
from zoo_cli.pipeline.bench import Contestant, bench  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402
from zoo_cli.recipe.schema import ExportSection, QuantizeSection  # noqa: E402
from zoo_cli.registry import task as task_spec  # noqa: E402
from zoo_cli.runtime.loading import open_bundle  # noqa: E402
from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions  # noqa: E402
from zoo_cli.tasks.sequence_classification.task import SequenceClassificationTask  # noqa: E402

WHOLE, NARROW, SMALL = "finetune", "narrow", "small"
NANO = {"hidden_size": 312, "num_hidden_layers": 4, "num_attention_heads": 12, "intermediate_size": 1248}
NANO |= {"max_position_embeddings": 2048, "type_vocab_size": 4, "use_task_id": False}
MEDIUM = {"hidden_size": 768, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 3072}
MORE = {"max_position_embeddings": 512, "type_vocab_size": 4, "use_task_id": False}
PRUNED = {
    NARROW: ["prune.widths=[0.75]"],
    SMALL: ["prune.widths=[0.75]", "prune.positions=128"],
}


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Args:
        name: what it is.
        model: which of the models it is made of.
        backend: what runs it.
        method: `quantize.method`; None is the float graph.
        tables: whether tables are integers, too.
    """

    name: str
    model: str
    backend: str
    method: str | None = None
    tables: bool = False

    @property
    def options(self) -> list[str]:
        """Overrides of `zoo quantize`."""
        return [
            f"quantize.backend={self.backend}",
            f"quantize.method={self.method}",
            f"quantize.embeddings={'true' if self.tables else 'false'}",
            "gates.metric_drop=1.0",  # the table shows what is lost
        ]


VARIANTS = [
    Variant("fp32", WHOLE, "dygraph"),
    Variant("fp32", WHOLE, "paddle"),
    Variant("fp32", WHOLE, "onnx"),
    Variant("fp32", WHOLE, "openvino"),
    Variant("int8 dynamic", WHOLE, "onnx", "dynamic"),
    Variant("int8 static", WHOLE, "onnx", "static"),
    Variant("int8 static", WHOLE, "openvino", "static"),
    Variant("int8 QAT", WHOLE, "onnx", "qat"),
    Variant("int8 QAT", WHOLE, "openvino", "qat"),
    Variant("3/4 width, int8", NARROW, "onnx", "dynamic"),
    Variant("3/4 width, int8", NARROW, "openvino", "static"),
    Variant("3/4 width, vocabulary, int8, tables", SMALL, "onnx", "dynamic", tables=True),
    Variant("3/4 width, vocabulary, int8, tables", SMALL, "openvino", "static", tables=True),
]


def recipe(task: str, arguments: argparse.Namespace, *overrides: str) -> LoadedRecipe:
    """The recipe of a task, on public data or on the samples."""
    name = {"titles": "ernie-3.0/tnews", "tags": "ernie-3.0/msra_ner", "uie": "uie/msra"}[task]
    if arguments.tiny:
        return load_recipe(
            name, ["data.limit=40", "train.max_steps=20", "prune.vocabulary=null", *overrides], tiny=True
        )
    root = Path(os.environ["ZOO_DATA"])
    folder, files = {"titles": ("thucnews_titles", ("train.txt", "dev.txt"))}.get(
        task, ("msra", ("train.txt.gz", "dev.txt"))
    )
    train, dev = (root / folder / file for file in files)
    between = "\n" if task == "titles" else "\n\n"
    if arguments.limit:
        train = _first(train, arguments.limit, between, arguments.output / task / f"train-{arguments.limit}.txt")
    if arguments.dev:
        dev = _first(dev, arguments.dev, between, arguments.output / task / f"dev-{arguments.dev}.txt")
    own = {
        "titles": ["data.format=tsv", "data.options.columns={text: 0, label: 1}", "train.epochs=2"],
        "tags": ["train.epochs=5"],
        "uie": ["task.max_length=128", "train.epochs=2", "train.batch_size=32", "data.dev_fraction=0.0"],
    }[task]
    model = ["model.family=ernie", "model.init=scratch"]
    model += [f"model.vocab={arguments.vocab}", f"model.config={json.dumps(NANO)}"]
    if arguments.encoder:
        model = [f"model.init={find_model_folder(arguments.encoder)}"]
    values = [
        *model,
        f"data.train={train}",
        f"data.dev={dev}",
        "train.learning_rate=3e-4",
        "train.warmup_ratio=0.1",
        "prune.stage.train.learning_rate=1e-4",
        "quantize.qat.train.learning_rate=3e-5",
        *_lengths(arguments.steps),
    ]
    return load_recipe(name, [*values, *own, *overrides])


def _lengths(steps: int | None) -> list[str]:
    """How long to train: `steps`, half of them after pruning, a fifth with rounding; or the recipe's epochs."""
    if steps is None:
        return ["quantize.qat.train.epochs=1"]
    found = []
    for section, share in (("train", 1), ("prune.stage.train", 2), ("quantize.qat.train", 5)):
        own = max(1, steps // share)
        found += [f"{section}.max_steps={own}", f"{section}.eval_steps={max(1, own // 2)}"]
        found += [f"{section}.save_steps={max(1, own // 2)}"]
    return found


def _first(source: Path, count: int, between: str, target: Path) -> Path:
    """A file with the first `count` sentences of another one; `between` is what parts them."""
    if not target.is_file():
        with (gzip.open if source.suffix == ".gz" else open)(source, "rt", encoding="utf-8") as file:
            sentences = file.read().split(between)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_text(target, between.join(sentences[:count]) + between)
    return target


def done(folder: Path) -> bool:
    return (folder / "result.json").is_file() or (folder / "bundle").is_dir()


def scores_of(task: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Score and size of every variant of a task's model: place of the variant -> ``score``, ``bytes``, ``interval``."""

    def load(*overrides: str) -> LoadedRecipe:
        return recipe(task, arguments, *overrides)

    plain = load()
    if not done(folder / WHOLE):
        finetune(plain, folder / WHOLE, resume=True)
    for name, options in PRUNED.items():
        if not done(folder / name):
            size = f"prune.vocabulary={arguments.kept}"
            loaded = load(*options, *([size] if name == SMALL else []), "gates.metric_drop=1.0")
            prune(loaded, folder / name, folder / WHOLE / "best", resume=True)
    if not done(folder / "export"):
        backends = "export.backends=[onnx, paddle, openvino]"
        export_recipe(load(backends), folder / WHOLE / "best", folder / "export", force=True)
    metric = task_spec(plain.task_name).metric
    examples = read_parts(plain.recipe.data, plain.recipe.train.seed, ("dev",))["dev"]
    found: dict[str, Any] = {}
    for number, variant in enumerate(VARIANTS):
        place = folder / f"variant-{number}"
        if not (place / "row.json").is_file():
            write_json(place / "row.json", _row(variant, load, folder, place, metric, examples))
        found[str(number)] = read_json(place / "row.json")
    return found


def _row(
    variant: Variant, load: Any, folder: Path, place: Path, metric: str, examples: Sequence[Any]
) -> dict[str, Any]:
    best = folder / variant.model / "best"
    place.mkdir(parents=True, exist_ok=True)
    if variant.method is not None:
        training = folder / qat.RUN  # the same for all back ends
        if variant.method == "qat" and training.is_dir():
            shutil.copytree(training, place / qat.RUN, dirs_exist_ok=True)
        shutil.rmtree(place / "bundle", ignore_errors=True)
        receipt = quantize_recipe(load(*variant.options), best, place, resume=True)
        if variant.method == "qat" and not training.is_dir():
            shutil.copytree(place / qat.RUN, training)
        return {
            "score": receipt["after"][metric],
            "bytes": receipt["bytes_after"],
            "difference": receipt["intervals"]["difference"],
        }
    if variant.backend == "dygraph":
        scores, size = evaluate_folder(best, load(), "dev"), (best / "model.safetensors").stat().st_size
        return {"score": scores[metric], "bytes": size}
    bundle = open_bundle(folder / "export" / "bundle", variant.backend, "fp32")
    weights = {"onnx": "onnx/fp32/model.onnx", "paddle": "paddle/inference.pdiparams"}
    size = (bundle.folder / weights.get(variant.backend, "openvino/fp32/model.bin")).stat().st_size
    return {"score": DevelopmentSet(workload(bundle), examples).scores(bundle.backend)[metric], "bytes": size}


def latencies(folder: Path, arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Latency of every variant of a model with random weights: place of the variant -> its shapes."""
    vocabulary = len(tokenizers.load(locate("sample:vocab/wordpiece"), class_name="ErnieTokenizer"))
    shape = {**MEDIUM, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    shape = {**MORE, **(shape if arguments.tiny else MEDIUM)}
    head = shape["hidden_size"] // shape["num_attention_heads"]
    heads, neurons = shape["num_attention_heads"] * 3 // 4, shape["intermediate_size"] * 3 // 4
    narrow = {"head_dim": head, "num_attention_heads": heads, "intermediate_size": neurons}
    whole = vocabulary if arguments.tiny else 21_128
    shapes = {WHOLE: (shape, whole), NARROW: ({**shape, **narrow}, whole), SMALL: ({**shape, **narrow}, vocabulary)}
    if (folder / "bench.json").is_file():
        return _shapes_of(read_json(folder / "bench.json"))
    for name, (config, size) in shapes.items():
        if not done(folder / name):
            _random_bundle(folder / name, {**config, "vocab_size": size})
    runners = []
    for number, variant in enumerate(VARIANTS):
        place = folder / variant.model / "bundle"
        if variant.method is not None:
            place = _quantized(variant, place, folder / f"variant-{number}")
        precision = "fp32" if variant.method is None else "int8"
        runners.append(Contestant(place, variant.backend, precision, arguments.threads))
    batches, lengths = ((1, 2), (8,)) if arguments.tiny else ((1, 32), (32, 128))
    report = bench(runners, batches, lengths, arguments.rounds)
    write_json(folder / "bench.json", report)
    return _shapes_of(report)


def _shapes_of(report: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    return {str(number): result["shapes"] for number, result in enumerate(report["results"])}


def _random_bundle(folder: Path, config: dict[str, Any]) -> None:
    paddle.seed(0)
    tokenizer = tokenizers.load(locate("sample:vocab/wordpiece"), class_name="ErnieTokenizer")
    options = SequenceClassificationOptions(labels=["a", "b"], max_length=128)
    task = SequenceClassificationTask(options, tokenizer, ("input_ids", "token_type_ids", "attention_mask"))
    model = models.build("ErnieForSequenceClassification", {**config, "num_labels": 2})
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "model").mkdir(parents=True)
    Assembly(model, tokenizer, task).save(folder / "model")
    write_manifest(folder / "model")
    section = ExportSection(backends=["onnx", "paddle", "openvino"])
    export(folder / "model", folder, section, [{"text": "今天的比赛很精彩。"}])


def _quantized(variant: Variant, source: Path, place: Path) -> Path:
    """A bundle with the variant's integer graph; training with rounding makes the graph that calibration makes."""
    static = variant.method != "dynamic"
    options = QuantizeSection(
        backend=variant.backend,  # type: ignore[arg-type]
        method="static" if static else "dynamic",
        calibration=["nncf" if variant.backend == "openvino" else "min_max"] if static else None,
        embeddings=variant.tables,
    )
    return integer_bundle(source, place, options)


def page(scores: dict[str, dict[str, Any]], times: dict[str, list[dict[str, Any]]]) -> str:
    """The table as Markdown; factors are against ONNX Runtime in float, of time and of processor time, which says
    more on a machine that does other work, too."""
    base = next(number for number, each in enumerate(VARIANTS) if (each.backend, each.method) == ("onnx", None))
    shapes = [f"{shape['batch']} x {shape['length']}" for shape in times[str(base)]]
    columns = ["variant", "back end", *(f"{task}, score" for task in scores), *(f"{task}, MB" for task in scores)]
    columns += [part for shape in shapes for part in (f"ms, {shape}", "factor", "of processor")]
    rows = []
    for number, variant in enumerate(VARIANTS):
        own = [each[str(number)] for each in scores.values()]
        row = [variant.name, variant.backend, *(f"{each['score']:.4f}" for each in own)]
        row += [f"{each['bytes'] / 1e6:.2f}" for each in own]
        for shape, reference in zip(times[str(number)], times[str(base)], strict=True):
            row += [f"{shape['p50']:.2f}", *(f"{reference[key] / shape[key]:.2f}" for key in ("p50", "cpu"))]
        rows.append(row)
    lines = ["# Compression", "", *table(columns, rows)]
    for task, found in scores.items():
        share = min(each["bytes"] for each in found.values()) / found["0"]["bytes"]
        lines.append(f"{task}: the smallest file has {share:.1%} of the size of the float weights.")
    return "\n".join([*lines, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for models, table and figures")
    parser.add_argument("--tasks", default="titles,tags,uie")
    parser.add_argument("--vocab", default="sample:vocab/wordpiece", help="vocab.txt or tokenizer folder")
    parser.add_argument("--encoder", type=Path, help="model or run folder of a pretrained encoder to start from")
    parser.add_argument("--steps", type=int, help="of fine-tuning, instead of whole epochs; others take a share of it")
    parser.add_argument("--limit", type=int, help="use so many sentences of the training set only")
    parser.add_argument("--dev", type=int, help="score on so many sentences of the development set only")
    parser.add_argument("--kept", type=int, default=2500, help="tokens that vocabulary pruning keeps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-latency", action="store_true", help="scores only, without the page")
    parser.add_argument("--tiny", action="store_true", help="samples and a small shape: shows that it works")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if arguments.tiny:
        arguments.kept, arguments.rounds = 400, 1
    tasks = ["titles"] if arguments.tiny else arguments.tasks.split(",")
    scores = {task: scores_of(task, arguments.output / task, arguments) for task in tasks}
    if arguments.no_latency:
        return
    times = latencies(arguments.output / "latency", arguments)
    write_json(arguments.output / "compression.json", {"scores": scores, "latency": times})
    text = page(scores, times)
    write_text(arguments.output / "compression.md", text)
    print(text)


if __name__ == "__main__":
    main()
