"""Does decoding take memory for the cache only? The peak while 8 rows of 512 tokens are written, against its size.

    python benchmarks/decoding_memory.py [--batch N] [--new N] [--hidden N] [--layers N]

A GPT and a UnifiedTransformer with fresh weights run in a process of their own each. What paddle has allocated and the
process' resident memory are taken before, and their peaks while it writes. Computed is what lies in the cache at the
end, in whole blocks, and beside it the logits of a step with what the search makes of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROMPT = 32
VOCABULARY = 8000
ARCHITECTURES = {"gpt": "GPTForCausalLM", "unified_transformer": "UnifiedTransformerLMHeadModel"}

CHILD = """
import json, sys
from pathlib import Path
from zoo_cli.engine.device import use_device
use_device("cpu")
import numpy as np
from paddle.base import core
from zoo_cli import models

architecture, config, batch, prompt, new = json.loads(sys.argv[1])
model = models.build(architecture, config)
model.eval()

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

def write(new):
    ids = np.random.default_rng(0).integers(10, config["vocab_size"], (batch, prompt))
    models.generate(model, ids, max_new_tokens=new, eos_token_id=None)

write(4)
core.host_memory_stat_reset_peak_value("Allocated", 0)
before = core.host_memory_stat_current_value("Allocated", 0), status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
write(new)
print(json.dumps([*before, core.host_memory_stat_peak_value("Allocated", 0), status("VmHWM")]))
"""


def cache_bytes(config: dict[str, Any], batch: int, tokens: int) -> int:
    """Bytes of keys and values of so many tokens in each row; the last token is written but not read."""
    from zoo_cli.models.cache import BLOCK

    room = -(-(tokens - 1) // BLOCK) * BLOCK
    return config["num_hidden_layers"] * 2 * batch * room * config["hidden_size"] * 4


def measure(family: str, batch: int, new: int, hidden: int, layers: int) -> dict[str, float]:
    """Bytes of the weights, of the cache, and by which both paddle's allocations and the process grew beyond the
    weights."""
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 8,
        "intermediate_size": 4 * hidden,
        "max_position_embeddings": 1024,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "mask_token_id": 4,
    }
    question = json.dumps([ARCHITECTURES[family], config, batch, PROMPT, new])
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHILD, question],
        env={"OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
    ).stdout
    weights, resident, peak, resident_peak = json.loads(answer.splitlines()[-1])
    return {
        "weights": weights,
        "cache": cache_bytes(config, batch, PROMPT + new),
        "allocated": peak - weights,
        "resident": resident_peak - resident,
        "process": resident_peak / (resident + cache_bytes(config, batch, PROMPT + new)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--new", type=int, default=512)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    options = parser.parse_args()
    for family in ARCHITECTURES:
        found = measure(family, options.batch, options.new, options.hidden, options.layers)
        sizes = {name: value / 2**20 for name, value in found.items()}
        print(
            f"{family}: weights {sizes['weights']:.1f} MiB, cache {sizes['cache']:.1f} MiB; paddle allocated "
            f"{sizes['allocated']:.1f} MiB more = {found['allocated'] / found['cache']:.3f} of the cache; the process "
            f"grew by {sizes['resident']:.1f} MiB, its peak is {found['process']:.3f} of what it had and the cache"
        )


if __name__ == "__main__":
    main()
