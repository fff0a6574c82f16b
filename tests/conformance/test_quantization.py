"""Every task with one family, and every family with one task, in eight bits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.cases import TRAINED, recipe
from tests.conformance.conftest import Export
from zoo_cli.compress.quantize import quantize_recipe
from zoo_cli.recipe.schema import QuantizeSection
from zoo_cli.runtime.verification import verify

CASES = [(*pair, "dynamic") for pair in TRAINED] + [
    (*pair, "static")
    for pair in TRAINED
    if pair[1] in ("extraction", "sequence_classification", "token_classification", "document_classification")
]


@pytest.mark.parametrize(("name", "task_name", "method"), CASES)
def test_an_integer_graph_keeps_the_scores(
    name: str, task_name: str, method: str, exported: Export, tmp_path: Path
) -> None:
    bundle = Path(exported(name, task_name)["bundle"])
    loaded = recipe(name, task_name, tmp_path / "recipe")
    loaded.recipe.quantize = QuantizeSection.model_validate(
        {"method": method, "calibration": ["min_max"] if method == "static" else None, "tolerance": 0.1}
    )
    loaded.recipe.gates.metric_drop = 0.2
    receipt = quantize_recipe(loaded, bundle, tmp_path / "run")
    metric = receipt["metric"]
    assert receipt["before"][metric] - receipt["after"][metric] <= 0.2
    assert 0 < receipt["chosen"]["relative_error"] < 0.3
    assert receipt["chosen"]["integer_products"] >= 8  # two layers
    assert receipt["bytes_after"] < 0.6 * receipt["bytes_before"]
    assert receipt["seed"] == loaded.recipe.train.seed and receipt["data"]["dev"]
    assert verify(Path(receipt["bundle"]))["ok"]
    page = (Path(receipt["bundle"]) / "RECEIPT.md").read_text(encoding="utf-8")
    row = f"| {metric} on the development set | {receipt['before'][metric]:.4f} | {receipt['after'][metric]:.4f} |"
    assert row in page
