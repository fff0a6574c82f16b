"""Greedy tokens a second of a GPT (6 layers x 512, vocabulary 30,000): the model, its exported graph in ONNX Runtime,
and other libraries.

    python benchmarks/generation.py [--paddlenlp PYTHON] [--transformers PYTHON] [--rounds N] [--new N]

The others run in the interpreters named, with the same weights, prompts and number of threads, in processes of their
own that take turns round by round. Medians over the rounds are printed, of wall and of processor seconds, by how
much fewer processor seconds ours take than the others, and whether all chose the same tokens. Memory is the
business of `decoding_memory.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LAYERS, HIDDEN, HEADS, VOCABULARY = 6, 512, 8, 30000
OWN = ("ours", "exported")
PROMPT = 32

PREAMBLE = """
import json, os, sys, time
import numpy as np
folder = sys.argv[1]

def prompts(batch, length):
    return np.random.default_rng(0).integers(10, 30000, (batch, length))
"""

# Each defines run(prompts, new) -> new ids as lists.
OURS = """
from zoo_cli.engine.device import use_device
use_device("cpu")
from zoo_cli import models
model = models.load(folder)

def run(ids, new):
    return models.generate(model, ids, max_new_tokens=new, eos_token_id=None, pad_token_id=0)[0].tolist()
"""

EXPORTED = """
from pathlib import Path
from zoo_cli.decoding.engine import Request, generate
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.runtime.backends import OnnxBackend
from zoo_cli.runtime.decoder import DecoderFacts, GraphBatch
backend = OnnxBackend(Path(folder), threads=int(os.environ["OMP_NUM_THREADS"]))
facts = DecoderFacts.load(Path(folder))

def run(ids, new):
    options = GenerationOptions(max_new_tokens=new, eos_token_id=None, pad_token_id=0)
    found = generate(GraphBatch(backend, facts), [Request({"input_ids": row}, options) for row in ids])
    return [row[0].ids.tolist() for row in found]
"""

PADDLENLP = """
import paddle
from paddlenlp.transformers import GPTForCausalLM
model = GPTForCausalLM.from_pretrained(folder)
model.eval()

def run(ids, new):
    return model.generate(
        paddle.to_tensor(ids), max_new_tokens=new, decode_strategy="greedy_search", use_cache=True,
        eos_token_id=1, pad_token_id=0, bos_token_id=2, min_new_tokens=new,
    )[0].tolist()
"""

TRANSFORMERS = """
import torch
from transformers import GPT2LMHeadModel
torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
model = GPT2LMHeadModel.from_pretrained(folder).eval()

def run(ids, new):
    ids = torch.tensor(ids)
    with torch.no_grad():
        found = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False,
            pad_token_id=0,
        )
    return found[:, ids.shape[1]:].tolist()
"""

LOOP = """
print("ready", file=answers, flush=True)
for line in sys.stdin:
    batch, length, new = json.loads(line)
    ids = prompts(batch, length)
    wall, cpu = time.perf_counter(), time.process_time()
    found = run(ids, new)
    print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu, found]), file=answers, flush=True)
"""


class Worker:
    """A library in a process of its own."""

    def __init__(self, python: str, code: str, folder: Path, **environment: str) -> None:
        # answers go to the real standard output, what libraries print goes elsewhere
        redirect = "answers = os.fdopen(os.dup(1), 'w'); os.dup2(2, 1)\n"
        self._process = subprocess.Popen(
            [python, "-c", PREAMBLE + redirect + code + LOOP, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "GLOG_minloglevel": "2", **environment},
        )

    def answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("a worker has ended; run its code by hand to see why")
        return line

    def ask(self, *question: int) -> Any:
        assert self._process.stdin is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return json.loads(self.answer())

    def close(self) -> None:
        self._process.communicate()


def write_model(folder: Path) -> None:
    """The same weights in the layouts of all three."""
    import paddle

    from zoo_cli import models

    paddle.seed(1)
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": 4 * HIDDEN,
        "max_position_embeddings": 1024,
        "initializer_range": 0.1,
        "bos_token_id": 2,
        "eos_token_id": 1,
    }
    model = models.build("GPTForCausalLM", config)
    for layout in ("zoo", "paddlenlp", "huggingface"):
        models.save(model, folder / layout, layout)  # type: ignore[arg-type]
    write_graph(model, folder / "exported")


def write_graph(model: Any, folder: Path) -> None:
    """The model as a graph, without the rest of a bundle."""
    from types import SimpleNamespace

    from zoo_cli.engine.setup import Assembly
    from zoo_cli.export.decoder import DecoderGraph
    from zoo_cli.export.to_onnx import convert

    task: Any = SimpleNamespace(options=SimpleNamespace(max_length=1024))
    graph = DecoderGraph(Assembly(model, task, task))
    (folder / "paddle").mkdir(parents=True)
    (folder / "onnx" / "fp32").mkdir(parents=True)
    graph.save(folder)
    convert(folder / "paddle", folder / "onnx" / "fp32" / "model.onnx", graph.output_names, graph.axes)


def compare(workers: dict[str, Worker], rounds: int, new: int) -> None:
    for worker in workers.values():
        worker.answer()
    for batch in (1, 8):
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        ids: dict[str, Any] = {}
        for number in range(rounds + 1):
            for name, worker in workers.items():
                wall, cpu, ids[name] = worker.ask(batch, PROMPT, new)
                if number:  # the first round warms up
                    times[name].append((wall, cpu))
        medians = {
            name: [statistics.median(column) for column in zip(*pairs, strict=True)] for name, pairs in times.items()
        }
        others = [name for name in medians if name not in OWN]
        for name, (wall, cpu) in medians.items():
            same = "same tokens" if ids[name] == ids["ours"] else "OTHER TOKENS"
            tokens = batch * new
            ratios = " ".join(f"{medians[other][1] / cpu:5.2f} x {other}" for other in others if name in OWN)
            speed = f"{tokens / wall:7.1f} tokens/s {tokens / cpu:7.1f} tokens/cpu-s"
            print(f"batch {batch}  {name:28} {speed}  {same}  {ratios}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paddlenlp", metavar="PYTHON", help="interpreter of an environment with PaddleNLP 2.8")
    parser.add_argument("--transformers", metavar="PYTHON", help="interpreter of an environment with transformers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--new", type=int, default=48, help="tokens to generate for each row")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder)
        workers = {
            "ours": Worker(sys.executable, OURS, folder / "zoo"),
            "exported": Worker(sys.executable, EXPORTED, folder / "exported"),
        }
        if options.paddlenlp:
            paddlenlp = folder / "paddlenlp"
            workers["paddlenlp"] = Worker(options.paddlenlp, PADDLENLP, paddlenlp)
            workers["paddlenlp, no views"] = Worker(
                options.paddlenlp, PADDLENLP, paddlenlp, FLAGS_use_stride_kernel="0"
            )
        if options.transformers:
            workers["transformers"] = Worker(options.transformers, TRANSFORMERS, folder / "huggingface")
        compare(workers, options.rounds, options.new)
        for worker in workers.values():
            worker.close()


if __name__ == "__main__":
    main()
