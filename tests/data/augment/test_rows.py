"""Copied rows keep their labels, and files of them read back as the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import UsageError
from zoo_cli.data.augment.copies import Edit
from zoo_cli.data.augment.rows import copy_row, free, texts_of, writer, written_format
from zoo_cli.data.augment.words import words_of
from zoo_cli.data.examples import AnnotatedText, Entity, Relation, TaggedTokens, TextExample
from zoo_cli.data.formats import FORMATS
from zoo_cli.data.readers import parse_options, read


def replace_all(row: Any, **other: str) -> Any:
    """A copy of a row in whose last text all free words that are named are replaced."""
    number = len(texts_of(row)) - 1
    words = free(row, list(words_of(texts_of(row)[number])))
    return copy_row(row, number, [Edit(word, other[word.text]) for word in words if word.text in other])


def test_of_a_pair_one_text_changes() -> None:
    copied = replace_all(TextExample("a cat", "the cat sat", "1", "7"), cat="tiger")
    assert copied == TextExample("a cat", "the tiger sat", "1", "7")


def test_spans_move_and_are_not_replaced() -> None:
    text = "yesterday Ann met Bob outside"
    row = AnnotatedText(
        text, [Entity(10, 13, "PER", "a", "Ann"), Entity(18, 21, "PER", "b", "Bob")], [Relation("met", "a", "b")]
    )
    copied = replace_all(row, yesterday="now", met="encountered", Ann="Eve", Bob="Joe", outside="there")
    assert copied.text == "now Ann encountered Bob there"
    assert [copied.text[each.start : each.end] for each in copied.entities] == ["Ann", "Bob"]
    assert copied.relations == row.relations


def test_tags_stay_with_their_tokens() -> None:
    row = TaggedTokens(["Yesterday", "Ann", "met", "Bob"], ["O", "B-PER", "O", "B-PER"])
    copied = replace_all(row, Yesterday="Today", met="saw", Ann="Eve")
    assert copied == TaggedTokens(["Today", "Ann", "saw", "Bob"], ["O", "B-PER", "O", "B-PER"])


def test_words_of_several_characters_are_replaced_whole() -> None:
    pytest.importorskip("jieba")
    row = TaggedTokens(list("昨天，张文，打开手机"), ["O", "O", "O", "B-PER", "I-PER", *"OOOOO"])
    copied = replace_all(row, 手机="笔记本", 打开="关", 昨天="今", 张文="李")
    assert copied.tokens == list("今，张文，关笔记本")
    assert copied.tags == ["O", "O", "B-PER", "I-PER", *"OOOOO"]


CASES: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("tsv", {"columns": {"text": "sentence", "label": "label"}}, [TextExample("a b", None, "1")]),
    ("tsv", {"columns": {"text": 3, "label": 1}}, [TextExample("it is", None, "0"), TextExample("so", None, "1")]),
    ("tsv", {"columns": {"text": -1, "label": 0, "id": 1}}, [TextExample("it is", None, "0", "n1")]),
    ("csv", {"columns": {"text": "a", "text_pair": "b"}}, [TextExample('he said "no", twice', "line\nbreak", "x")]),
    ("csv", {"columns": {"text": "a"}, "label_separator": ";"}, [TextExample("t", None, ["x", "y"])]),
    ("tsv", {"columns": {"text": "a", "label": None}, "where": {"language": "de"}}, [TextExample("ein Text")]),
    ("jsonl", {"columns": {"text": "s", "label": "y"}, "label_type": "score"}, [TextExample("t", None, 2.5)]),
    ("jsonl", {"columns": {"text": "s", "id": "n"}}, [TextExample("上海\t大", None, ["a", "b"], "3")]),
    ("bio", {}, [TaggedTokens(["a", "b"], ["B-X", "O"]), TaggedTokens(["c"], ["O"])]),
    ("conll", {"token_column": 1, "tag_column": 0}, [TaggedTokens(["a", "b"], ["B-X", "O"])]),
    ("bmes", {"separator": "space", "position_suffix": True}, [TaggedTokens(["a1", "b"], ["S-X", "O"])]),
    ("bio", {"tag_column": None}, [TaggedTokens(["a", "b"])]),
]


@pytest.mark.parametrize(("name", "options", "rows"), CASES)
def test_what_is_written_reads_back(tmp_path: Path, name: str, options: dict[str, Any], rows: list[Any]) -> None:
    head, spell = writer(name, parse_options(name, options))
    (tmp_path / "f").write_text(head + "".join(map(spell, rows)), encoding="utf-8")
    found = list(read(tmp_path / "f", written_format(name), options))
    for row in found:
        row.source = None
    assert found == rows


def test_texts_with_spans_become_doccano_lines(tmp_path: Path) -> None:
    rows = [AnnotatedText("Ann met Bob", [Entity(0, 3, "PER", "0"), Entity(8, 11, "PER", "1")])]
    for name in ("cluener", "spo", "nlu", "label_studio"):
        assert written_format(name) == "doccano"
    _, spell = writer("cluener", parse_options("cluener", {}))
    (tmp_path / "f").write_text("".join(map(spell, rows)), encoding="utf-8")
    (found,) = read(tmp_path / "f", "doccano")
    assert [(each.start, each.end, each.label) for each in found.entities] == [(0, 3, "PER"), (8, 11, "PER")]  # type: ignore[union-attr]


def test_formats_whose_labels_would_not_survive_are_refused() -> None:
    for name in FORMATS:
        if name in ("squad", "prompt", "c3", "chid", "cluewsc", "utc", "dialogue", "documents"):
            with pytest.raises(UsageError) as caught:
                written_format(name)
            assert caught.value.code == "not-augmentable"
