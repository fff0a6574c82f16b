"""Bundles with hand-made ONNX graphs: their outputs depend on every token of a sequence, and on nothing else.

So an answer that was mixed with another request's, or padded wrongly, is a wrong answer. Making them needs no paddle.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import zoo_cli
from zoo_cli import registry
from zoo_cli.base.files import write_json, write_manifest
from zoo_cli.runtime import load
from zoo_cli.tasks.documents import MEMORIES

VOCAB = Path(zoo_cli.__file__).parent / "data" / "samples" / "vocab" / "wordpiece"
INPUTS = ("input_ids", "token_type_ids", "attention_mask")
WORDS = "王芳在北京大学工作。小明昨天去上海，今天回到深圳市的公司上班了"
LABELS = ["负向", "正向", "中性"]
TAGS = ["O", "B-人物", "I-人物", "B-地点", "I-地点"]
WIDTH = 256
MEMORY = [1, 2, 1]
"""Layers, tokens and width of what a model for documents remembers."""
SCORES = ((31, 101), (57, 103), (77, 107), (91, 109), (43, 113))
"""Factor and prime of the scores of tokens."""
Shape = list[str | int]


class Graph:
    """A few lines of ONNX at a time.

    Args:
        remembers: whether the model hands a memory on.
    """

    def __init__(self, remembers: bool = False) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.remembers = remembers

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def __call__(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        name = output or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def signature(self, mask: str = "attention_mask") -> str:
        """A number of each sequence that all its tokens and their order decide, and what a model with a memory read
        before it, int64 [..., 1]."""
        masked = self("Mul", "input_ids", mask)
        typed = self("Add", masked, self("Mul", "token_type_ids", self.constant(7)))
        place = self("CumSum", mask, self.constant(-1))
        weighted = self("Mul", self("Mul", typed, mask), self("Mod", place, self.constant(53)))
        own = self("Mod", self("ReduceSum", weighted, self.constant([-1]), keepdims=1), self.constant(997))
        return self._remembered(own) if self.remembers else own

    def _remembered(self, own: str) -> str:
        last = self.constant([-1])
        cells = self("Cast", MEMORIES, to=TensorProto.INT64)
        before = self("ReduceSum", cells, self.constant([-3, -2, -1]), keepdims=0)
        mixed = self("Mul", self("Unsqueeze", before, last), self.constant(31))
        signature = self("Mod", self("Add", own, mixed), self.constant(997))
        cell = self("Unsqueeze", self("Unsqueeze", self("Cast", signature, to=TensorProto.FLOAT), last), last)
        nothing = self("Mul", MEMORIES, self.constant(0.0, np.float32))
        self("Add", nothing, cell, output=f"next_{MEMORIES}")
        return signature

    def scores(self, signature: str, factor: int, prime: int, output: str) -> str:
        """A number from 0 to 1 for each token, float32 [..., S]."""
        own = self("Mul", "input_ids", self.constant(factor))
        mixed = self("Mod", self("Add", own, self("Mul", signature, self.constant(factor + 4))), self.constant(prime))
        number = self("Cast", mixed, to=TensorProto.FLOAT)
        share = self("Div", number, self.constant(float(prime), np.float32))
        return self("Pow", share, self.constant(6.0, np.float32), output=output)  # one in nine is above a half

    def columns(self, signature: str, count: int, output: str | None = None, first: int = 0) -> str:
        """So many numbers from 0 to 1 for each token, float32 [..., S, count]."""
        last = self.constant([-1])
        kinds = SCORES[first : first + count]
        parts = [self("Unsqueeze", self.scores(signature, *kind, f"{output}_{kind[1]}"), last) for kind in kinds]
        return self("Concat", *parts, axis=-1, output=output)

    def pairs(self, signature: str, count: int, threshold: float, output: str, first: int = 0) -> Shape:
        """So many numbers for each pair of tokens, float32 [B, count, S, S]; above 0 if those of both are large."""
        each = self("Transpose", self.columns(signature, count, f"{output}_each", first), perm=[0, 2, 1])
        rows, columns = (self("Unsqueeze", each, self.constant([axis])) for axis in (3, 2))
        self("Sub", self("Add", rows, columns), self.constant(threshold, np.float32), output=output)
        return ["batch", count, "length", "length"]

    def classes(self, signature: str, output: str | None = None) -> str:
        """Logits of three classes, float32 [..., 3]."""
        mixed = self("Add", self("Mul", signature, self.constant([3, 5, 7])), self.constant([1, 2, 3]))
        number = self("Cast", self("Mod", mixed, self.constant(11)), to=TensorProto.FLOAT)
        half = self("Div", number, self.constant(2.0, np.float32))
        return self("Sub", half, self.constant(2.0, np.float32), output=output)

    def work(self, layers: int) -> str:
        """Multiplications that cost time and change nothing that can be seen, float32 [..., 1]."""
        column = self("Unsqueeze", self("Cast", "input_ids", to=TensorProto.FLOAT), self.constant([-1]))
        hidden = self("MatMul", column, self.constant(np.full((1, WIDTH), 1e-3), np.float32))
        weight = self.constant(np.full((WIDTH, WIDTH), 1 / WIDTH), np.float32)
        for _ in range(layers):
            hidden = self("MatMul", hidden, weight)
        mean = self("ReduceMean", hidden, axes=[-2, -1], keepdims=0)
        return self("Unsqueeze", self("Mul", mean, self.constant(1e-30, np.float32)), self.constant([-1]))

    def save(self, path: Path, outputs: dict[str, Shape], inputs: dict[str, Shape] | None = None) -> None:
        """Write the graph; `inputs` are integers, except for memories and the cache, `past_0` and so on."""
        given = inputs or {key: ["batch", "length"] for key in INPUTS}
        values = [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT if "past" in name or name == MEMORIES else TensorProto.INT64, shape
            )
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
    graph("Add", graph.classes(graph.signature()), graph.work(layers), output="logits")
    return {"logits": ["batch", 3]}


def _reading(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    zero = graph.work(layers)
    for name, kind in zip(("start_logits", "end_logits"), SCORES, strict=False):
        graph("Add", graph.scores(signature, *kind, f"{name}_raw"), zero, output=name)
    return {"start_logits": ["batch", "length"], "end_logits": ["batch", "length"]}


def _embedding(graph: Graph, layers: int) -> dict[str, Shape]:
    columns = graph.columns(graph.signature(), 4)
    graph("Add", columns, graph("Unsqueeze", graph.work(layers), graph.constant([2])), output="last_hidden_state")
    return {"last_hidden_state": ["batch", "length", 4]}


def _tagging(graph: Graph, layers: int) -> dict[str, Shape]:
    graph.columns(graph.signature(), len(TAGS), "logits")
    return {"logits": ["batch", "length", len(TAGS)]}


def _nested(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    for first, name in enumerate(("oth_logits", "sym_logits")):
        graph.columns(signature, 3, name, first)
    return {"oth_logits": ["batch", "length", 3], "sym_logits": ["batch", "length", 3]}


def _commands(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    graph.classes(signature, "intent_logits")
    graph.columns(signature, 3, "slot_logits")
    return {"intent_logits": ["batch", 3], "slot_logits": ["batch", "length", 3]}


def _triples(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    graph("Sub", graph.columns(signature, 2), graph.constant(0.4, np.float32), output="entity_logits")
    return {
        "entity_logits": ["batch", "length", 2],
        "relation_logits": graph.pairs(signature, 2, 0.9, "relation_logits"),
    }


def _closed(graph: Graph, layers: int) -> dict[str, Shape]:
    signature = graph.signature()
    found = {"entity_logits": graph.pairs(signature, 5, 1.2, "entity_logits")}
    ends = {
        name: graph.pairs(signature, 1, 0.3, name, first) for first, name in enumerate(("head_logits", "tail_logits"))
    }
    return found | ends


def _choosing(graph: Graph, layers: int) -> dict[str, Shape]:
    mixed = graph("Mod", graph("Squeeze", graph.signature(), graph.constant([-1])), graph.constant(11))
    graph("Div", graph("Cast", mixed, to=TensorProto.FLOAT), graph.constant(2.0, np.float32), output="logits")
    return {"logits": ["batch", "choices"]}


def _options(graph: Graph, layers: int) -> dict[str, Shape]:
    seen = graph("Gather", graph("Squeeze", "attention_mask", graph.constant([1])), graph.constant(0), axis=1)
    scores = graph.scores(graph.signature(seen), 31, 101, "score")
    behind = graph("Add", "omask_positions", graph.constant(1))  # the choice itself, where the markers are all alike
    chosen = graph("GatherElements", scores, behind, axis=1)
    first = graph("GatherElements", scores, graph("Unsqueeze", "cls_positions", graph.constant([1])), axis=1)
    graph("Sub", chosen, first, output="logits")
    return {"logits": ["batch", "choices"]}


@dataclass(frozen=True)
class Kind:
    """How the model of a task is made.

    Args:
        build: adds the nodes of the outputs; gets the graph and the layers of useless work.
        options: of the task.
        inputs: of the model, where they are not `INPUTS` [B, S].
    """

    build: Callable[[Graph, int], dict[str, Shape]]
    options: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Shape] | None = None


def _document(build: Callable[[Graph, int], dict[str, Shape]], choices: int = 0, **options: Any) -> Kind:
    """A model that hands its memory on."""
    several: Shape = [choices] if choices else []
    inputs: dict[str, Shape] = {name: ["batch", *several, "length"] for name in INPUTS}
    inputs[MEMORIES] = ["batch", *several, *MEMORY]
    return Kind(build, {"max_length": 48, "memory_shape": MEMORY, **options}, inputs)


CHOICES: dict[str, Shape] = {name: ["batch", "choices", "length"] for name in INPUTS}
PLACES = {"max_question_length": 4, "doc_stride": 6, "impossible": True}
KINDS = {
    "extraction": Kind(_extraction),
    "sequence_classification": Kind(_classification, {"labels": LABELS}),
    "question_answering": Kind(_reading),
    "embedding": Kind(_embedding),
    "token_classification": Kind(_tagging, {"labels": TAGS, "max_length": 32}),
    "nested_ner": Kind(
        _nested,
        {"labels": ["O", "B-bod", "I-bod"], "enclosing_labels": ["O", "B-sym", "I-sym"], "max_length": 32},
    ),
    "intent_slot": Kind(_commands, {"intents": LABELS, "labels": ["O", "B-歌", "I-歌"], "max_length": 32}),
    "spo": Kind(_triples, {"predicates": ["位于", "属于"], "max_length": 32}),
    "closed_extraction": Kind(
        _closed, {"schema": ["人物", {"公司": ["地点"]}, "态度[好,坏]"], "max_length": 32, "threshold": 0.5}
    ),
    "multiple_choice": Kind(_choosing, {"max_length": 48}, CHOICES),
    "matching": Kind(_choosing, {"max_length": 48}, CHOICES),
    "utc": Kind(
        _options,
        {"choices": LABELS, "max_length": 64},
        {
            **{name: ["batch", "length"] for name in ("input_ids", "token_type_ids", "position_ids")},
            "attention_mask": ["batch", 1, "length", "length"],
            "omask_positions": ["batch", "choices"],
            "cls_positions": ["batch"],
        },
    ),
    "document_classification": _document(_classification, labels=LABELS, stride=20, retrospective=True),
    "document_token_classification": _document(_tagging, labels=TAGS, stride=20),
    "document_question_answering": _document(_reading, **PLACES),
    "document_multiple_choice": _document(_choosing, 3, num_choices=3, stride=20),
    "document_matching": _document(_choosing, 3, num_choices=3, stride=20),
}
"""Every task whose answers are not written, see `tests.serve.writers` for those."""


def make_bundle(folder: Path, task: str, layers: int = 1, golden: bool = True, **options: Any) -> Path:
    """Write a bundle.

    Args:
        folder: to write.
        task: one of `KINDS`.
        layers: of useless work; each is 0.13 million multiplications for each token.
        golden: whether to answer golden requests; without, there is an empty file.
        **options: of the task.
    """
    kind = KINDS[task]
    shutil.copytree(VOCAB, folder)
    graph = Graph(remembers=kind.inputs is not None and MEMORIES in kind.inputs)
    outputs = kind.build(graph, layers)
    if graph.remembers:
        outputs[f"next_{MEMORIES}"] = (kind.inputs or {})[MEMORIES]
    graph.save(folder / "onnx" / "fp32" / "model.onnx", outputs, kind.inputs)
    write_json(folder / "config.json", {})  # a model folder has one, and that is how verbs know it
    options = {"name": task, **kind.options, **options}
    write_json(folder / "task.json", {"task": task, "version": 1, "options": options})
    (folder / "golden_requests.jsonl").write_text("", encoding="utf-8")
    write_manifest(folder)
    if golden:
        requests = golden_requests(task)
        write_golden(folder, list(zip(requests, load(folder)(requests), strict=True)))
    return folder


def golden_requests(task: str) -> list[dict[str, Any]]:
    """Three requests of different lengths, or else the example of the task's documentation."""
    texts = [{"text": WORDS[:length]} for length in (3, 9, 20)]
    if task == "question_answering":
        return [{"question": "谁？", "context": each["text"]} for each in texts]
    if task == "extraction":
        return [{**each, "schema": ["人物", {"地点": "人物"}]} for each in texts]
    model: Any = registry.task(task).request
    needed = {name for name, each in model.model_fields.items() if each.is_required()}
    return texts if needed == {"text"} else list(model.model_config["json_schema_extra"]["examples"])


def write_golden(folder: Path, pairs: list[tuple[Any, Any]]) -> None:
    """Replace the golden requests of a bundle."""
    lines = [json.dumps({"request": request, "answer": answer}, ensure_ascii=False) for request, answer in pairs]
    (folder / "golden_requests.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    write_manifest(folder)
