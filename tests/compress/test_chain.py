"""Pruning in width and vocabulary, then eight bits for products and tables: one recipe, verb after verb."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from zoo_cli.base.files import read_json
from zoo_cli.runtime.verification import verify

RECIPE = "ernie-3.0/tnews_compress.yaml"
QUICK = ["data.limit=60", "train.max_steps=20", "train.eval_steps=10", "prune.stage.train.max_steps=8"]
QUICK += ["prune.stage.train.eval_steps=4", "quantize.calibration=[min_max]", "gates.metric_drop=1.0"]


def zoo(verb: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_cli", verb, "-r", RECIPE, "--tiny", *QUICK, "--json"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_verbs_follow_one_another(tmp_path: Path) -> None:
    pruned = zoo("prune", tmp_path)
    assert pruned.returncode == 0, pruned.stderr
    run = Path(json.loads(pruned.stdout)["run"])
    unpruned = read_json(tmp_path / run / "best" / "unpruned.json")
    weights = tmp_path / run.parent / "finetune" / "best" / "model.safetensors"
    assert unpruned["bytes"] == weights.stat().st_size
    done = zoo("quantize", tmp_path)
    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert receipt["source"].endswith("prune/best")
    graph = tmp_path / receipt["bundle"] / "onnx" / "int8" / "model.onnx"
    assert receipt["unpruned"]["share"] == graph.stat().st_size / unpruned["bytes"]
    assert receipt["unpruned"]["share"] < 0.12
    assert receipt["unpruned"]["score"] == unpruned["score"]
    page = (tmp_path / receipt["bundle"] / "RECEIPT.md").read_text(encoding="utf-8")
    assert f"{receipt['unpruned']['share']:.1%} of the model before pruning" in page
    report = verify(tmp_path / receipt["bundle"])
    assert report["ok"]
