"""Results as annotations and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from tests.tasks.closed_extraction.test_task import ANSWER, EXAMPLE, TEXT, annotated, make
from zoo_cli.data.annotations import read_doccano
from zoo_cli.data.examples import AnnotatedText, Entity, Relation
from zoo_cli.data.formats import NoOptions
from zoo_cli.tasks.closed_extraction.gold import annotation_row, example_of, gold_answers, items

SLOTS = make().layout.slots


@settings(max_examples=80, deadline=None)
@given(annotated())
def test_results_survive_as_annotations(example: AnnotatedText) -> None:
    answers = gold_answers(example, SLOTS, "##")
    row = json.loads(json.dumps(annotation_row(example.text, answers, SLOTS, "##")))
    assert gold_answers(example_of(row, 1.0, "##"), SLOTS, "##") == answers


def test_rows_are_doccanos(tmp_path: Path) -> None:
    row = annotation_row(TEXT, make().gold(EXAMPLE), SLOTS, "##")
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8")
    (read,) = read_doccano(path, NoOptions())
    own = example_of(row, 0.0, "##")
    assert (read.entities, read.relations) == (own.entities, own.relations)
    assert {entity.label for entity in read.entities} == {"人物##反对", "人物", "任职于", "作品"}


def test_doubtful_finds_are_left_out() -> None:
    answers: dict[str, Any] = {
        "人物": [
            {
                "text": "王芳",
                "start": 0,
                "end": 2,
                "probability": 0.9,
                "relations": {
                    "任职于": [{"text": "北京大学", "start": 6, "end": 10, "probability": 0.5}],
                    "态度[赞成,反对]": [{"text": "反对", "probability": 0.6}],
                },
            },
            {"text": "李明", "start": 3, "end": 5, "probability": 0.3},
        ],
        "极性[正，负]": [{"text": "负", "probability": 0.7}],
    }
    row = annotation_row(TEXT, answers, SLOTS, "##")

    def kept(threshold: float) -> tuple[set[str], int, list[str]]:
        example = example_of(row, threshold, "##")
        return {entity.label for entity in example.entities}, len(example.relations), example.classes

    assert kept(0.0) == ({"人物##反对", "人物", "任职于"}, 1, ["负"])
    assert kept(0.5) == ({"人物##反对", "任职于"}, 1, ["负"])
    assert kept(0.6) == ({"人物##反对"}, 0, ["负"])
    assert kept(0.65) == ({"人物"}, 0, ["负"])
    assert kept(0.8) == ({"人物"}, 0, [])
    assert kept(0.95) == (set(), 0, [])


def test_a_class_that_is_no_option_is_no_label() -> None:
    """UIE's classes are pieces of its prompt, and may be the wrong ones."""
    answers = {"人物": [{"text": "王芳", "start": 0, "end": 2, "probability": 1.0, "relations": {
        "态度[赞成,反对]": [{"text": "赞成,反", "probability": 1.0}]
    }}], "极性[正，负]": [{"text": "极性", "probability": 1.0}]}  # fmt: skip
    example = example_of(annotation_row(TEXT, answers, SLOTS, "##"), 0.0, "##")
    assert [entity.label for entity in example.entities] == ["人物"] and example.classes == []
    assert ("极性[正，负]", (), "极性") in set(items(answers, SLOTS))


def test_one_span_of_several_entities() -> None:
    twice = AnnotatedText(
        TEXT,
        [Entity(0, 2, "人物", "a"), Entity(0, 2, "人物##赞成", "b"), Entity(6, 10, "机构", "c")],
        [Relation("任职于", "b", "c")],
    )
    (person,) = gold_answers(twice, SLOTS, "##")["人物"]
    assert set(person["relations"]) == {"任职于", "态度[赞成,反对]"}


def test_items_are_told_apart_by_what_they_belong_to() -> None:
    found = set(items(make().gold(EXAMPLE), SLOTS))
    assert len(found) == 7
    assert ("人物.任职于", ((0, 2), (6, 10)), "") in found and ("人物.任职于", ((3, 5), (6, 10)), "") in found
    assert ("人物.态度[赞成,反对]", ((0, 2),), "反对") in found
    assert set(items(ANSWER, SLOTS)) == found
    assert set(items({"地点": [{"text": "x", "start": 0, "end": 1}]}, SLOTS)) == set()


def test_broken_annotations() -> None:
    from zoo_cli.base.errors import DataError

    with pytest.raises(DataError):
        gold_answers(AnnotatedText("天", [Entity(0, 5, "人物", "a")]), SLOTS, "##")
    with pytest.raises(DataError):
        gold_answers(AnnotatedText("天", [], [Relation("任职于", "a", "b")]), SLOTS, "##")
