"""Greedy tokens a second of a GPT (6 layers x 512, vocabulary 30,000), here and in other libraries, and its memory.

    python benchmarks/generation.py [--paddlenlp PYTHON] [--transformers PYTHON] [--rounds N] [--new N]

The others run in the interpreters named, with the same weights, prompts and number of threads, in processes of their
own that take turns round by round. Medians over the rounds are printed, of wall and of processor seconds, and whether
all chose the same tokens. Then the largest memory while 8 rows of 512 tokens are generated is compared with the size of
the cache.
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

MEMORY = """
from pathlib import Path

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(key))

run(prompts(8, 32), 4)
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
run(prompts(8, 32), 512)
print(json.dumps([before, status("VmHWM")]), file=answers, flush=True)
"""


class Worker:
    """A library in a process of its own."""

    def __init__(self, python: str, code: str, folder: Path, loop: str = LOOP, **environment: str) -> None:
        # answers go to the real standard output, what libraries print goes elsewhere
        redirect = "answers = os.fdopen(os.dup(1), 'w'); os.dup2(2, 1)\n"
        self._process = subprocess.Popen(
            [python, "-c", PREAMBLE + redirect + code + loop, str(folder)],
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
        for name, pairs in times.items():
            wall, cpu = (statistics.median(column) for column in zip(*pairs, strict=True))
            same = "same tokens" if ids[name] == ids["ours"] else "OTHER TOKENS"
            tokens = batch * new
            print(f"batch {batch}  {name:34} {tokens / wall:7.1f} tokens/s {tokens / cpu:7.1f} tokens/cpu-s  {same}")


def memory(folder: Path) -> None:
    worker = Worker(sys.executable, OURS, folder / "zoo", MEMORY)
    before, peak = json.loads(worker.answer())
    worker.close()
    cache = LAYERS * 2 * 8 * (PROMPT + 512) * HIDDEN * 4 / 2**20
    print(
        f"memory: {before:.0f} MiB before, cache {cache:.0f} MiB, peak {peak:.0f} MiB = "
        f"{peak / (before + cache):.3f} of their sum"
    )


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
        workers = {"ours": Worker(sys.executable, OURS, folder / "zoo")}
        if options.paddlenlp:
            paddlenlp = folder / "paddlenlp"
            workers["paddlenlp"] = Worker(options.paddlenlp, PADDLENLP, paddlenlp)
            workers["paddlenlp, strided views off"] = Worker(
                options.paddlenlp, PADDLENLP, paddlenlp, FLAGS_use_stride_kernel="0"
            )
        if options.transformers:
            workers["transformers"] = Worker(options.transformers, TRANSFORMERS, folder / "huggingface")
        compare(workers, options.rounds, options.new)
        for worker in workers.values():
            worker.close()
        memory(folder)


if __name__ == "__main__":
    main()
