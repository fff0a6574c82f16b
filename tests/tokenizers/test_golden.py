"""All recorded results of PaddleNLP's tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.golden.tokenizers import replay_tokenizer

CASES = Path(__file__).parents[1] / "golden" / "cases" / "tokenizers"
FILES = sorted(CASES.glob("*.json"))


def test_there_is_a_record_of_every_family() -> None:
    assert len(FILES) == 11


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_agrees_with_paddlenlp(path: Path) -> None:
    results = replay_tokenizer(path, CASES / "vocabs")
    assert len(results) > 70
    assert [(name, difference) for name, ok, difference in results if not ok] == []


def test_a_wrong_record_is_noticed(tmp_path: Path) -> None:
    golden = json.loads((CASES / "ernie.json").read_text(encoding="utf-8"))
    golden["cases"][5]["offsets"][0][1] += 1
    golden["pairs"][1]["encoded"]["token_type_ids"][0] = 1
    golden["batch"]["padded"]["input_ids"][0][0] = 7
    golden["vocab_size"] += 1
    path = tmp_path / "ernie.json"
    path.write_text(json.dumps(golden), encoding="utf-8")
    wrong = [name for name, ok, _ in replay_tokenizer(path, CASES / "vocabs") if not ok]
    assert wrong == ["attributes", "cases/5 'HELLO WORLD'", "pairs/1", "batch"]
