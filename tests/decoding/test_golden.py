"""Every `generate` call of the golden cases, with the same ids and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from zoo_cli.base.files import read_json
from zoo_cli.decoding.arrays import join_results, split_prompts
from zoo_cli.decoding.engine import Request, generate
from zoo_cli.decoding.options import GenerationOptions

from .models import CachedModel, Network, NumpyModel

CASES = Path(__file__).parents[1] / "golden" / "cases"
FOLDERS = sorted(path.parent for path in CASES.glob("*_lm/weights.safetensors"))  # PaddleNLP's
CALLS = [
    (folder, call)
    for folder in FOLDERS
    for call in read_json(folder / "meta.json")["calls"]
    if call["method"] == "generate"
]


def run(folder: Path, call: dict[str, Any], kind: type) -> tuple[np.ndarray, np.ndarray]:
    stored = load_file(folder / "inputs.safetensors")
    given = {name: stored[v[1:]] if isinstance(v, str) and v[0] == "@" else v for name, v in call["kwargs"].items()}
    batch = {name: value for name, value in given.items() if isinstance(value, np.ndarray)}
    other = ("use_cache", "trunc_input", *batch)
    options = GenerationOptions.model_validate({name: value for name, value in given.items() if name not in other})
    network = Network(folder)
    prompts = split_prompts(batch, network.config["pad_token_id"], hide_padding=not network.gpt)
    requests = [Request(p, options, history=row) for p, row in zip(prompts, batch["input_ids"], strict=True)]
    ids, scores = join_results(generate(kind(network), requests), network.config["pad_token_id"])
    if not given.get("trunc_input", True):
        ids = np.concatenate([batch["input_ids"], ids], axis=1)
    return ids, scores


def test_there_are_cases() -> None:
    assert len(CALLS) >= 70


@pytest.mark.parametrize("kind", [NumpyModel, CachedModel])
@pytest.mark.parametrize(("folder", "call"), CALLS, ids=[f"{f.name}-{c['name']}" for f, c in CALLS])
def test_generate_gives_the_golden_ids_and_scores(folder: Path, call: dict[str, Any], kind: type) -> None:
    outputs = load_file(folder / "outputs.safetensors")
    ids, scores = run(folder, call, kind)
    np.testing.assert_array_equal(ids, outputs[call["name"] + "/0"])
    np.testing.assert_allclose(scores, outputs[call["name"] + "/1"], atol=1e-4)


def test_gpt_greedy_generation() -> None:
    """Upstream's class takes `max_predict_len` + 1 steps, or until the batch's largest new id is the end of a line."""
    folder = CASES / "gpt_greedy_generation"
    network = Network(folder)
    steps = read_json(folder / "meta.json")["extra_args"][0] + 1
    prompt = load_file(folder / "inputs.safetensors")["prompt"]
    requests = [Request(p, GenerationOptions(max_new_tokens=steps)) for p in split_prompts({"input_ids": prompt}, None)]
    ids, _ = join_results(generate(CachedModel(network), requests), 0)
    ends = np.flatnonzero(ids.max(axis=0) == network.config["eol_token_id"])
    if len(ends):
        ids = ids[:, : ends[0] + 1]
    expected = load_file(folder / "outputs.safetensors")["generate"]
    np.testing.assert_array_equal(np.concatenate([prompt, ids], axis=1), expected)
