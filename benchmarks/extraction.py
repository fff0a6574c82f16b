"""Documents a second of UIE extraction: this project's pipeline against PaddleNLP's Taskflow, same weights and schema.

    python benchmarks/extraction.py --paddlenlp PEER/bin/python --vocab vocab.txt --texts dev.txt

PEER holds paddlenlp 2.8.1 on paddlepaddle 2.6.2. The model has the shape of uie-nano and random weights; biases keep
the head quiet, so that about as little is found as in real texts. Float graphs and those with integers are measured
in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from peers import Worker, compare

SCHEMA = ["人名", "地名", "组织机构名"]

OURS = """
def prepare(arguments):
    from zoo_cli.base.environment import prepare_paddle
    prepare_paddle("cpu")
    if arguments["backend"] == "dygraph":
        from zoo_cli.engine.device import use_device
        use_device("cpu")
        from zoo_cli.engine.answering import load_pipeline
        pipeline = load_pipeline(__import__("pathlib").Path(arguments["model"]))
    else:
        from zoo_cli import runtime
        pipeline = runtime.load(arguments["bundles"][arguments["precision"]], backend=arguments["backend"])
    texts, schema = arguments["texts"], arguments["schema"]
    def work():
        pipeline(texts, schema=schema)
        return len(texts)
    return work
"""

THEIRS = """
def prepare(arguments):
    from paddlenlp import Taskflow
    options = {"task_path": arguments["peer"], **arguments["options"]}
    flow = Taskflow("information_extraction", model="uie-nano", schema=arguments["schema"], **options)
    texts = arguments["texts"]
    def work():
        flow(texts)
        return len(texts)
    return work
"""


# Name of a graph -> its back end, and how its integers are made.
INTEGERS = {"onnx int8": ("onnx", "dynamic"), "openvino int8": ("openvino", "static")}


def make_model(folder: Path, vocab: Path) -> dict[str, Any]:
    """A uie-nano with random weights as model folder, bundles and PaddleNLP folder."""
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    import paddle
    from integers import integer_bundle

    from zoo_cli import models, tokenizers
    from zoo_cli.engine.setup import Assembly
    from zoo_cli.export.bundle import export
    from zoo_cli.recipe.schema import ExportSection, QuantizeSection
    from zoo_cli.tasks.extraction.spec import ExtractionOptions
    from zoo_cli.tasks.extraction.task import ExtractionTask

    paddle.seed(1)
    tokenizer = tokenizers.load(vocab, class_name="ErnieTokenizer")
    shape = {"hidden_size": 312, "num_hidden_layers": 4, "intermediate_size": 1248, "num_attention_heads": 12}
    shape |= {"max_position_embeddings": 2048, "type_vocab_size": 4, "use_task_id": True, "task_type_vocab_size": 16}
    model = models.build("UIE", {"vocab_size": len(tokenizer), **shape})
    for weight in (model.linear_start, model.linear_end):
        weight.bias.set_value(paddle.full([1], -4.0))
    model.eval()
    task = ExtractionTask(ExtractionOptions(), tokenizer, ("input_ids", "token_type_ids", "attention_mask"))
    source, peer = folder / "model", folder / "peer"
    source.mkdir()
    Assembly(model, tokenizer, task).save(source)
    requests = [{"text": "王芳在北京大学工作。", "schema": SCHEMA}]
    exported = Path(export(source, folder, ExportSection(backends=["onnx", "openvino", "paddle"]), requests)["bundle"])
    bundles = {"fp32": str(exported)}
    for name, (backend, method) in INTEGERS.items():
        options = {"backend": backend, "method": method, "calibration": None if method == "dynamic" else ["min_max"]}
        section = QuantizeSection.model_validate(options)
        bundles[name] = str(integer_bundle(exported, folder / name.replace(" ", "-"), section))
    models.save(model, peer, "paddlenlp")
    tokenizer.save(peer)
    # Taskflow asks for these names and takes the folder as it is when it finds them.
    config = json.loads((peer / "config.json").read_text())
    (peer / "model_config.json").write_text(json.dumps({**config, "init_class": "UIE"}))
    (peer / "special_tokens_map.json").write_text("{}")
    return {"model": str(source), "bundles": bundles, "peer": str(peer)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", help="interpreter that has paddlenlp")
    parser.add_argument("--vocab", type=Path, required=True, help="bert-base-chinese vocab.txt")
    parser.add_argument("--texts", type=Path, required=True, help="file in BIO format")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1")
    parser.add_argument("--taskflow-threads", type=int, help="by itself Taskflow takes half as many as there are cores")
    arguments = parser.parse_args()
    from zoo_cli.data.readers import read

    texts = ["".join(example.tokens) for example in islice(read(arguments.texts, "bio"), arguments.count)]
    print(f"{len(texts)} texts of {sum(map(len, texts)) / len(texts):.0f} characters, {len(SCHEMA)} labels")
    with tempfile.TemporaryDirectory() as scratch:
        places = make_model(Path(scratch), arguments.vocab)
        shared = {"texts": texts, "schema": SCHEMA, **places}
        environment = {"OMP_NUM_THREADS": arguments.threads}
        graphs = {name: (name, "fp32") for name in ("onnx", "openvino", "paddle", "dygraph")}
        graphs |= {name: (backend, name) for name, (backend, _) in INTEGERS.items()}
        workers = [
            Worker(
                f"zoo {name}", sys.executable, OURS, {**shared, "backend": backend, "precision": precision}, environment
            )
            for name, (backend, precision) in graphs.items()
        ]
        if arguments.paddlenlp:
            options = {"num_threads": arguments.taskflow_threads} if arguments.taskflow_threads else {}
            peer = {**shared, "options": options}
            workers.append(Worker("PaddleNLP Taskflow", arguments.paddlenlp, THEIRS, peer, environment))
        compare(workers, arguments.rounds, "documents")


if __name__ == "__main__":
    main()
