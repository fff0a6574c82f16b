"""Files of reading comprehension and multiple choice."""

from __future__ import annotations

import gzip
import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample, Span
from zoo_cli.data.formats import ChidOptions, NoOptions, SquadOptions
from zoo_cli.data.reading import read_c3, read_cail_scm, read_chid, read_choices, read_squad, read_utc

CONTEXT = "北京是首都。上海不是首都。"


def squad(folder: Path, *questions: dict[str, Any]) -> Path:
    path = folder / "squad.json"
    rows = [{"id": f"q{number}", "question": "何", **row} for number, row in enumerate(questions)]
    value = {"version": "v1", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": rows}]}]}
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def answer(text: str, start: int) -> dict[str, Any]:
    return {"answers": [{"text": text, "answer_start": start}]}


def test_squad(tmp_path: Path) -> None:
    path = squad(
        tmp_path,
        answer("北京", 0),
        {"is_impossible": True, "answers": [], "plausible_answers": []},
        {"answers": []},
        {},
    )
    found = list(read_squad(path, SquadOptions()))
    assert [example.id for example in found] == ["q0", "q1", "q2", "q3"]
    assert found[0].answers == [Span(0, 2, "北京")] and found[0].context == CONTEXT
    assert [example.impossible for example in found] == [False, True, False, False]
    assert found[0].source is not None and found[0].source.file == str(path)


@pytest.mark.parametrize(
    ("text", "start", "expected"),
    [
        ("首都", 2, 3),
        ("首都", 8, 10),
        ("首都", 99, 10),
        ("首都", -1, 3),
        ("北京", 5, 0),
        ("广州", 3, -1),
        ("广州", -1, -1),
    ],
)
def test_wrong_offsets(tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, start: int, expected: int) -> None:
    path = squad(tmp_path, answer(text, start), answer("上海", 6))
    with caplog.at_level(logging.WARNING):
        first, second = read_squad(path, SquadOptions())
    end = expected + 2 if expected >= 0 else -1
    assert first.answers == [Span(expected, end, text)]
    assert second.answers == [Span(6, 8, "上海")]
    assert "1 answers" in caplog.text
    with pytest.raises(DataError) as caught:
        list(read_squad(path, SquadOptions(wrong_offsets="error")))
    assert caught.value.code == "bad-offset" and "q0" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"data": [', "broken-json"),
        ("[]", "not-an-object"),
        ('{"version": 1}', "missing-field"),
        ('{"data": 1}', "missing-field"),
        ('{"data": [], }', "broken-json"),
        ('{"data": []} 1', "broken-json"),
        ("{1: []}", "broken-json"),
        ('{"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}', "wrong-type"),
        ('{"data": [{"paragraphs": [{"context": "天", "qas": [{"answers": []}]}]}]}', "missing-field"),
    ],
)
def test_broken_squad(tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "squad.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_squad(path, SquadOptions()))
    assert caught.value.code == code and caught.value.at is not None and caught.value.at.file == str(path)


def test_faults_of_squad_have_their_line(tmp_path: Path) -> None:
    path = tmp_path / "squad.json"
    path.write_text('{"version": 1,\n "data": [\n  {"paragraphs": []},\n  {"paragraphs": 1}\n ]\n}', encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_squad(path, SquadOptions()))
    assert caught.value.at is not None and caught.value.at.line == 4


def test_compressed_squad(tmp_path: Path) -> None:
    packed = tmp_path / "squad.json.gz"
    packed.write_bytes(gzip.compress(squad(tmp_path, answer("北京", 0)).read_bytes()))
    assert len(list(read_squad(packed, SquadOptions()))) == 1


def test_c3(tmp_path: Path) -> None:
    path = tmp_path / "c3.json"
    questions = [
        {"question": "何?", "choice": ["甲", "乙", "丙"], "answer": "乙"},
        {"question": "谁?", "choice": ["丁", "戊"], "answer": ""},
    ]
    path.write_text(json.dumps([[["男：好", "女：不"], questions, "1-2"]]), encoding="utf-8")
    first, second = read_c3(path, NoOptions())
    assert (first.context, first.question, first.choices, first.answer) == (
        "男：好\n女：不",
        "何?",
        ["甲", "乙", "丙"],
        1,
    )
    assert (first.id, second.id, second.answer) == ("1-2-0", "1-2-1", None)


def test_fewclue_chid(tmp_path: Path) -> None:
    path = tmp_path / "chid.json"
    row = {"id": 7, "candidates": ["画蛇添足", "雪中送炭"], "content": "你#idiom#，好", "answer": 1}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (example,) = read_chid(path, ChidOptions())
    assert example == ChoiceExample("你#idiom#，好", "", ["画蛇添足", "雪中送炭"], 1, "7", example.source)


def test_clue_chid(tmp_path: Path) -> None:
    path, answers = tmp_path / "chid.json", tmp_path / "answers.json"
    row = {"candidates": ["甲", "乙", "丙"], "content": ["一#idiom01#二#idiom02#三", "四#idiom03#"]}
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    answers.write_text(json.dumps({"#idiom01#": 2, "#idiom02#": 0, "#idiom03#": 1}), encoding="utf-8")
    found = list(read_chid(path, ChidOptions(answers=str(answers))))
    assert [example.context for example in found] == ["一#idiom#二____三", "一____二#idiom#三", "四#idiom#"]
    assert [example.answer for example in found] == [2, 0, 1]
    assert [example.answer for example in read_chid(path, ChidOptions())] == [None] * 3
    other = tmp_path / "others.json"
    answers.write_text(json.dumps({"#idiom01#": 2}), encoding="utf-8")
    other.write_text(json.dumps({"#idiom03#": 1}), encoding="utf-8")
    found = list(read_chid(path, ChidOptions(answers=[str(answers), str(other)])))
    assert [example.answer for example in found] == [2, None, 1]


def test_choices(tmp_path: Path) -> None:
    path = tmp_path / "choices.jsonl"
    rows = [
        {"context": "天", "question": "何", "choices": ["甲", "乙"], "answer": 1, "id": 3},
        {"question": "何", "choices": ["甲", "乙"], "answer": "甲"},
        {"choices": ["甲"]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = list(read_choices(path, NoOptions()))
    assert [(example.context, example.question, example.answer, example.id) for example in found] == [
        ("天", "何", 1, "3"),
        ("", "何", 0, None),
        ("", "", None, None),
    ]
    assert [example.source.line for example in found if example.source] == [1, 2, 3]


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"choices": ["甲", "乙"], "answer": 2}, "bad-answer"),
        ({"choices": ["甲", "乙"], "answer": "丙"}, "bad-answer"),
        ({"choices": ["甲", "乙"], "answer": True}, "bad-answer"),
        ({"choices": []}, "wrong-type"),
        ({"choices": ["甲", 1]}, "wrong-type"),
        ({}, "missing-field"),
    ],
)
def test_broken_choices(tmp_path: Path, row: dict[str, Any], code: str) -> None:
    path = tmp_path / "choices.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_choices(path, NoOptions()))
    assert caught.value.code == code and caught.value.at is not None and caught.value.at.line == 1


