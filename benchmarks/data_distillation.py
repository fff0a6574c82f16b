"""Documents a second of UIE against those of its students under the same schema, all as ONNX bundles, in turn.

    python benchmarks/data_distillation.py
    python benchmarks/data_distillation.py --teacher uie-base --students ernie-3.0-mini-zh --texts dev.txt

The models have the shapes of published checkpoints and random weights; biases keep the heads quiet, so that about as
little is found as in real texts. UIE reads a text once for each label, a student once for all of them. PaddleNLP's
pairs are uie-base with ernie-3.0-mini-zh; the default is the harder case of a teacher that is small and fast itself,
with students of its own size and of half and quarter of its layers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import islice
from pathlib import Path

from peers import Worker, compare

SCHEMA = ["人物", "地点", "组织机构"]

WORK = """
def prepare(arguments):
    from zoo_cli import runtime
    pipeline = runtime.load(arguments["bundle"], backend="onnx")
    texts, parameters = arguments["texts"], arguments["parameters"]
    def work():
        pipeline(texts, **parameters)
        return len(texts)
    return work
"""


def make_bundle(folder: Path, shape: str, vocab: Path, teaches: bool) -> str:
    """A bundle of a random model in the shape of a checkpoint, optionally ``NAME:LAYERS``."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    import paddle

    from zoo_cli import models, registry, tokenizers
    from zoo_cli.base.resources import resource_folder
    from zoo_cli.engine.setup import Assembly
    from zoo_cli.export.bundle import export
    from zoo_cli.recipe.loading import read_document
    from zoo_cli.recipe.schema import ExportSection

    name, _, layers = shape.partition(":")
    preset = read_document(resource_folder("configs") / "models" / f"{name}.yaml").value
    spec = registry.family(preset["family"])
    tokenizer = tokenizers.load(vocab, class_name=spec.tokenizer)
    kind = registry.task("extraction" if teaches else "closed_extraction")
    task = registry.resolve(kind.implementation)(kind.options(schema=SCHEMA), tokenizer, spec.inputs)
    config = {**preset["config"], "vocab_size": len(tokenizer), **task.model_config()}
    if layers:
        config["num_hidden_layers"] = int(layers)
    paddle.seed(1)
    model = models.build(spec.tasks[kind.name], config)
    quiet = {"linear_start.bias": -4.0, "linear_end.bias": -4.0, "entity_output.dense2.bias": -8.0}
    for weight, value in model.named_parameters():
        if weight in quiet:
            value.set_value(paddle.full(value.shape, quiet[weight]))
    model.eval()
    source = folder / "model"
    source.mkdir(parents=True)
    Assembly(model, tokenizer, task).save(source)
    requests = [{"text": "王芳在北京大学工作。", "schema": SCHEMA}]
    return str(export(source, folder, ExportSection(backends=["onnx"]), requests)["bundle"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", default="uie-nano", help="name of a checkpoint")
    parser.add_argument(
        "--students",
        nargs="+",
        default=["ernie-3.0-nano-zh", "ernie-3.0-nano-zh:2", "ernie-3.0-nano-zh:1"],
        help="names of checkpoints, with another number of layers behind a colon",
    )
    parser.add_argument("--vocab", type=Path, help="vocab.txt; by default that of the samples")
    parser.add_argument("--texts", type=Path, help="file in BIO format; by default the sample of MSRA")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", default="1")
    arguments = parser.parse_args()
    from zoo_cli.base.resources import locate
    from zoo_cli.data.readers import read

    vocab = arguments.vocab or locate("sample:vocab/wordpiece")
    examples = read(arguments.texts or locate("sample:msra/train.txt"), "bio")
    texts = ["".join(example.tokens) for example in islice(examples, arguments.count)]
    print(f"{len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters, {len(SCHEMA)} labels")
    with tempfile.TemporaryDirectory() as scratch:
        shapes = {f"student {name}": (name, False) for name in arguments.students}
        shapes[f"teacher {arguments.teacher}"] = (arguments.teacher, True)
        workers = [
            Worker(
                title,
                sys.executable,
                WORK,
                {
                    "texts": texts,
                    "parameters": {"schema": SCHEMA} if teaches else {},  # a student has its own
                    "bundle": make_bundle(Path(scratch) / str(number), shape, vocab, teaches),
                },
                {"OMP_NUM_THREADS": arguments.threads},
            )
            for number, (title, (shape, teaches)) in enumerate(shapes.items())
        ]
        compare(workers, arguments.rounds, "documents")


if __name__ == "__main__":
    main()
