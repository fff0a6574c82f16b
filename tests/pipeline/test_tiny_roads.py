"""`zoo run --tiny`: shipped recipes down the whole road, as users start it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.files import verify_manifest
from zoo_cli.recipe.loading import load_recipe, recipe_names

MOST_SECONDS = 60.0
"""Of processor time, which other tests beside do not change."""

# Recipes of each family, of all kinds of task and step; trained for a moment only.
SHORT = ["train.max_steps=2", "train.eval_steps=2", "export.golden_requests=4", "gates.metric_drop=1.0"]
SAMPLE = {
    "bert/stsb": [],
    "electra/rte": ["export.backends=[onnx]"],
    "ernie-3.0/tnews_prune": ["prune.widths=[0.5]", "prune.stage.train.max_steps=2", "prune.stage.train.eval_steps=2"],
    "ernie-doc/iflytek": ["export.backends=[onnx]"],
    "ernie-health/cmeee": ["export.backends=[onnx]"],
    "ernie-m/xnli_transfer": ["export.backends=[onnx]"],
    "gpt/lambada": ["export.backends=[onnx]"],
    "plato/custom": ["export.backends=[onnx]"],
    "tinybert/sst2": [
        "export.backends=[onnx]",
        "distill.stages.intermediate.train.max_steps=2",
        "distill.stages.prediction.train.max_steps=2",
    ],
    "uie/custom": ["export.backends=[onnx]", "quantize.method=dynamic"],
    "unimo-text/csl_title": ["export.backends=[onnx]"],
    "utc/custom": ["export.backends=[onnx]"],
}
# Measured and drawn are a classifier, a pipeline of prompts, and a decoder; graphs of the others have the same inputs.
MEASURED = ("ernie-3.0/tnews_prune", "uie/custom", "plato/custom", "ernie-doc/iflytek")


def go(name: str, folder: Path, overrides: list[str]) -> tuple[dict[str, Any], float]:
    """Run a recipe; return its result and the processor time that it took."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "zoo_cli", "run", "--recipe", f"{name}.yaml", "--tiny", "--json", *overrides],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ZOO_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    logs = "".join(f"\n== {path.name}\n{path.read_text()}" for path in folder.rglob("steps/*.log"))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:] + logs[-4000:]
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return json.loads(done.stdout.splitlines()[-1]), seconds


def check(result: dict[str, Any], folder: Path, pretrains: bool) -> None:
    check_steps(result, folder, pretrains, ["verify", "bench", "report"])
    page = (folder / result["report"]).read_text(encoding="utf-8")
    ET.fromstring(page[page.index("<body>") : page.index("</html>")])
    assert "http" not in page.replace("http-equiv", "") or "src=" not in page


def check_steps(result: dict[str, Any], folder: Path, pretrains: bool, last: list[str]) -> None:
    assert {step["state"] for step in result["steps"]} == {"done"}
    if not pretrains:
        assert {"README.md", "receipt.json"} <= set(verify_manifest(folder / result["bundle"])["files"])
        assert [step["step"] for step in result["steps"]][-len(last) :] == last


@pytest.mark.parametrize("name", SAMPLE)
def test_recipes_of_each_family(name: str, tmp_path: Path) -> None:
    if name not in MEASURED:
        result, _ = go(name, tmp_path, [*SHORT, *SAMPLE[name], "--until-step", "verify"])
        check_steps(result, tmp_path, False, ["verify"])
        return
    result, _ = go(name, tmp_path, [*SHORT, *SAMPLE[name]])
    check(result, tmp_path, False)


def test_the_sample_has_every_family() -> None:
    families = {name: load_recipe(name, tiny=True).recipe.model.family for name in recipe_names()}
    assert {families[name] for name in SAMPLE} == set(families.values())


@pytest.mark.skipif("ZOO_ALL_RECIPES" not in os.environ, reason="`make check-all` runs it")
@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_every_recipe(name: str, tmp_path: Path) -> None:
    result, seconds = go(name, tmp_path, [])
    check(result, tmp_path, load_recipe(name).recipe.pretrain is not None)
    assert seconds < MOST_SECONDS, result["steps"]
