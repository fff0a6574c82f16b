"""`zoo verify`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import write_manifest
from zoo_cli.runtime.golden import golden_tolerance
from zoo_cli.runtime.verification import verify


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "copy"))


def zoo_verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zoo_cli", "verify", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def change_answer(bundle: Path, line: int) -> Any:
    """Another golden answer, with a manifest that fits it."""
    path = bundle / "golden_requests.jsonl"
    rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
    rows[line - 1]["answer"] = {"changed": True}
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    write_manifest(bundle)
    return rows[line - 1]["answer"]


def test_a_whole_bundle(exported: Path) -> None:
    before = os.times()
    done = zoo_verify(str(exported), "--json")
    assert done.returncode == 0, done.stderr
    after = os.times()  # of the processor, which other tests beside do not change
    assert after.children_user + after.children_system - before.children_user - before.children_system < 60
    report = json.loads(done.stdout)
    assert report["ok"]
    assert report["requests"] == 4
    assert {graph["status"] for graph in report["graphs"]} == {"same"}


def test_a_run_folder_means_its_bundle(exported: Path) -> None:
    assert zoo_verify(str(exported.parent)).returncode == 0


def test_other_answers_fail(copy: Path) -> None:
    expected = change_answer(copy, line=2)
    report = verify(copy)
    assert not report["ok"]
    for graph in report["graphs"]:
        (difference,) = graph["differences"]
        assert (difference["line"], difference["expected"]) == (2, expected)
        assert difference["found"] != expected
    done = zoo_verify(str(copy), "--json")
    assert done.returncode == 4
    assert not json.loads(done.stdout)["ok"]
    assert "golden-mismatch" in done.stderr


def test_damage_fails_before_anything_is_loaded(copy: Path) -> None:
    (copy / "onnx" / "fp32" / "model.onnx").write_bytes(b"no graph")
    done = zoo_verify(str(copy))
    assert done.returncode == 4
    assert "model.onnx" in done.stderr


def test_nothing_to_compare_is_no_success(copy: Path) -> None:
    (copy / "golden_requests.jsonl").write_text("")
    write_manifest(copy)
    with pytest.raises(UsageError) as caught:
        verify(copy)
    assert caught.value.code == "nothing-to-verify"


def test_broken_golden_requests_are_located(copy: Path) -> None:
    path = copy / "golden_requests.jsonl"
    path.write_text(path.read_text(encoding="utf-8") + '{"request": 1}\n', encoding="utf-8")
    write_manifest(copy)
    with pytest.raises(ArtifactError) as caught:
        verify(copy)
    assert caught.value.at.line == 5  # type: ignore[union-attr]


@pytest.mark.parametrize("receipt", ["[]", '{"tolerance": "much"}', '{"tolerance": 0}', '{"tolerance": true}'])
def test_a_tolerance_that_is_none(tmp_path: Path, receipt: str) -> None:
    (tmp_path / "receipt.json").write_text(receipt)
    with pytest.raises(ArtifactError) as caught:
        golden_tolerance(tmp_path)
    assert caught.value.code == "broken-receipt"


def test_tolerance_comes_from_the_receipt(tmp_path: Path) -> None:
    assert golden_tolerance(tmp_path) == 1e-4
    (tmp_path / "receipt.json").write_text('{"tolerance": 0.02}')
    assert golden_tolerance(tmp_path) == 0.02
