"""Models that write texts in integers: scores through the exported graph, step by step, and the tied table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from zoo_cli.base.errors import ErrorGroup, UsageError
from zoo_cli.compress import workloads
from zoo_cli.compress.quantize import quantize_recipe
from zoo_cli.compress.scoring import DevelopmentSet
from zoo_cli.compress.workloads import label_scores, workload
from zoo_cli.engine.answering import evaluate_folder
from zoo_cli.engine.finetune import finetune
from zoo_cli.export.job import export_recipe
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.runtime.decoder import DecoderFacts, GraphBatch
from zoo_cli.runtime.loading import load, open_bundle
from zoo_cli.runtime.verification import verify
from zoo_cli.tasks.features import IGNORE_INDEX

QUICK = ["data.limit=24", "train.max_steps=12", "train.eval_steps=12", "export.golden_requests=3"]
SHORT = dict.fromkeys(("gpt/poetry", "unimo-text/lcsts", "plato/custom"), "task.decoding.max_new_tokens=8")


def recipe(name: str, *overrides: str) -> LoadedRecipe:
    return load_recipe(name, [*QUICK, SHORT[name], *overrides], tiny=True)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained a little, exported with the weights."""
    found = {}
    for name in SHORT:
        folder = tmp_path_factory.mktemp("decoder")
        finetune(recipe(name), folder / "run")
        found[name] = Path(export_recipe(recipe(name), folder / "run" / "best", folder)["bundle"])
    return found


def test_the_graph_foretells_what_the_model_foretells(bundles: dict[str, Path]) -> None:
    """Perplexity by prompt and steps is that of one forward pass."""
    name = "gpt/poetry"
    expected = evaluate_folder(bundles[name], recipe(name), "dev")
    opened = open_bundle(bundles[name], "onnx", threads=1)
    from zoo_cli.data.parts import read_parts

    examples = read_parts(recipe(name).recipe.data, 0, ("dev",))["dev"]
    found = DevelopmentSet(workload(opened), examples).scores(opened.backend)
    for key in ("loss", "perplexity", "word_perplexity"):
        assert found[key] == pytest.approx(expected[key], rel=1e-4)


def test_labels_that_do_not_count_are_not_scored(bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that end early leave the batch, and text before the first label is read at once."""
    folder = bundles["gpt/poetry"]
    backend, facts = open_bundle(folder, "onnx", threads=1).backend, DecoderFacts.load(folder)
    generator = np.random.default_rng(0)
    features = []
    for length, first in ((9, 0), (4, 2), (12, 11), (9, 5)):
        ids = generator.integers(1, 100, length + 1)
        labels = ids[1:].copy()
        labels[:first] = IGNORE_INDEX
        features.append({"input_ids": ids[:-1], "labels": labels})
    features[0]["labels"][5] = IGNORE_INDEX

    def scores() -> list[np.ndarray]:
        return [each["label_losses"] for each in label_scores(lambda: GraphBatch(backend, facts), features)]

    together = scores()
    monkeypatch.setattr(workloads, "MAX_ROWS", 1)
    for one, other, feature in zip(together, scores(), features, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
        assert ((one > 0) == (feature["labels"] != IGNORE_INDEX)).all()


@pytest.mark.parametrize(
    ("name", "options", "smaller"),
    [
        ("gpt/poetry", [], 0.35),
        ("gpt/poetry", ["quantize.method=weight_only"], 0.35),
        ("gpt/poetry", ["quantize.method=weight_only", "quantize.bits=4"], 0.3),
        ("gpt/poetry", ["quantize.method=static", "quantize.calibration=[min_max, smooth]"], 0.35),
        ("unimo-text/lcsts", [], 0.35),
        ("unimo-text/lcsts", ["quantize.method=weight_only"], 0.35),
        ("plato/custom", [], 0.35),
    ],
)
def test_a_decoder_in_integers(
    name: str, options: list[str], smaller: float, bundles: dict[str, Path], tmp_path: Path
) -> None:
    receipt = quantize_recipe(recipe(name, *options, "gates.metric_drop=0.1"), bundles[name], tmp_path)
    assert receipt["metric"] == ("loss" if name.startswith("gpt") else "score")
    assert receipt["chosen"]["kept_in_float"] == []
    assert receipt["chosen"]["integer_products"] == (13 if name.startswith("gpt") else 14)
    assert 0 < receipt["chosen"]["relative_error"] < 0.1
    assert receipt["bytes_after"] < smaller * receipt["bytes_before"]
    low, high = receipt["intervals"]["before"]
    assert low <= receipt["before"][receipt["metric"]] <= high
    bundle = Path(receipt["bundle"])
    assert (bundle / "decoder.json").is_file() and not (bundle / "model.safetensors").exists()
    report = verify(bundle)
    assert report["ok"] and report["graphs"][0]["precision"] == receipt["precision"]
    assert receipt["precision"] == ("int4" if "quantize.bits=4" in options else "int8")
    assert load(bundle, threads=1)("春天")["text"] is not None
    if "quantize.method=static" in options:
        assert [each["calibration"] for each in receipt["candidates"]] == ["min_max", "smooth"]
    if "quantize.bits=4" in options:
        assert [each["calibration"] for each in receipt["candidates"]] == ["nearest", "gptq"]
        errors = [each["relative_error"] for each in receipt["candidates"]]
        assert errors[1] < errors[0]


@pytest.mark.parametrize(
    ("overrides", "key", "way_out"),
    [
        (["quantize.backend=openvino", "quantize.method=weight_only"], "quantize.method", "onnx"),
        (["quantize.bits=4"], "quantize.bits", "weight_only"),
        (["quantize.method=static", "quantize.calibration=[gptq]"], "quantize.calibration", "method"),
        (["quantize.method=weight_only", "quantize.calibration=[mse]"], "quantize.calibration", "method"),
        (["quantize.calibration=[mse]"], "quantize.calibration", "static"),
    ],
)
def test_routes_that_lead_nowhere(overrides: list[str], key: str, way_out: str) -> None:
    with pytest.raises((UsageError, ErrorGroup)) as caught:
        recipe("gpt/poetry", *overrides)
    assert caught.value.code == "no-such-route"
    assert way_out in (caught.value.fix or "")
