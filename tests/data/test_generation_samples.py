"""The sample data of the generating tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo_cli.data.readers import read

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "zoo_cli" / "data" / "samples"
SETS = {
    "lcsts/{}.json": ("jsonl", {"columns": {"text": "content", "label": "summary"}}),
    "dureader_qg/{}.json": ("jsonl", {"columns": {"text": "context", "text_pair": "answer", "label": "question"}}),
    "advertisegen/{}.json": ("jsonl", {"columns": {"text": "content", "label": "summary"}}),
    "csl_title/{}.tsv": ("tsv", {"columns": {"text": 1, "label": 2}}),
    "kdconv/{}.json": ("kdconv", {}),
    "lccc/{}.txt": ("lccc", {}),
    "dialogue/{}.jsonl": ("dialogue", {}),
    "wikitext/{}.tokens": ("documents", {"document": "article"}),
    "lambada/{}.jsonl": ("jsonl", {"columns": {"text": "text", "label": None}}),
    "texts/{}.txt": ("documents", {"document": "paragraph"}),
    "poetry/{}.txt": ("documents", {"document": "line"}),
}
NAMES = sorted(name.format(part) for name in SETS for part in ("train", "dev"))


@pytest.mark.parametrize("name", SETS)
def test_samples_can_be_read(name: str) -> None:
    format, options = SETS[name]
    counts = [len(list(read(SAMPLES / name.format(part), format, options))) for part in ("train", "dev")]
    assert counts[0] > 3 * counts[1] > 0


def test_samples_are_what_the_tool_makes(tmp_path: Path) -> None:
    tool = ROOT / "tools" / "make_generation_samples.py"
    if not tool.is_file():
        pytest.skip("the tools are not installed")
    subprocess.run([sys.executable, str(tool), str(tmp_path)], check=True)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")) == NAMES
    for name in NAMES:
        assert (tmp_path / name).read_bytes() == (SAMPLES / name).read_bytes()
        assert (SAMPLES / name).stat().st_size < 40_000
