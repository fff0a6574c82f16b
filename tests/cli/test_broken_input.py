"""Broken data files of every format on the command line: a located error, exit code 3, and nothing left behind."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Zoo
from tests.data.test_readers import SAMPLES
from zoo_cli.data.formats import FORMATS

RECIPES = {
    "TaggedTokens": "ernie-3.0/msra_ner",
    "AnnotatedText": "uie/custom",
    "PromptExample": "uie/custom",
    "TextExample": "bert/sst2",
    "QuestionExample": "ernie-3.0/cmrc2018",
    "ChoiceExample": "ernie-3.0/c3",
    "OptionExample": "utc/custom",
    "DialogueExample": "plato/custom",
    "nlu": "ernie-3.0/intent_slot",
    "spo": "ernie-health/cmeie",
    "cmeee": "ernie-health/cmeee",
    "cail_scm": "ernie-3.0/cail_scm",
    "chid": "ernie-3.0/chid",
    "documents": "gpt/custom_text",
}
"""Recipe that reads a format, or all formats with a kind of example."""
LONG = 3_000_000


def sample(name: str) -> bytes:
    return SAMPLES[name].encode()


def truncated(name: str) -> bytes:
    """Cut in the middle of a compressed file."""
    packed = gzip.compress(sample(name) * 40, mtime=0)
    return packed[: len(packed) // 2]


def cut(name: str) -> bytes:
    """Cut in the middle of the last line that has something in it."""
    lines = sample(name).rstrip().splitlines(keepends=True)
    last = lines[-1].rstrip()
    return b"".join(lines[:-1]) + last[: max(1, len(last) // 2)]


def chinese_encoding(name: str) -> bytes:
    return (SAMPLES[name].rstrip("\n") + "\n").encode("gb18030") + "好\t好\n".encode("gb18030")


def wide_encoding(name: str) -> bytes:
    return SAMPLES[name].encode("utf-16")


def wrong_columns(name: str) -> bytes:
    """Other names, or fewer columns, than the format has."""
    if name in ("bio", "bmes", "conll"):
        return b"one two three\nfour\n"
    if name == "csv":
        return b"words,class\na,b\n"
    if name == "tsv":
        return b"words\tclass\na\tb\n"
    if name == "lccc":
        return b'{"turns": 3}\n'
    if name == "documents":
        return b"\xff\xfe"
    return "".join(
        json.dumps(_renamed(json.loads(line)), ensure_ascii=False) + "\n" for line in SAMPLES[name].splitlines()
    ).encode()


def _renamed(value: Any) -> Any:
    """Keys renamed; of lists without keys the innermost ones replaced."""
    if isinstance(value, dict):
        return {f"{key}_x": _renamed(each) for key, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return [_renamed(each) for each in value]
    return 7 if isinstance(value, list) else value


def huge_line(name: str) -> bytes:
    """A line of megabytes that is broken at its end."""
    if FORMATS[name].layout != "lines" or sample(name).lstrip()[:1] in (b"{", b"["):
        return b'[{"text": "' + b"a" * LONG
    return sample(name) + b"a" * LONG + b"\xff\n"


MUTATIONS: list[Callable[[str], bytes]] = [truncated, cut, chinese_encoding, wide_encoding, wrong_columns, huge_line]
HARMLESS = {("cut", name) for name in ("bio", "bmes", "conll", "csv", "tsv", "documents", "lccc")}
"""What may still be whole by accident: a shorter last field."""


def located(code: int, out: str, path: Path) -> None:
    """An error of data with its place, and no more words than a person reads."""
    assert code == 3, out[-1000:]
    found = json.loads(out.splitlines()[-1])["errors"]
    assert found and all(error["exit_code"] == 3 for error in found)
    assert all(error["file"] == str(path) and error["line"] for error in found)
    assert all(len(error["message"]) < 500 for error in found)


def overrides(path: Path, name: str) -> list[str]:
    recipe = RECIPES.get(name) or RECIPES[FORMATS[name].example]
    values = [f"data.train={json.dumps([str(path)])}", "data.dev=[]", "data.dev_fraction=0.0"]
    return ["-r", recipe, "--tiny", *values, f"data.format={name}", "data.options={}", "data.labels={}", "--json"]


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("name", FORMATS)
def test_broken_files(zoo: Zoo, tmp_path: Path, name: str, mutation: Callable[[str], bytes]) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(mutation(name))
    harmless = (mutation.__name__, name) in HARMLESS
    commands = [["data", "check", *overrides(path, name)]]
    if FORMATS[name].layout != "tree":
        commands.append(["data", "split", str(path), "parts", "--format", name, "--sizes", "0.5,0.5", "--json"])
    if FORMATS[name].example in ("AnnotatedText", "TaggedTokens", "TextExample"):
        commands.append(["data", "convert", str(path), "out.txt", "--format", name, "--to", "doccano", "--json"])
        commands.append(["data", "convert", str(path), "parts", "--format", name, "--split", "0.5,0.5", "--json"])
    for command in commands:
        code, out, said = zoo(*command)
        assert len(said) < 5000
        if harmless and code == 0:
            continue
        located(code, out, path)
        assert list(Path.cwd().rglob("*")) == [], command


@pytest.mark.parametrize("name", ["bio", "doccano", "tsv", "jsonl", "squad", "chid", "dialogue", "utc"])
def test_training_on_broken_files_leaves_no_run(zoo: Zoo, tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.txt"
    path.write_bytes(sample(name) + b"\xff\n")
    code, out, _ = zoo("finetune", *overrides(path, name))
    located(code, out, path)
    assert list(Path.cwd().rglob("*")) == []
