"""Annotated texts of CMeEE, CMeIE, DuIE and SMP 2019."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError
from zoo_cli.data.corpora import nearest, occurrences
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.data.readers import read
from zoo_cli.data.splits import split_file


@pytest.fixture
def load(tmp_path: Path) -> Any:
    """Reads rows written as JSON lines, or as one list."""

    def read_rows(format: str, *rows: dict[str, Any], as_list: bool = False, **options: Any) -> list[AnnotatedText]:
        path = tmp_path / "rows.json"
        content = json.dumps(rows) if as_list else "".join(json.dumps(row) + "\n" for row in rows)
        path.write_text(content, encoding="utf-8")
        return list(read(path, format, options))  # type: ignore[arg-type]

    return read_rows


def spans(example: AnnotatedText) -> list[tuple[str, int, int]]:
    return [(entity.label, entity.start, entity.end) for entity in example.entities]


def triples(example: AnnotatedText) -> list[tuple[str, str, str]]:
    words = {entity.id: example.text[entity.start : entity.end] for entity in example.entities}
    return [(words[relation.head], relation.label, words[relation.tail]) for relation in example.relations]


@pytest.mark.parametrize("as_list", [False, True])
def test_ends_of_cmeee_are_inclusive(load: Any, as_list: bool) -> None:
    entities = [
        {"start_idx": 0, "end_idx": 4, "type": "sym", "entity": "右肺有阴影"},
        {"start_idx": 0, "end_idx": 1, "type": "bod", "entity": "右肺"},
    ]
    (example,) = load("cmeee", {"text": "右肺有阴影。", "entities": entities}, as_list=as_list)
    assert spans(example) == [("sym", 0, 5), ("bod", 0, 2)]
    with pytest.raises(DataError) as caught:
        load("cmeee", {"text": "右肺。", "entities": [{"start_idx": 0, "end_idx": 0, "type": "bod", "entity": "右肺"}]})
    assert caught.value.code == "bad-offset"


def test_triples_get_places(load: Any) -> None:
    spo = {"predicate": "导致", "subject": "肾炎", "subject_type": "疾病"}
    row = {
        "text": "肾炎：紫癜性肾炎导致血尿",
        "spo_list": [
            {**spo, "object": {"@value": "血尿"}, "object_type": {"@value": "症状"}, "Combined": True},
            {**spo, "object": "紫癜", "object_type": "症状"},
            {**spo, "object": {"@value": "血尿"}, "object_type": {"@value": "症状"}},
        ],
    }
    (example,) = load("spo", row)
    assert spans(example) == [("疾病", 6, 8), ("症状", 10, 12), ("疾病", 0, 2), ("症状", 3, 5)]
    assert triples(example) == [("肾炎", "导致", "血尿"), ("肾炎", "导致", "紫癜")]


def test_further_slots_are_predicates_of_their_own(load: Any) -> None:
    objects = {"@value": "李白", "inWork": "长安", "onDate": ""}
    types = {"@value": "人物", "inWork": "影视作品"}
    row = {"subject": "王芳", "predicate": "饰演", "object": objects, "object_type": types}
    (example,) = load("spo", {"text": "王芳在长安里饰演李白", "spo_list": [row]})
    assert triples(example) == [("王芳", "饰演", "李白"), ("王芳", "饰演_inWork", "长安")]


def test_triples_that_are_not_in_the_text_are_left_out(load: Any, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"subject": "天", "predicate": "是", "object": value} for value in ("地", "海", "")]
    with caplog.at_level(logging.WARNING):
        (example,) = load("spo", {"text": "天地", "spo_list": rows})
    assert triples(example) == [("天", "是", "地")]
    assert "2 triples" in caplog.text


def test_a_schema_file_is_heeded(load: Any, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    kinds = [
        {"subject_type": "疾病", "predicate": "导致", "object_type": "症状"},
        {"subject_type": "人", "predicate": "饰演", "object_type": {"@value": "人", "inWork": "作品"}},
    ]
    schema.write_text("".join(json.dumps(kind) + "\n" for kind in kinds), encoding="utf-8")
    spo = {"subject": "天", "subject_type": "疾病", "predicate": "导致", "object": "地", "object_type": "症状"}
    acted = {"subject": "天", "subject_type": "人", "predicate": "饰演", "object": {"@value": "地", "inWork": "地"}}
    acted["object_type"] = {"@value": "人", "inWork": "作品"}
    load("spo", {"text": "天地", "spo_list": [spo, acted]}, schema_file=str(schema))
    with pytest.raises(DataError) as caught:
        load("spo", {"text": "天地", "spo_list": [{**spo, "object_type": "人"}]}, schema_file=str(schema))
    assert caught.value.code == "unknown-kind" and caught.value.at is not None and caught.value.at.line == 1


TEXTS = st.text("ab", max_size=8)


@given(TEXTS, st.text("ab", min_size=1, max_size=3), st.text("ab", min_size=1, max_size=3))
def test_nearest_places(text: str, first: str, second: str) -> None:
    found = nearest(text, first, second)
    pairs = [(i, j) for i in range(len(text)) for j in range(len(text))]
    pairs = [(i, j) for i, j in pairs if text.startswith(first, i) and text.startswith(second, j)]

    def gap(pair: tuple[int, int]) -> int:
        return max(pair[1] - pair[0] - len(first), pair[0] - pair[1] - len(second))

    apart = [(gap(pair), *pair) for pair in pairs if gap(pair) >= 0]
    if apart:
        assert found == min(apart)[1:]
    else:
        assert found in pairs if pairs else found is None


def test_nearest_places_in_long_texts() -> None:
    assert nearest("a" * 20_000, "a", "aa") == (0, 1)
    assert occurrences("aaa", "aa") == [0, 1] and occurrences("a", "") == []


def test_slots_by_value(load: Any) -> None:
    rows = [
        {"text": "从京到京城", "domain": "bus", "intent": "QUERY", "slots": {"to": "京", "city": ["京城"]}},
        {"text": "好", "domain": "joke", "intent": float("nan"), "slots": {}},
        {"text": "好"},
    ]
    first, second, third = load("nlu", *rows, as_list=True)
    assert (spans(first), first.classes) == ([("to", 1, 2), ("city", 3, 5)], ["bus.QUERY"])
    assert (spans(second), second.classes, third.classes) == ([], ["joke"], [])
    with pytest.raises(DataError) as caught:
        load("nlu", {"text": "天", "slots": {"a": "地"}})
    assert caught.value.code == "not-in-text"


def test_slots_by_place(load: Any) -> None:
    row = {"text": "放我们都一样", "intent": "music.play", "slots": [{"slot": "song", "start": 1, "end": 6}]}
    (example,) = load("nlu", row)
    assert (spans(example), example.classes) == ([("song", 1, 6)], ["music.play"])
    with pytest.raises(DataError):
        load("nlu", {**row, "slots": [{"slot": "song", "start": 1, "end": 7}]})


def test_files_of_rows_are_split_however_they_are_written(tmp_path: Path) -> None:
    rows = [{"text": str(number), "label": "a"} for number in range(10)]
    for content in (json.dumps(rows, indent=1), "".join(json.dumps(row) + "\n" for row in rows)):
        path = tmp_path / "rows.json"
        path.write_text(content, encoding="utf-8")
        assert split_file(path, "jsonl", tmp_path / "parts", {"train": 7, "dev": 3}) == {"train": 7, "dev": 3}
        parts = [list(read(tmp_path / "parts" / f"{name}.json", "jsonl")) for name in ("train", "dev")]
        assert sorted(example.text for part in parts for example in part) == [row["text"] for row in rows]  # type: ignore[union-attr]
