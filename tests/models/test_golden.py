"""Parity with PaddleNLP and Hugging Face, and the replay that measures it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.golden.__main__ import main, summary
from tests.golden.replay import replay_model
from zoo_cli.registry import FAMILIES, family

CASES = Path(__file__).parents[1] / "golden" / "cases"
KNOWN = {name for key in FAMILIES for name in family(key).architectures}
FOLDERS = [
    folder
    for folder in sorted(CASES.iterdir())
    if (folder / "meta.json").is_file() and json.loads((folder / "meta.json").read_text())["class"] in KNOWN
]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_agrees_with_the_reference(folder: Path) -> None:
    outcome = replay_model(folder)
    if outcome.status == "skipped":
        pytest.skip(outcome.detail)
    assert outcome.status == "ok", str(outcome)
    assert outcome.compared == len(load_file(folder / "outputs.safetensors"))


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CASES / "bert_model", tmp_path / "bert_model"))


def change(path: Path, name: str, by: float) -> None:
    """Change one number of a safetensors file."""
    tensors = {key: value.copy() for key, value in load_file(path).items()}
    tensors[name].reshape(-1)[-1] += by
    save_file(tensors, path)


@pytest.mark.parametrize(
    "name", ["full/attentions.1", "default/0", "cached/past_key_values.0.1", "continued/pooler_output"]
)
def test_one_changed_number_is_found(case: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(case)]) == 0
    change(case / "outputs.safetensors", name, 5e-5)
    assert main([str(case)]) == 1
    assert f"{name} differs by" in capsys.readouterr().out


def test_one_changed_weight_is_found(case: Path) -> None:
    change(case / "weights.safetensors", "encoder.layers.0.linear1.bias", 0.1)
    assert main([str(case)]) == 1


def test_a_name_that_the_model_lacks_is_found(case: Path) -> None:
    weights = load_file(case / "weights.safetensors")
    save_file({**weights, "head.weight": np.zeros(3, np.float32)}, case / "weights.safetensors")
    assert main([str(case)]) == 1


def test_a_class_that_is_not_known_is_not_supported(case: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = json.loads((case / "meta.json").read_text())
    (case / "meta.json").write_text(json.dumps({**meta, "class": "NoSuchModel"}))
    assert main([str(case)]) == 1
    assert "bert_model  not supported" in capsys.readouterr().out


def test_nothing_compared_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 1
    assert "nothing was compared" in capsys.readouterr().out
    assert main([str(tmp_path / "missing")]) == 1


def test_constructor_arguments_of_a_call(tmp_path: Path) -> None:
    case = Path(shutil.copytree(CASES / "criterion_ernie", tmp_path / "criterion_ernie"))
    meta = json.loads((case / "meta.json").read_text())
    meta["calls"][0]["init"] = {"with_nsp_loss": False}
    (case / "meta.json").write_text(json.dumps(meta))
    outputs = load_file(case / "outputs.safetensors")
    save_file({"loss": outputs["loss/0"]}, case / "outputs.safetensors")
    assert main([str(case)]) == 0


def test_parts_of_a_case_are_one_line() -> None:
    assert (
        str(summary("ernie", [("one", True, ""), ("two", True, "2e-7")]))
        == "ernie  ok  2 compared  largest difference 2e-07"
    )
    outcome = summary("ernie", [("one", True, ""), ("two", False, "5 tokens, not 6")])
    assert (outcome.status, outcome.detail) == ("differs", "two: 5 tokens, not 6")
    assert summary("ernie", []).status == "differs"
