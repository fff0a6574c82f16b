"""Decoding takes memory for its cache and next to nothing else; `benchmarks/decoding_memory.py` has larger models."""

from __future__ import annotations

import numpy as np
from paddle.base import core

from tests.models.support import tiny
from zoo_cli import models
from zoo_cli.models.cache import BLOCK

ROWS, PROMPT, NEW = 8, 32, 512
LAYERS, HIDDEN = 8, 64


def test_the_peak_is_the_cache() -> None:
    """512 tokens for each of 8 rows: paddle allocates within 10 % of the size of the cache, in whole blocks."""
    sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "intermediate_size": HIDDEN}
    model = tiny("GPTForCausalLM", **sizes, max_position_embeddings=1024)
    ids = np.random.default_rng(0).integers(5, 100, (ROWS, PROMPT))
    models.generate(model, ids, max_new_tokens=2, eos_token_id=None)
    before = core.host_memory_stat_current_value("Allocated", 0)
    core.host_memory_stat_reset_peak_value("Allocated", 0)
    written, _ = models.generate(model, ids, max_new_tokens=NEW, eos_token_id=None)
    grown = core.host_memory_stat_peak_value("Allocated", 0) - before
    assert written.shape == [ROWS, NEW]
    room = -(-(PROMPT + NEW - 1) // BLOCK) * BLOCK
    cache = LAYERS * 2 * ROWS * room * HIDDEN * 4
    assert 0.95 * cache < grown < 1.1 * cache
    del written
    assert core.host_memory_stat_current_value("Allocated", 0) - before < 0.05 * cache
