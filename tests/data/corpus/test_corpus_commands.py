"""`zoo data corpus` from raw text to a merged corpus and a vocabulary."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.data.corpus.corpora import VOCABULARIES, corpus_bytes, documents, tokenizer, write_text
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.cli.corpus import app
from zoo_cli.data.corpus.format import open_corpus
from zoo_cli.tokenizers import load

WORDPIECE = str(VOCABULARIES / "wordpiece")


def run(*arguments: object) -> Any:
    """The JSON that a command writes."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_text_and_json_lines_give_the_same_corpus(tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", 12)
    lines = tmp_path / "a.jsonl"
    lines.write_text("".join(json.dumps({"body": "\n".join(each)}) + "\n" for each in documents(12)))
    first = run("build", text, "-o", tmp_path / "t", "-t", WORDPIECE, "--nproc", 1)
    second = run("build", lines, "-o", tmp_path / "j", "-t", WORDPIECE, "--json-key", "body", "--nproc", 1)
    assert first["documents"] == second["documents"] == 12
    one, other = open_corpus(tmp_path / "t"), open_corpus(tmp_path / "j")
    for name in ("ids", "lens", "docs"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    sentence = documents(12)[0][0]
    assert tokenizer().encode_pieces([sentence]).ids.tolist() == one.ids[: one.lens[0]].tolist()


@pytest.mark.parametrize("size", [1, 40])
def test_shards_of_any_text_merge_to_the_corpus_of_one_build(tmp_path: Path, size: int) -> None:
    """Small files are one piece of work, so that all shards but one are empty."""
    text = write_text(tmp_path / "a.txt", size)
    run("build", text, "-o", tmp_path / "whole", "-t", WORDPIECE, "--nproc", 1)
    for number in range(3):
        run("build", text, "-o", tmp_path / "parts", "-t", WORDPIECE, "--nproc", 1, "--shard", f"{number}/3")
    assert run("merge", tmp_path / "parts")["documents"] == size
    assert corpus_bytes(tmp_path / "parts") == corpus_bytes(tmp_path / "whole")


def test_shards_without_any_text_do_not_merge(tmp_path: Path) -> None:
    empty = tmp_path / "a.txt"
    empty.write_text("\n \n")
    for number in range(2):
        run("build", empty, "-o", tmp_path / "c", "-t", WORDPIECE, "--nproc", 1, "--shard", f"{number}/2")
    with pytest.raises(DataError) as caught:
        run("merge", tmp_path / "c")
    assert caught.value.code == "empty-corpus"


def test_statistics_count_marks_and_unknown_tokens(tmp_path: Path) -> None:
    text = write_text(tmp_path / "a.txt", 8)
    run("build", text, "-o", tmp_path / "c", "-t", WORDPIECE, "--segmenter", "jieba", "--nproc", 1)
    figures = run("stats", tmp_path / "c", "-t", WORDPIECE)
    assert figures["documents"]["count"] == 8
    assert figures["tokens"] == len(open_corpus(tmp_path / "c").ids)
    assert figures["continuing"] > 0
    assert 0 <= figures["unknown"] < figures["tokens"]


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [("ErnieTokenizer", 600, ["--alphabet", 500]), ("GPTTokenizer", 400, []), ("GPTChineseTokenizer", 700, [])],
)
def test_a_new_vocabulary_builds_a_corpus(tmp_path: Path, name: str, size: int, options: list[object]) -> None:
    text = write_text(tmp_path / "a.txt", 60)
    report = run("vocab", text, "-o", tmp_path / "vocab", "--tokenizer-class", name, "--size", size, *options)
    loaded = load(tmp_path / "vocab")
    assert (type(loaded).__name__, len(loaded)) == (name, report["size"])
    splitting = [] if name == "ErnieTokenizer" else ["--sentences", "none", "--append-eos"]
    run("build", text, "-o", tmp_path / "c", "-t", tmp_path / "vocab", "--nproc", 1, *splitting)
    corpus = open_corpus(tmp_path / "c")
    assert corpus.documents == 60
    if splitting:
        ends = np.cumsum(corpus.lens) - 1
        assert set(corpus.ids[ends].tolist()) == {loaded.eos_token_id}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--shard", "2/2"], "bad-shard"),
        (["--shard", "two"], "bad-shard"),
        (["--sentences", "words"], "bad-option"),
        (["--append-eos"], "bad-option"),
        (["--encoding", "utf-16"], "bad-encoding-name"),
        (["--segmenter", "no_such_package:cut"], "unknown-segmenter"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: list[str], code: str) -> None:
    text = write_text(tmp_path / "a.txt", 2)
    with pytest.raises(UsageError) as caught:
        run("build", text, "-o", tmp_path / "c", "-t", WORDPIECE, *arguments)
    assert caught.value.code == code
    assert not list(tmp_path.glob("c_*"))
