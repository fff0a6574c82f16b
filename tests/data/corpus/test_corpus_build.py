"""Building: the same bytes however the work is done, and a word about everything that is left out."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.data.corpus.corpora import VOCABULARIES, corpus_bytes, documents, sentences, tokenizer, write_text
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.cli.corpus import app
from zoo_cli.data.corpus.builder import BUILDING, build_corpus
from zoo_cli.data.corpus.encoding import EncodingOptions
from zoo_cli.data.corpus.format import open_corpus
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.merging import merge_shards
from zoo_cli.data.corpus.reading import ReadingOptions

LINES = EncodingOptions(sentences="lines")
MARKED = EncodingOptions(sentences="lines", segmenter="separated")


def texts_of(prefix: Path) -> list[list[list[int]]]:
    """Ids of each sentence of each document."""
    corpus = open_corpus(prefix)
    ends = np.cumsum(corpus.lens)[:-1]
    found = [part.tolist() for part in np.split(corpus.ids, ends)]
    return [found[a:b] for a, b in zip(corpus.docs[:-1], corpus.docs[1:], strict=True)]


def ids_of(text: str, name: str = "wordpiece") -> list[int]:
    return tokenizer(name).encode_batch([text], add_special_tokens=False)[0].ids.tolist()


def test_documents_sentences_and_ids(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 30)
    report = build_corpus([source], tmp_path / "c", tokenizer(), encoding=LINES)
    expected = [[ids_of(sentence) for sentence in document] for document in documents(30)]
    assert texts_of(tmp_path / "c") == expected
    assert report["documents"] == 30
    assert report["sentences"] == sum(map(len, expected))
    assert report["tokens"] == sum(len(ids) for document in expected for ids in document)
    assert report["unknown_tokens"] == sum(
        ids.count(tokenizer().unk_token_id) for document in expected for ids in document
    )
    assert report["faults"] == {}
    assert json.loads((tmp_path / "c_corpus.json").read_text()) == report
    assert open_corpus(tmp_path / "c").ids.dtype == np.uint16
    assert not Path(f"{tmp_path / 'c'}{BUILDING}").exists()


def test_json_lines_and_plain_text_give_the_same(tmp_path: Path) -> None:
    rows = ["\n".join(document) for document in documents(30)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"body": row}) + "\n" for row in rows), encoding="utf-8")
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    write_text(tmp_path / "c.txt", 30)
    reading = ReadingOptions(json_key="body")
    for source in ("a.jsonl", "b.jsonl.gz", "c.txt"):
        build_corpus([tmp_path / source], tmp_path / source[0], tokenizer(), reading, LINES)
    assert texts_of(tmp_path / "a") == texts_of(tmp_path / "b") == texts_of(tmp_path / "c")


@pytest.mark.parametrize("piece_bytes", [1, 7, 100, 1000, 1 << 20])
def test_pieces_do_not_change_the_corpus(tmp_path: Path, piece_bytes: int) -> None:
    text = "\n\n \n甲乙\n丙丁\n\t\n\n戊己\n \n" + "庚" * 50 + "\n\n\n\n辛壬\r\n癸\r\n\r\n子丑"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    build_corpus([tmp_path / "a.txt"], tmp_path / "c", tokenizer(), encoding=LINES, piece_bytes=piece_bytes)
    expected = [["甲乙", "丙丁"], ["戊己"], ["庚" * 50], ["辛壬", "癸"], ["子丑"]]
    assert texts_of(tmp_path / "c") == [[ids_of(sentence) for sentence in document] for document in expected]


def test_neither_processes_nor_shards_change_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write_text(folder / f"{number}.txt", 40, seed=number)
    (folder / "notes.pdf").write_bytes(b"x")
    (folder / "z.jsonl").write_bytes(b'{"text": "\\ud800"}\nno json\n{"text": "\xe5\x8c\x97\xe4\xba\xac"}\n')

    def build(name: str, **how: object) -> None:
        build_corpus([folder], tmp_path / name, tokenizer(), encoding=MARKED, piece_bytes=1500, **how)  # type: ignore[arg-type]

    build("one")
    build("two", processes=2)
    for number in range(3):
        build("three", shard=(number, 3))
    report = merge_shards(tmp_path / "three")
    assert corpus_bytes(tmp_path / "one") == corpus_bytes(tmp_path / "two") == corpus_bytes(tmp_path / "three")
    assert report["ignored_files"] == 1
    assert report["faults"]["broken-json"] == {"count": 1, "at": [f"{folder / 'z.jsonl'}:2"]}
    assert report["faults"]["bad-encoding"]["at"] == [f"{folder / 'z.jsonl'}:1"]


def test_a_missing_or_different_shard_is_refused(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 40)
    build_corpus([source], tmp_path / "c", tokenizer(), encoding=LINES, shard=(0, 2), piece_bytes=500)
    with pytest.raises(DataError, match="of 2 shards there are 1"):
        merge_shards(tmp_path / "c")
    build_corpus([source], tmp_path / "c", tokenizer(), encoding=MARKED, shard=(1, 2), piece_bytes=500)
    with pytest.raises(DataError, match="other options"):
        merge_shards(tmp_path / "c")
    with pytest.raises(DataError, match="none"):
        merge_shards(tmp_path / "other")


BUILD = """
import os, signal, sys
from pathlib import Path
from tests.data.corpus.corpora import tokenizer
from zoo_cli.data.corpus import builder
from zoo_cli.data.corpus.encoding import EncodingOptions
source, prefix, last = sys.argv[1:]
write = builder.write_json

