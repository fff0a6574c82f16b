"""Models that write texts: one graph with a cache, driven by the decoding engine, writes what the model writes."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.conformance.cases import vocabulary
from tests.decoding.test_golden import CALLS, run
from tests.decoding.test_golden import CASES as GOLDEN
from tests.golden.replay import Case
from tests.models.support import tiny
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import read_json, write_json
from zoo_cli.engine.setup import Assembly, from_recipe
from zoo_cli.export.bundle import export
from zoo_cli.export.decoder import DecoderGraph
from zoo_cli.export.to_onnx import convert
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.registry import family
from zoo_cli.runtime.backends import BACKENDS
from zoo_cli.runtime.decoder import DecoderFacts, GraphBatch
from zoo_cli.runtime.golden import differing, read_golden
from zoo_cli.runtime.loading import load, open_bundle
from zoo_cli.runtime.verification import verify

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")

TEXTS = ["今天的会议没有什么新的内容。", "云安一中公布今年录取分数线。大雪封路。", "好"]
DECODING: list[dict[str, Any]] = [
    {},
    {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    {"decode_strategy": "beam_search", "num_beams": 3, "num_return_sequences": 2},
    {"decode_strategy": "beam_search", "num_beams": 4, "num_beam_groups": 2, "diversity_rate": 0.5},
    {"decode_strategy": "sampling", "top_k": 5, "seed": 3},
]


def recipe(name: str, folder: Path) -> LoadedRecipe:
    (folder / "data.json").write_text(json.dumps({"text": TEXTS[0], "label": TEXTS[2]}), encoding="utf-8")
    values = {
        "version": 1,
        "model": {
            "family": name,
            "vocab": str(vocabulary(name)),
            "config": {**family(name).tiny, "initializer_range": 0.2},
        },
        "task": {"name": "generation", "max_length": 64, "decoding": {"max_new_tokens": 8}},
        "data": {"train": str(folder / "data.json"), "format": "jsonl"},
    }
    (folder / "recipe.yaml").write_text(json.dumps(values), encoding="utf-8")
    return load_recipe(str(folder / "recipe.yaml"))


@pytest.mark.parametrize("name", ["unimo", "unified_transformer"])
def test_a_bundle_writes_what_the_model_writes(name: str, tmp_path: Path) -> None:
    assembly = from_recipe(recipe(name, tmp_path), [])
    (tmp_path / "model").mkdir()
    assembly.save(tmp_path / "model")
    requests = [{"text": text, "decoding": decoding} for text in TEXTS for decoding in DECODING]
    backends = [name for name in BACKENDS if find_spec({"onnx": "onnxruntime"}.get(name, name))]
    receipt = export(tmp_path / "model", tmp_path, ExportSection.model_validate({"backends": backends}), requests)
    assert receipt["golden_requests"] == len(requests)
    assert receipt["golden_differences"] == dict.fromkeys(backends, 0)
    assert len(receipt["parity"]) == len(backends) * 12
    assert {row["length"] for row in receipt["latency"]} == {1, 64}
    bundle = Path(receipt["bundle"])
    answers = [answer for _, answer in read_golden(bundle)]
    assert len({json.dumps(answer) for answer in answers}) > len(TEXTS)
    assert verify(bundle)["ok"]
    # Requests of all kinds share batches.
    pipeline = load(bundle, threads=1)
    together = pipeline(requests)
    assert [each["text"] for each in together] == [each["text"] for each in answers]
    assert not differing(pipeline, read_golden(bundle))
    with pytest.raises(UsageError) as caught:
        open_bundle(bundle).runner()
    assert caught.value.code == "no-features"


def write_graphs(model: Any, folder: Path) -> DecoderGraph:
    """The graphs of a model without a task, as a bundle has them."""
    options: Any = SimpleNamespace(options=SimpleNamespace(max_length=128))
    graph = DecoderGraph(Assembly(model, options, options))
    (folder / "paddle").mkdir()
    (folder / "onnx" / "fp32").mkdir(parents=True)
    graph.save(folder)
    convert(folder / "paddle", folder / "onnx" / "fp32" / "model.onnx", graph.output_names, graph.axes)
    return graph


@pytest.mark.parametrize("name", ["gpt_lm", "unimo_lm", "unified_transformer_lm"])
def test_a_graph_writes_the_golden_texts(name: str, tmp_path: Path) -> None:
    """PaddleNLP's greedy, beam and sampled texts."""
    folder = GOLDEN / name
    write_graphs(Case(folder, read_json(folder / "meta.json"), {}).model, tmp_path)
    backend, facts = BACKENDS["onnx"](tmp_path), DecoderFacts.load(tmp_path)
    expected = load_file(folder / "outputs.safetensors")
    calls = [call for place, call in CALLS if place == folder]
    assert {"greedy_search", "beam_search"} <= {call["kwargs"]["decode_strategy"] for call in calls}
    for call in calls:
        ids, scores = run(folder, call, lambda network: GraphBatch(backend, facts))  # type: ignore[arg-type]
        np.testing.assert_array_equal(ids, expected[f"{call['name']}/0"])
        np.testing.assert_allclose(scores, expected[f"{call['name']}/1"], atol=1e-4)


def test_gpt_reads_behind_its_cache(tmp_path: Path) -> None:
    graph = write_graphs(tiny("GPTForCausalLM"), tmp_path)
    rows = graph.compare({name: BACKENDS[name](tmp_path) for name in ("onnx", "paddle")})
    assert {(row.backend, row.length) for row in rows} == {
        (backend, length) for backend in ("onnx", "paddle") for length in (1, 7, 40, 70)
    }
    assert max(row.difference for row in rows) < 1e-4


def test_layers_of_different_widths_are_refused() -> None:
    changes = {"layer_num_heads": [4, 2], "head_dim": 8}
    model: Any = models.build("UNIMOLMHeadModel", {**family("unimo").tiny, **changes})
    with pytest.raises(UsageError) as caught:
        DecoderGraph(Assembly(model, None, None))  # type: ignore[arg-type]
    assert caught.value.code == "pruned-decoder"


def test_facts_of_a_decoder(tmp_path: Path) -> None:
    facts = DecoderFacts(128, {"token_type_ids": 0}, {3: -1e4}, (4, 2, 8))
    facts.save(tmp_path)
    assert DecoderFacts.load(tmp_path) == facts
    for change in ({"version": 1}, {"cache": [1, 2]}, {"token_logits": {"a": 1}}, {"positions": None}):
        write_json(tmp_path / "decoder.json", {**read_json(tmp_path / "decoder.json"), **change})
        with pytest.raises(ArtifactError) as caught:
            DecoderFacts.load(tmp_path)
        assert caught.value.code == "broken-decoder"
        facts.save(tmp_path)
