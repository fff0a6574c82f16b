"""`zoo data fetch` and `zoo data list` as processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.test_commands import zoo


def test_files_go_where_recipes_look_for_them(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "OYE93" / "Chinese-NLP-Corpus" / "master" / "NER" / "MSRA"
    mirror.mkdir(parents=True)
    for part in ("train", "test"):
        (mirror / f"msra_{part}_bio.txt").write_text("王\tB-PER\n芳\tI-PER\n来\tO\n\n", encoding="utf-8")
    done = zoo("data", "fetch", "msra", "--json", folder=tmp_path, ZOO_MIRROR=str(tmp_path / "mirror"))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"msra": ["data/msra/train.txt", "data/msra/dev.txt"]}
    checked = zoo("data", "check", "-r", "ernie-3.0/msra_ner.yaml", "--json", folder=tmp_path)
    assert [part["rows"] for part in json.loads(checked.stdout)["parts"]] == [1, 1]


@pytest.mark.parametrize(("name", "code", "status"), [("tnew", "unknown-dataset", 2), ("drcd", "offline", 4)])
def test_errors(name: str, code: str, status: int, tmp_path: Path) -> None:
    done = zoo("data", "fetch", "msra", name, "--offline", "--json", folder=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["exit_code"]) == (status, status)
    assert error["code"] == code
    assert not (tmp_path / "data").exists()


def test_list(tmp_path: Path) -> None:
    rows = json.loads(zoo("data", "list", "--json", folder=tmp_path).stdout)
    assert {"tnews", "mnli", "xnli", "cmeee"} <= {row["name"] for row in rows}
    assert all(row["source"].startswith("https://") for row in rows)
