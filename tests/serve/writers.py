"""Bundles that write texts, with hand-made ONNX graphs: the next token depends on all tokens that may be seen, their
places and types, and on nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.serve.bundles import VOCAB, WORDS, Graph, write_golden
from zoo_cli import tokenizers
from zoo_cli.base.files import write_json, write_manifest
from zoo_cli.runtime import load
from zoo_cli.runtime.decoder import DecoderFacts
from zoo_cli.tasks.base import load_task
from zoo_cli.tasks.generative import GenerativeTask

LONGEST = 512
VOCABULARIES = {"generation": "wordpiece", "dialogue": "unified_transformer", "language_modeling": "gpt_cn"}
_INPUTS: dict[str, list[str | int]] = {
    "input_ids": ["batch", "length"],
    "position_ids": ["batch", "length"],
    "token_type_ids": ["batch", "length"],
    "attention_mask": ["batch", 1, "length", "all"],
    "past_0": ["batch", 1, "past", 1],
    "past_1": ["batch", 1, "past", 1],
    "last": ["batch"],
}


def _save_graph(path: Path, vocabulary: int, task: GenerativeTask[Any], layers: int) -> None:
    graph = Graph()
    place = graph("Mul", "position_ids", graph.constant(7))
    mixed = graph("Add", graph("Mul", "input_ids", graph.constant(31)), place)
    mixed = graph("Add", mixed, graph("Mul", "token_type_ids", graph.constant(3)))
    own = graph("Cast", graph("Mod", mixed, graph.constant(997)), to=TensorProto.FLOAT)  # [B, S]
    new = graph("Unsqueeze", own, graph.constant([1, 2, 4]))
    graph("Concat", new, new, output="new", axis=1)
    past = graph("Squeeze", "past_0", graph.constant([1, 3]))
    mask = graph("Squeeze", "attention_mask", graph.constant([1]))  # [B, S, T + S]
    seen = graph("GatherND", mask, graph("Unsqueeze", "last", graph.constant([1])), batch_dims=1)
    values = graph("Cast", graph("Concat", past, own, axis=1), to=TensorProto.INT64)
    total = graph("ReduceSum", graph("Mul", values, seen), graph.constant([1]), keepdims=1)
    signature = graph("Add", graph("Mod", total, graph.constant(997)), graph.constant(1))  # [B, 1]
    factors = np.random.default_rng(0).integers(1, 10_007, (1, vocabulary))
    number = graph("Mod", graph("Mul", signature, graph.constant(factors)), graph.constant(10_007))
    logits = graph("Div", graph("Cast", number, to=TensorProto.FLOAT), graph.constant(1000.0, np.float32))
    # Words only, except that the text ends at one signature in eleven.
    bias, ending = np.zeros((1, vocabulary)), np.zeros((1, vocabulary))
    bias[0, list(task.special_ids.values())] = -50
    ending[0, task.special_ids["eos_token_id"]] = 100
    ends = graph("Equal", graph("Mod", signature, graph.constant(11)), graph.constant(0))
    logits = graph("Add", logits, graph.constant(bias, np.float32))
    end = graph("Mul", graph("Cast", ends, to=TensorProto.FLOAT), graph.constant(ending, np.float32))
    graph("Add", graph("Add", logits, end), graph.work(layers), output="logits")
    graph.save(path, {"logits": ["batch", vocabulary], "new": ["batch", 2, 1, "length", 1]}, _INPUTS)


def make_writer(folder: Path, task: str, layers: int = 1, **options: Any) -> Path:
    """Write a bundle.

    Args:
        folder: to write.
        task: one of `VOCABULARIES`.
        layers: of useless work, see `tests.serve.bundles.make_bundle`.
        **options: of the task.
    """
    shutil.copytree(VOCAB.parent / VOCABULARIES[task], folder)
    if task == "generation":
        write_json(folder / "tokenizer_config.json", {"tokenizer_class": "UNIMOTokenizer", "do_lower_case": True})
    write_json(folder / "config.json", {})  # a model folder has one, and that is how verbs know it
    options = {"name": task, "max_length": LONGEST, "decoding": {"max_new_tokens": 24}, **options}
    write_json(folder / "task.json", {"task": task, "version": 1, "options": options})
    tokenizer = tokenizers.load(folder)
    loaded = load_task(folder, tokenizer, tuple(_INPUTS))
    assert isinstance(loaded, GenerativeTask)
    _save_graph(folder / "onnx" / "fp32" / "model.onnx", tokenizer.vocab_size, loaded, layers)
    DecoderFacts(LONGEST, {"token_type_ids": 0}, {}, (2, 1, 1)).save(folder)
    write_manifest(folder)
    few = {"max_new_tokens": 8, "min_new_tokens": 0}
    requests = [{"text": WORDS[:length], "decoding": few} for length in (3, 20)]
    (folder / "golden_requests.jsonl").write_text("", encoding="utf-8")
    write_manifest(folder)
    write_golden(folder, list(zip(requests, load(folder)(requests), strict=True)))
    return folder