def test_broken_chid(tmp_path: Path) -> None:
    path = tmp_path / "chid.json"
    path.write_text(json.dumps({"candidates": ["甲"], "content": "天"}) + "\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        list(read_chid(path, ChidOptions()))
    assert caught.value.code == "no-blank"


def test_similar_cases(tmp_path: Path) -> None:
    path = tmp_path / "cases.json"
    rows = [{"A": "甲", "B": "乙", "C": "丙", "label": "C"}, {"A": "甲", "B": "乙", "C": "丙"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = list(read_cail_scm(path, NoOptions()))
    assert [(example.context, example.choices, example.answer) for example in found] == [
        ("甲", ["乙", "丙"], 1),
        ("甲", ["乙", "丙"], None),
    ]
    path.write_text(json.dumps({**rows[0], "label": "A"}), encoding="utf-8")
    with pytest.raises(DataError, match="neither"):
        list(read_cail_scm(path, NoOptions()))


def test_utc(tmp_path: Path) -> None:
    path = tmp_path / "utc.json"
    rows = [
        {"text_a": "天", "text_b": "", "question": "", "choices": ["甲", "乙"], "labels": [0, 1], "id": 7},
        {"text_a": "天", "text_b": "地", "choices": ["甲"], "labels": 0},
        {"text_a": "天", "choices": ["甲"]},
    ]
    path.write_text(json.dumps(rows), encoding="utf-8")
    found = list(read_utc(path, NoOptions()))
    assert [(example.text_pair, example.options, example.labels, example.id) for example in found] == [
        (None, ["甲", "乙"], [0, 1], "7"),
        ("地", ["甲"], [0], None),
        (None, ["甲"], None, None),
    ]
    for label in (1, -1, "甲", True, [0.0]):
        path.write_text(json.dumps({"text_a": "天", "choices": ["甲"], "labels": label}), encoding="utf-8")
        with pytest.raises(DataError) as caught:
            list(read_utc(path, NoOptions()))
        assert caught.value.code == "bad-answer"


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="needs ZOO_DATA")
def test_real_files(caplog: pytest.LogCaptureFixture) -> None:
    data = Path(os.environ["ZOO_DATA"])
    with caplog.at_level(logging.WARNING):
        assert len(list(read_squad(data / "cmrc2018" / "train.json", SquadOptions()))) == 1946
    assert "103 answers" in caplog.text
    assert len(list(read_squad(data / "drcd" / "dev.json", SquadOptions()))) == 527
    for name, count in (("c3-d-dev", 1825), ("c3-m-dev", 1991)):
        found = list(read_c3(data / "c3" / f"{name}.json", NoOptions()))
        assert len(found) == count and all(example.answer is not None for example in found)
    assert len(list(read_chid(data / "fewclue_chid" / "dev_few_all.json", ChidOptions()))) == 202
