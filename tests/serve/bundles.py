"""Bundles with hand-made ONNX graphs: their outputs depend on every token of a sequence, and on nothing else.

So an answer that was mixed with another request's, or padded wrongly, is a wrong answer. Making them needs no paddle.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import zoo_cli
from zoo_cli.base.files import write_json, write_manifest
from zoo_cli.runtime import load

VOCAB = Path(zoo_cli.__file__).parent / "data" / "samples" / "vocab" / "wordpiece"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
WORDS = "王芳在北京大学工作。小明昨天去上海，今天回到深圳市的公司上班了"
LABELS = ["负向", "正向", "中性"]
WIDTH = 256
Shape = list[str | int]


class Graph:
    """A few lines of ONNX at a time."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def signature(self) -> str:
        """A number of each sequence that all its tokens and their order decide, int64 [B, 1]."""
        masked = self("Mul", "input_ids", "attention_mask")
        typed = self("Add", masked, self("Mul", "token_type_ids", self.constant(7)))
        place = self("CumSum", "attention_mask", self.constant(1))
        weighted = self("Mul", self("Mul", typed, "attention_mask"), self("Mod", place, self.constant(53)))
        return self("Mod", self("ReduceSum", weighted, self.constant([1]), keepdims=1), self.constant(997))

    def scores(self, signature: str, factor: int, prime: int, output: str) -> str:
        """A number from 0 to 1 for each token, float32 [B, S]."""
        own = self("Mul", "input_ids", self.constant(factor))
        mixed = self("Mod", self("Add", own, self("Mul", signature, self.constant(factor + 4))), self.constant(prime))
        number = self("Cast", mixed, to=TensorProto.FLOAT)
        share = self("Div", number, self.constant(float(prime), np.float32))
        return self("Pow", share, self.constant(6.0, np.float32), output=output)  # one in nine is above a half

    def work(self, layers: int) -> str:
        """Multiplications that cost time and change nothing that can be seen, float32 [B, 1]."""
        column = self("Unsqueeze", self("Cast", "input_ids", to=TensorProto.FLOAT), self.constant([2]))
        hidden = self("MatMul", column, self.constant(np.full((1, WIDTH), 1e-3), np.float32))
        weight = self.constant(np.full((WIDTH, WIDTH), 1 / WIDTH), np.float32)
        for _ in range(layers):
            hidden = self("MatMul", hidden, weight)
        mean = self("ReduceMean", hidden, axes=[1, 2], keepdims=0)
        return self("Unsqueeze", self("Mul", mean, self.constant(1e-30, np.float32)), self.constant([1]))

    def save(self, path: Path, outputs: dict[str, Shape], inputs: dict[str, Shape] | None = None) -> None:
        """Write the graph; `inputs` are integers, except for the cache, `past_0` and so on."""
        given = inputs or {key: ["batch", "length"] for key in INPUTS}
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT if "past" in name else TensorProto.INT64, shape)
            for name, shape in given.items()
        ]
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
        graph = helper.make_graph(self.nodes, "test", values, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        path.parent.mkdir(parents=True)
        onnx.save(model, str(path))


def _extraction(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    zero = graph.work(layers)
    for name, factor, prime in (("start_prob", 31, 101), ("end_prob", 57, 103)):
        graph("Add", graph.scores(signature, factor, prime, f"{name}_raw"), zero, output=name)
    return {"start_prob": ["batch", "length"], "end_prob": ["batch", "length"]}


def _classification(graph: Graph, layers: int) -> dict[str, Shape]:
    mixed = graph("Add", graph("Mul", graph.signature(), graph.constant([[3, 5, 7]])), graph.constant([[1, 2, 3]]))
    number = graph("Cast", graph("Mod", mixed, graph.constant(11)), to=TensorProto.FLOAT)
    logits = graph("Sub", graph("Div", number, graph.constant(2.0, np.float32)), graph.constant(2.0, np.float32))
    graph("Add", logits, graph.work(layers), output="logits")
    return {"logits": ["batch", 3]}


def _reading(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    zero = graph.work(layers)
    for name, factor, prime in (("start_logits", 31, 101), ("end_logits", 57, 103)):
        graph("Add", graph.scores(signature, factor, prime, f"{name}_raw"), zero, output=name)
    return {"start_logits": ["batch", "length"], "end_logits": ["batch", "length"]}


def _embedding(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    columns = [
        graph("Unsqueeze", graph.scores(signature, factor, prime, f"column_{prime}"), graph.constant([2]))
        for factor, prime in ((31, 101), (57, 103), (77, 107), (91, 109))
    ]
    zero = graph("Unsqueeze", graph.work(layers), graph.constant([2]))
    graph("Add", graph("Concat", *columns, axis=2), zero, output="last_hidden_state")
    return {"last_hidden_state": ["batch", "length", 4]}


GRAPHS = {
    "extraction": _extraction,
    "sequence_classification": _classification,
    "question_answering": _reading,
    "embedding": _embedding,
}


def make_bundle(folder: Path, task: str, layers: int = 1, golden: bool = True, **options: Any) -> Path:
    """Write a bundle.

    Args:
        folder: to write.
        task: one of `GRAPHS`.
        layers: of useless work; each is 0.13 million multiplications for each token.
        golden: whether to answer golden requests; without, there is an empty file.
        **options: of the task.
    """
    shutil.copytree(VOCAB, folder)
    if task == "sequence_classification":
        options = {"labels": LABELS, **options}
    graph = Graph()
    graph.save(folder / "onnx" / "fp32" / "model.onnx", GRAPHS[task](graph, layers))
    write_json(folder / "config.json", {})  # a model folder has one, and that is how verbs know it
    write_json(folder / "task.json", {"task": task, "version": 1, "options": {"name": task, **options}})
    (folder / "golden_requests.jsonl").write_text("", encoding="utf-8")
    write_manifest(folder)
    if golden:
        requests = [{"text": WORDS[:length]} for length in (3, 9, 20)]
        if task == "question_answering":
            requests = [{"question": "谁？", "context": request["text"]} for request in requests]
        if task == "extraction":
            requests = [{**request, "schema": ["人物", {"地点": "人物"}]} for request in requests]
        write_golden(folder, list(zip(requests, load(folder)(requests), strict=True)))
    return folder


def write_golden(folder: Path, pairs: list[tuple[Any, Any]]) -> None:
    """Replace the golden requests of a bundle."""
    lines = [json.dumps({"request": request, "answer": answer}, ensure_ascii=False) for request, answer in pairs]
    (folder / "golden_requests.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_manifest(folder)