def write_and_die(path, value):
    write(path, value)
    if value.get("pieces") == int(last):
        os.kill(os.getpid(), signal.SIGKILL)  # the workers notice by themselves

builder.write_json = write_and_die
marked = EncodingOptions(sentences="lines", segmenter="separated")
builder.build_corpus([Path(source)], prefix, tokenizer(), encoding=marked, processes=2, piece_bytes=4000, resume=True)
"""


def build_until(source: Path, prefix: Path, last: int) -> int:
    """Build, or go on, in another process, which is killed when it has done so many pieces; its exit code."""
    command = [sys.executable, "-c", BUILD, str(source), str(prefix), str(last)]
    return subprocess.run(command, start_new_session=True, check=False).returncode


def test_a_killed_build_goes_on_and_gives_the_same_files(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 1500)
    build_corpus([source], tmp_path / "whole", tokenizer(), encoding=MARKED, piece_bytes=4000)
    state = Path(f"{tmp_path / 'cut'}{BUILDING}") / "state.json"
    for last in (2, 5, 9):
        assert build_until(source, tmp_path / "cut", last) == -signal.SIGKILL
        assert json.loads(state.read_text())["pieces"] == last
    assert not Path(f"{tmp_path / 'cut'}_ids.npy").exists()
    with pytest.raises(UsageError) as caught:
        build_corpus([source], tmp_path / "cut", tokenizer(), encoding=MARKED, piece_bytes=4000)
    assert caught.value.code == "build-unfinished"
    with pytest.raises(UsageError, match="encoding") as caught:
        build_corpus([source], tmp_path / "cut", tokenizer(), encoding=LINES, piece_bytes=4000, resume=True)
    assert caught.value.code == "build-changed"
    assert build_until(source, tmp_path / "cut", -1) == 0
    assert corpus_bytes(tmp_path / "cut") == corpus_bytes(tmp_path / "whole")


@pytest.mark.parametrize("crash", ["write_index", "ArrayWriter.close", "line_number", "shutil.rmtree"])
def test_a_build_that_dies_while_it_finishes_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "北京"}\nbroken\n{"text": "上海"}\n', encoding="utf-8")
    build_corpus([source], tmp_path / "whole", tokenizer())

    def die(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"zoo_cli.data.corpus.builder.{crash}", die)
        with pytest.raises(KeyboardInterrupt):
            build_corpus([source], tmp_path / "cut", tokenizer())
    build_corpus([source], tmp_path / "cut", tokenizer(), resume=True)
    assert corpus_bytes(tmp_path / "cut") == corpus_bytes(tmp_path / "whole")


def test_a_finished_corpus_is_replaced_only_by_force(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 3)
    build_corpus([source], tmp_path / "c", tokenizer())
    with pytest.raises(UsageError) as caught:
        build_corpus([source], tmp_path / "c", tokenizer(), resume=True)
    assert caught.value.code == "corpus-exists"
    write_text(source, 5)
    assert build_corpus([source], tmp_path / "c", tokenizer(), force=True)["documents"] == 5


def test_faults_are_counted_and_located(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    good = json.dumps({"text": "北京"}, ensure_ascii=False).encode()
    lines = [
        good,
        b"{",
        good,
        b'{"text": 3}',
        b"[1]",
        b'{"text": "\xff"}',
        b'{"text": " "}',
        b"",
        b'"' + b"x" * 5000,
        good,
    ]
    source.write_bytes(b"\n".join(lines))
    report = build_corpus([source], tmp_path / "c", tokenizer(), ReadingOptions(line_bytes=4000))
    assert report["documents"] == 3
    assert report["faults"] == {
        "bad-encoding": {"count": 1, "at": [f"{source}:6"]},
        "broken-json": {"count": 1, "at": [f"{source}:2"]},
        "empty-document": {"count": 1, "at": []},
        "long-line": {"count": 1, "at": [f"{source}:9"]},
        "no-text": {"count": 2, "at": [f"{source}:4", f"{source}:5"]},
    }


def test_faults_inside_of_text_documents(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes("\ufeff北京\n".encode() + b"\xff\xfe\n" + "上海".encode() + b"\n\n\xff\n\n" + b"x" * 300 + b"\n")
    report = build_corpus([source], tmp_path / "c", tokenizer(), ReadingOptions(line_bytes=200), LINES)
    assert texts_of(tmp_path / "c") == [[ids_of("北京"), ids_of("上海")]]
    assert {kind: fault["count"] for kind, fault in report["faults"].items()} == {
        "bad-encoding": 2,
        "empty-document": 2,
        "long-line": 1,
    }


@pytest.mark.parametrize("length", [199, 200, 201, 202, 203, 500])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_the_longest_line_that_is_read(tmp_path: Path, length: int, end: bytes) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes(b"ok\n" + b"x" * length + end)
    report = build_corpus([source], tmp_path / "c", tokenizer(), ReadingOptions(line_bytes=200), LINES)
    assert report["sentences"] == (2 if length <= 200 else 1)
    assert report["faults"].get("long-line", {"count": 0})["count"] == (length > 200)


def test_a_damaged_archive_is_read_up_to_the_damage(tmp_path: Path) -> None:
    source = tmp_path / "a.txt.gz"
    write_text(tmp_path / "a.txt", 200)
    source.write_bytes(gzip.compress((tmp_path / "a.txt").read_bytes())[:-100])
    report = build_corpus([source], tmp_path / "c", tokenizer(), encoding=LINES)
    assert report["faults"]["broken-archive"]["count"] == 1
    found = texts_of(tmp_path / "c")
    assert 0 < len(found) <= 200
    assert found[0] == [ids_of(sentence) for sentence in documents(200)[0]]


def test_other_encodings(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_bytes("北京大学\n\n上海".encode("gb18030"))
    build_corpus([source], tmp_path / "c", tokenizer(), ReadingOptions(encoding="gb18030"), LINES)
    assert texts_of(tmp_path / "c") == [[ids_of("北京大学")], [ids_of("上海")]]
    for name in ("utf-16", "no-such-encoding"):
        with pytest.raises(UsageError, match=name):
            ReadingOptions(encoding=name)


def test_an_input_without_text_is_an_error(tmp_path: Path) -> None:
    source = tmp_path / "a.jsonl"
    source.write_text('{"body": "北京"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="no-text 1") as caught:
        build_corpus([source], tmp_path / "c", tokenizer())
    assert caught.value.code == "empty-corpus"
    with pytest.raises(DataError, match="no such file"):
        build_corpus([tmp_path / "nothing"], tmp_path / "c", tokenizer())


def test_long_sentences_are_cut_at_words(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("北京 大学 " * 100 + "\n短句\n\n另 一个\n", encoding="utf-8")
    options = EncodingOptions(sentences="lines", segmenter="separated", sentence_tokens=31)
    report = build_corpus([source], tmp_path / "c", tokenizer(), encoding=options)
    corpus = open_corpus(tmp_path / "c")
    assert corpus.lens.tolist() == [30] * 13 + [10, 2, 3]
    assert corpus.docs.tolist() == [0, 15, 16]
    assert report["faults"]["cut-sentence"]["count"] == 1
    starts = np.cumsum(corpus.lens) - corpus.lens
    assert not word_forms(tokenizer()).continues[corpus.ids[starts]].any()


def test_marks_come_off_again(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 20)
    build_corpus([source], tmp_path / "plain", tokenizer(), encoding=LINES)
    build_corpus([source], tmp_path / "jieba", tokenizer(), encoding=EncodingOptions("lines", "jieba"))
    forms = word_forms(tokenizer())
    plain, marked = (open_corpus(tmp_path / name).ids for name in ("plain", "jieba"))
    assert forms.plain[marked].tolist() == plain.tolist()
    assert 0.2 < (plain != marked).mean() < 0.7


def test_documents_of_gpt(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("One line.\nAnother one.\n\n\nSecond document\n", encoding="utf-8")
    options = EncodingOptions(sentences="none", append_eos=True)
    build_corpus([source], tmp_path / "c", tokenizer("gpt"), encoding=options)
    end = tokenizer("gpt").eos_token_id
    expected = [[[*ids_of(text, "gpt"), end]] for text in ("One line.\nAnother one.", "Second document")]
    assert texts_of(tmp_path / "c") == expected


def test_a_document_that_does_not_end_is_cut(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("ten chars.\n" * 100, encoding="utf-8")
    options = EncodingOptions(sentences="none", append_eos=True)
    report = build_corpus([source], tmp_path / "c", tokenizer("gpt"), ReadingOptions(line_bytes=99), options)
    assert report["documents"] == 10
    assert report["faults"]["cut-document"]["count"] == 9


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    source = write_text(tmp_path / "a.txt", 3)
    with pytest.raises(UsageError, match="GPTTokenizer"):
        build_corpus([source], tmp_path / "c", tokenizer("gpt"), encoding=MARKED)
    with pytest.raises(UsageError, match="end token"):
        build_corpus([source], tmp_path / "c", tokenizer("gpt"), encoding=EncodingOptions(append_eos=True))
    with pytest.raises(UsageError, match="shard 2/2"):
        build_corpus([source], tmp_path / "c", tokenizer(), shard=(2, 2))


def test_command_line(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", 30)
    (tmp_path / "b.jsonl").write_text("broken\n", encoding="utf-8")
    runner = CliRunner()
    vocabulary = str(VOCABULARIES / "wordpiece")
    arguments = [str(tmp_path / "a.txt"), str(tmp_path / "b.jsonl"), "-o", str(tmp_path / "c"), "-t", vocabulary]
    result = runner.invoke(app, ["build", *arguments, "--sentences", "lines", "--nproc", "1"], catch_exceptions=False)
    assert "30 documents" in result.output
    assert "1 lines are not JSON" in result.output
    assert f"{tmp_path / 'b.jsonl'}:1" in result.output
    result = runner.invoke(app, ["stats", str(tmp_path / "c"), "-t", vocabulary, "--json"], catch_exceptions=False)
    figures = json.loads(result.stdout)
    assert figures["documents"]["count"] == 30
    assert figures["sentences"]["count"] == sum(map(len, documents(30)))
    for wrong in (["--sentences", "words"], ["--shard", "1"], ["--format", "pdf"]):
        with pytest.raises(UsageError):
            runner.invoke(app, ["build", *arguments, *wrong], catch_exceptions=False)


def test_memory_does_not_grow_with_the_input(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
from tests.data.corpus.corpora import tokenizer
from zoo_cli.data.corpus.builder import build_corpus
build_corpus([Path(sys.argv[1])], sys.argv[2], tokenizer(), piece_bytes=1 << 18)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    used = []
    line = "".join(sentences()[:20])
    for number, count in enumerate((1000, 16_000)):
        source = tmp_path / f"{number}.txt"
        source.write_text(f"{line}\n" * count, encoding="utf-8")  # one document, up to tens of megabytes
        command = [sys.executable, "-c", program, str(source), str(tmp_path / f"c{number}")]
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        used.append(int(result.stdout))
    assert used[1] < used[0] + 20_000  # kilobytes
