"""Readers of dialogues: the forms of KdConv, LCCC and JSON lines, and what they refuse."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.data.checks import check_files
from zoo_cli.data.examples import DialogueExample
from zoo_cli.data.readers import read


def rows(folder: Path, format: str, text: str) -> list[Any]:
    path = folder / "data.txt"
    path.write_text(text, encoding="utf-8")
    return list(read(path, format))


def parts(examples: list[DialogueExample]) -> list[tuple[list[str], str | None, list[str]]]:
    return [(each.history, each.response, each.knowledge) for each in examples]


def test_kdconv(tmp_path: Path) -> None:
    fact = {"name": "长路", "attrname": "导演", "attrvalue": "李明"}
    messages = [{"message": "看过长路吗"}, {"message": "看过", "attrs": [fact]}, {"message": "谢谢"}]
    found = rows(tmp_path, "kdconv", json.dumps([{"name": "长路", "messages": messages}]))
    assert parts(found) == [
        (["看过长路吗"], "看过", ["长路 导演 李明"]),
        (["看过长路吗", "看过"], "谢谢", []),
    ]
    assert found[0].source.line == 1


LCCC = [["你 好 ！", "hello world 你 好"], ["吃 了 吗", "吃 了", "3 个 apple"]]
PLAIN = [
    (["你好！"], "hello world你好", []),
    (["吃了吗"], "吃了", []),
    (["吃了吗", "吃了"], "3个apple", []),
]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(LCCC),
        json.dumps(LCCC, indent=1),
        "\n".join(json.dumps(turns, ensure_ascii=False) for turns in LCCC),
        "\n\n".join("\t".join(turns) for turns in LCCC) + "\n",
    ],
    ids=["list", "indented list", "lines", "tabs"],
)
def test_lccc_in_all_its_forms(tmp_path: Path, text: str) -> None:
    assert parts(rows(tmp_path, "lccc", text)) == PLAIN


def test_dialogue_lines(tmp_path: Path) -> None:
    lines = [
        {"history": "你好", "response": "好"},
        {
            "history": ["a", "b"],
            "response": "c",
            "knowledge": [["s", "p", "o"], "fact"],
            "goal": "g",
            "roles": [3, 1, 0],
        },
        {"turns": ["a", "b", "c"], "persona": "我是老师", "roles": [1, 0, 1]},
        {"history": ["还在吗"]},
    ]
    found = rows(tmp_path, "dialogue", "\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    assert parts(found) == [
        (["你好"], "好", []),
        (["a", "b"], "c", ["g", "s p o", "fact"]),
        (["a"], "b", []),
        (["a", "b"], "c", []),
        (["还在吗"], None, []),
    ]
    assert [each.roles for each in found] == [None, [3, 1, 0], [1, 0], [1, 0, 1], None]
    assert found[2].persona == ["我是老师"]
    assert [each.source.line for each in found] == [1, 2, 3, 3, 4]


@pytest.mark.parametrize(
    ("format", "text", "code", "line"),
    [
        ("kdconv", '[{"messages": [{"message": 3}]}]', "wrong-type", 1),
        (
            "kdconv",
            '[{"messages": [{"message": "a"},\n {"message": "b", "attrs": [{"name": "x"}]}]}]',
            "missing-field",
            1,
        ),
        ("lccc", "你 好\n", "no-turns", 1),
        ("lccc", '["a", "b"]\n["a", 3]\n', "wrong-type", 2),
        ("lccc", '["a", "b"]\n["a"\n', "broken-json", 2),
        ("dialogue", '{"history": []}', "no-turns", 1),
        ("dialogue", '{"turns": ["a"]}', "no-turns", 1),
        ("dialogue", '{"turns": ["a", "b"], "roles": [1]}', "role-count", 1),
        ("dialogue", '{"history": ["a"], "response": "b", "roles": [1]}', "role-count", 1),
        ("dialogue", '{"turns": ["a", "b"], "roles": [1, -1]}', "wrong-type", 1),
        ("dialogue", '{"response": "b"}', "missing-field", 1),
        ("dialogue", '\n{"turns": ["a", "b"], "knowledge": [1]}', "wrong-type", 2),
    ],
)
def test_faults_are_located(tmp_path: Path, format: str, text: str, code: str, line: int) -> None:
    with pytest.raises(DataError) as caught:
        rows(tmp_path, format, text)
    assert caught.value.code == code
    assert caught.value.at is not None and caught.value.at.line == line


def test_checks_know_dialogues(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text('{"turns": ["a", "b"]}\n{"turns": ["a", "b"]}\n{"turns": ["a", "c"]}\n', encoding="utf-8")
    report = check_files({"train": path}, "dialogue")
    assert {finding.code for finding in report.findings} == {"duplicate", "conflicting-duplicate"}


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="needs real data")
@pytest.mark.parametrize(("format", "name"), [("kdconv", "kdconv/film_dev.json"), ("lccc", "lccc_toy/dev.txt")])
def test_real_data(format: str, name: str) -> None:
    found = list(read(Path(os.environ["ZOO_DATA"]) / name, format))
    assert len(found) >= 1000
    assert all(each.response and each.history for each in found)
    assert not any(" " in turn for each in found[:50] for turn in each.history if turn.isalpha() and not turn.isascii())
