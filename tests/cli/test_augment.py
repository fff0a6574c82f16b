"""`zoo data augment` and `zoo data vectors`, and a student that learns from copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.distill.test_masked_words import make
from zoo_cli.base.resources import locate
from zoo_cli.cli.app import app

TRAIN = str(locate("sample:sst2/train.tsv"))
COLUMNS = ["--format", "tsv", "--option", "columns.text=sentence"]


def zoo(*words: str) -> str:
    found = CliRunner().invoke(app, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_own_vectors_and_a_language_model(own_folder: Path) -> None:
    pytest.importorskip("scipy")
    made = json.loads(
        zoo("data", "vectors", TRAIN, "-o", "v.txt", *COLUMNS, "--size", "8", "--min-count", "2", "--json")
    )
    assert made["dimensions"] == 8 and made["words"] > 50
    model = make(own_folder / "mlm", "BertForMaskedLM")
    options = ["--vectors", "v.txt", "--masked-lm", str(model), "--copies", "2", "--nproc", "1", "--json"]
    (report,) = json.loads(zoo("data", "augment", TRAIN, "aug.tsv", *COLUMNS, *options))
    assert report["rows"] == 150 and 150 < report["copies"] <= 300
    again = CliRunner().invoke(app, ["data", "augment", TRAIN, "aug.tsv", *COLUMNS, *options])
    assert again.exit_code != 0


def test_a_student_learns_from_copies(own_folder: Path) -> None:
    quick = ["train.max_steps=4", "distill.stages.intermediate.train.max_steps=2"]
    quick += ["distill.stages.prediction.train.max_steps=2"]
    zoo("distill", "-r", "tinybert/sst2", "--tiny", "distill.augmented=true", *quick)
    written = own_folder / "runs" / "tinybert" / "sst2.tiny" / "augment" / "train.tsv"
    assert len(written.read_text().splitlines()) > 300


def test_what_is_missing_is_said(own_folder: Path) -> None:
    vectors = ["--vectors", str(locate("sample:vectors/words.txt"))]
    for words in (["data", "augment", TRAIN], ["data", "augment", TRAIN, "a.tsv"], ["data", "augment", *vectors]):
        assert CliRunner().invoke(app, words).exit_code != 0
    both = ["data", "augment", TRAIN, "a.tsv", "-r", "tinybert/sst2", "--tiny"]
    assert CliRunner().invoke(app, both).exit_code != 0
    assert not list(own_folder.iterdir())
