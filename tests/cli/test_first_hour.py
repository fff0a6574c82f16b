"""What newcomers have: exports of doccano as they come, pipes, no terminal, no home folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Zoo
from zoo_cli.data.parts import read_parts
from zoo_cli.recipe.loading import load_recipe

TEXTS = [
    ("张伟1999年加入青河市人民医院，任心内科主任。", [(0, 2, "人物"), (9, 16, "机构")]),
    ("李娜在云安大学学习。", [(0, 2, "人物"), (3, 7, "机构")]),
    ("会议昨天结束了。", []),
]


def with_entities(text: str, spans: list[tuple[int, int, str]]) -> dict[str, Any]:
    entities = [
        {"id": number, "start_offset": start, "end_offset": end, "label": label}
        for number, (start, end, label) in enumerate(spans)
    ]
    return {"id": 7, "text": text, "entities": entities, "relations": [], "Comments": []}


def with_triples(key: str, text_key: str) -> Callable[[str, list[tuple[int, int, str]]], dict[str, Any]]:
    return lambda text, spans: {"id": 7, text_key: text, key: [list(span) for span in spans]}


FORMS = {
    "entities": with_entities,
    "label": with_triples("label", "text"),
    "labels": with_triples("labels", "text"),
    "data": with_triples("label", "data"),
}
LINES = {
    "plain": lambda rows: "\n".join(rows) + "\n",
    "windows": lambda rows: "\ufeff" + "\r\n".join(rows) + "\r\n\r\n",
    "blank lines": lambda rows: "\n\n \n".join(rows),
    "list": lambda rows: "[\n" + ",\n".join(rows) + "\n]\n",
}


@pytest.mark.parametrize("layout", LINES)
@pytest.mark.parametrize("form", FORMS)
def test_exports_of_doccano_are_recognised_and_checked(zoo: Zoo, form: str, layout: str) -> None:
    rows = [json.dumps(FORMS[form](text, spans), ensure_ascii=form == "label") for text, spans in TEXTS]
    Path("export.jsonl").write_bytes(LINES[layout](rows).encode())
    status, _, said = zoo("recipes", "new", "my.yaml", "--train", "export.jsonl")
    assert status == 0
    assert "export.jsonl: doccano, zh; labels: 人物, 机构" in said
    recipe = load_recipe("my.yaml").recipe
    assert recipe.data.format == "doccano"
    assert recipe.task["schema"] == ["人物", "机构"]
    assert {part: len(rows) for part, rows in read_parts(recipe.data, 1, ("train", "dev")).items()} == {
        "train": 2,
        "dev": 1,
    }
    status, shown, _ = zoo("data", "check", "-r", "my.yaml", "--json")
    assert status == 0
    assert json.loads(shown)["parts"][0]["rows"] == 3
    status, _, _ = zoo("data", "check", "-r", "my.yaml", "--fix", "fixed", "--json")
    assert status == 0
    status, _, _ = zoo("data", "split", "export.jsonl", "parts", "--format", "doccano", "--sizes", "2,1", "--json")
    assert status == 0 and {path.name for path in Path("parts").glob("*.jsonl")} == {"train.jsonl", "dev.jsonl"}


@pytest.mark.parametrize(("encoding", "hint"), [("gbk", "-f GB18030"), ("utf-16", "-f UTF-16")])
def test_other_encodings_say_how_to_convert(zoo: Zoo, encoding: str, hint: str) -> None:
    rows = [json.dumps(with_entities(text, spans), ensure_ascii=False) for text, spans in TEXTS]
    Path("export.jsonl").write_bytes(LINES["plain"](rows).encode(encoding))
    status, _, said = zoo("recipes", "new", "my.yaml", "--train", "export.jsonl")
    assert status == 3
    assert "export.jsonl:1:" in said and hint in said
    assert not Path("my.yaml").exists()


def test_offsets_that_cannot_be_mended_are_left_to_a_person(zoo: Zoo) -> None:
    row = with_entities(TEXTS[1][0], [(0, 99, "人物")])
    Path("export.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert zoo("recipes", "new", "my.yaml", "--train", "export.jsonl")[0] == 0
    status, shown, said = zoo("data", "check", "-r", "my.yaml")
    assert status == 3 and "export.jsonl:1" in shown and "--fix FOLDER" in said
    status, _, said = zoo("data", "check", "-r", "my.yaml", "--fix", "fixed")
    assert status == 3 and "by hand" in said


def test_files_that_are_empty_or_not_there(zoo: Zoo) -> None:
    Path("empty.jsonl").write_text("\n")
    status, _, said = zoo("recipes", "new", "my.yaml", "--train", "empty.jsonl")
    assert status == 3 and "empty.jsonl:1" in said and not Path("my.yaml").exists()
    status, _, said = zoo("recipes", "new", "my.yaml", "--train", "C:\\Users\\me\\train.jsonl")
    assert status == 0 and "C:\\Users\\me\\train.jsonl is not there yet" in said
    assert load_recipe("my.yaml").recipe.data.train == ["C:\\Users\\me\\train.jsonl"]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("serve nowhere", 4),
        ("verify nowhere", 4),
        ("export --from nowhere", 4),
        ("quantize --from nowhere", 4),
        ("predict --from nowhere --input x.txt", 4),
        ("bench nowhere", 4),
        ("serve -r nowhere", 2),
    ],
)
def test_inputs_that_are_not_there_are_named(zoo: Zoo, command: str, status: int) -> None:
    found, _, said = zoo(*command.split())
    assert found == status and "nowhere" in said and "fix:" in said


def test_a_project_folder_says_what_comes_next(zoo: Zoo) -> None:
    status, _, said = zoo("init", "mine")
    assert status == 0 and "next: `cd mine`" in said and "mine/data/train.jsonl is not there yet" in said


def test_a_question_that_nobody_answers(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        status, _, said = zoo("recipes", "new", "my.yaml", "--ask")
    assert status == 2 and "[no-answer]" in said and not Path("my.yaml").exists()


def test_no_home_folder(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    status, _, said = zoo("cache", "list")
    assert status == 5 and "[no-home]" in said and "ZOO_HOME" in said
    monkeypatch.setenv("ZOO_HOME", "cache")
    assert zoo("cache", "list")[0] == 0


def test_terminals_without_chinese_and_readers_that_go_away() -> None:
    code = "import sys; from zoo_cli.cli.app import main; sys.argv = ['zoo', *sys.argv[1:]]; main()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "ZOO_LANG": "zh"}
    words = [sys.executable, "-c", code, "explain", "wrong-call"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "\\u" in done.stdout and done.stderr == ""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.returncode == 0 and done.stderr == b""
