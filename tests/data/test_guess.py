"""Formats, columns and languages are read off files as the shipped recipes name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.base.resources import locate
from zoo_cli.data.formats import FORMATS
from zoo_cli.data.guess import TASK_OF_FORMAT, guess
from zoo_cli.registry import TASKS, task

SAMPLES = locate("sample:doccano").parent

FORMAT_OF_SAMPLE = {
    "c3/train.json": "c3",
    "cail_scm/train.json": "cail_scm",
    "chid/train.json": "chid",
    "cluener/train.json": "cluener",
    "cluewsc2020/train.json": "cluewsc",
    "cmeee/train.json": "cmeee",
    "cmeie/train.json": "spo",
    "cmrc2018/train.json": "squad",
    "dialogue/train.jsonl": "dialogue",
    "doccano/train.jsonl": "doccano",
    "kdconv/train.json": "kdconv",
    "msra/train.txt": "bio",
    "prompts/train.jsonl": "prompt",
    "smp2019/train.json": "nlu",
    "sst2/train.tsv": "tsv",
    "tnews/train.json": "jsonl",
    "utc/train.txt": "utc",
    "wikitext/train.tokens": "documents",
}


@pytest.mark.parametrize(("name", "format"), FORMAT_OF_SAMPLE.items())
def test_samples(name: str, format: str) -> None:
    found = guess(SAMPLES / name)
    assert found.format == format
    assert found.language == ("en" if name.split("/")[0] in ("sst2", "wikitext") else "zh")


def test_every_format_has_a_task_that_reads_it() -> None:
    assert TASK_OF_FORMAT.keys() == FORMATS.keys()
    for format, name in TASK_OF_FORMAT.items():
        assert name in TASKS
        assert format in task(name).formats


def test_labels_and_relations() -> None:
    found = guess(SAMPLES / "doccano" / "train.jsonl")
    assert set(found.labels) == {"人物", "组织机构", "地点", "时间"}
    assert set(found.relations) == {"人物"}
    assert found.characters > 10


def _write(folder: Path, name: str, rows: list[Any] | str) -> Path:
    path = folder / name
    text = rows if isinstance(rows, str) else "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


PAIR = {"text": "sentence1", "text_pair": "sentence2"}
TITLE = {"text": "title", "label": "kind"}


@pytest.mark.parametrize(
    ("name", "rows", "format", "options", "task_name"),
    [
        ("a.tsv", "sentence1\tlabel\tsentence2\na\t1\tb\n", "tsv", PAIR, None),
        ("a.csv", "很好,1\n不错的一家店,1\n不好吃,0\n", "csv", {"text": 0, "label": 1}, None),
        ("a.csv", "label,review\n1,\"good, cheap\"\n0,bad\n", "csv", {"text": "review"}, None),
        ("a.txt", "1\t很好的东西\n0\t不好的东西\n1\t好\n", "tsv", {"text": 1, "label": 0}, None),
        ("a.jsonl", [{"source": "甲", "target": "乙"}], "jsonl", {"text": "source", "label": "target"}, "generation"),
        ("a.jsonl", [{"kind": "a", "title": "x"}, {"kind": "a", "title": "y"}], "jsonl", TITLE, None),
        ("a.jsonl", [{"text": "alone"}], "jsonl", {"label": None}, "language_modeling"),
        ("a.jsonl", [["你好", "你好"]], "lccc", None, None),
        ("a.jsonl", [{"text": "王芳", "label": [[0, 2, "人"]]}], "doccano", None, None),
        ("a.txt", "王 B-PER\n芳 I-PER\n\n来 O\n", "bio", None, None),
        ("a.txt", "王 B-PER\n晓 M-PER\n芳 E-PER\n", "bmes", None, None),
        ("a.txt", "王 B-PER\n芳 E-PER\n来 S-X\n", "conll", None, None),
        ("a.txt", "一段文字\n又一段\n\n另一篇\n", "documents", None, None),
        ("a.json", '[\n {"data": {"text": "x"}, "annotations": []}\n]', "label_studio", None, None),
    ],
)  # fmt: skip
def test_small_files(
    tmp_path: Path, name: str, rows: Any, format: str, options: dict[str, Any] | None, task_name: str | None
) -> None:
    found = guess(_write(tmp_path, name, rows))
    assert found.format == format
    assert found.options.get("columns") == options
    assert found.task == (task_name or TASK_OF_FORMAT[format])


def test_scores_and_lists_of_labels(tmp_path: Path) -> None:
    scores = guess(_write(tmp_path, "a.tsv", "sentence1\tsentence2\tscore\na\tb\t1.5\n"))
    assert scores.options["label_type"] == "score"
    assert guess(_write(tmp_path, "b.jsonl", [{"text": "x", "label": ["a", "b"]}])).several_labels


def test_known_format_is_kept(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.jsonl", [{"text": "王芳", "entities": []}])
    assert guess(path, "jsonl").format == "jsonl"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"{broken\n", b"", b"[1, 2"])
def test_no_file_makes_it_fail_otherwise_than_with_a_located_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    try:
        assert guess(path).format in FORMATS
    except DataError as error:
        assert error.at is not None
