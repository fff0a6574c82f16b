"""What is right and wrong in answers, in the same terms for every task."""

from __future__ import annotations

from typing import Any

import pytest

from zoo_cli.data.examples import (
    AnnotatedText,
    ChoiceExample,
    DialogueExample,
    Entity,
    OptionExample,
    PromptExample,
    QuestionExample,
    Relation,
    Span,
    TaggedTokens,
    TextExample,
)
from zoo_cli.pipeline.analysis import (
    NONE,
    Case,
    Unit,
    case_of,
    confusion,
    joined,
    label_scores,
    lengths,
    thresholds,
)

TEXT = "王芳在北京"
TWO = AnnotatedText(TEXT, [Entity(0, 2, "人", "a"), Entity(3, 5, "地", "b")], [Relation("在", "a", "b")])


def entity(label: str, start: int, end: int, score: float = 0.9) -> dict[str, Any]:
    return {"label": label, "start": start, "end": end, "text": TEXT[start:end], "score": score}


@pytest.mark.parametrize(
    ("example", "answer", "missed", "wrong"),
    [
        (TextExample("a", label="x"), {"label": "x", "score": 0.5}, [], []),
        (TextExample("a", label="x"), {"label": "y", "score": 0.5}, ["x"], ["y"]),
        (
            TextExample("a", label=["x", "y"]),
            {"labels": [{"label": "y", "score": 0.9}, {"label": "z", "score": 0.6}]},
            ["x"],
            ["z"],
        ),
        (TWO, {"entities": [entity("人", 0, 2), entity("地", 2, 5)]}, ["地"], ["地"]),
        (
            TaggedTokens(list(TEXT), ["B-人", "I-人", "O", "B-地", "I-地"]),
            {"entities": [entity("人", 0, 2), entity("地", 3, 5)]},
            [],
            [],
        ),
        (
            TaggedTokens(["New", "York", "is", "big"], ["B-LOC", "I-LOC", "O", "O"]),
            {"entities": [{"label": "LOC", "start": 0, "end": 2, "text": "New York", "score": 1.0}]},
            [],
            [],
        ),
        (
            TWO,
            {
                "triples": [
                    {
                        "subject": {"text": "王芳", "start": 0, "end": 2},
                        "predicate": "在",
                        "object": {"text": "北京", "start": 3, "end": 5},
                        "score": 0.8,
                    }
                ]
            },
            [],
            [],
        ),
        (
            AnnotatedText(TEXT, [Entity(3, 5, "city", "a")], classes=["go"]),
            {
                "intent": "go",
                "confidence": 0.9,
                "value": [{"slot": "city", "entity": "北京", "pos": [3, 4], "score": 1.0}],
            },
            [],
            [],
        ),
        (
            PromptExample(TEXT, "人物", [Span(0, 2, "王芳")]),
            {"人物": [{"text": "北京", "start": 3, "end": 5, "probability": 0.7}]},
            ["人物"],
            ["人物"],
        ),
        (PromptExample(TEXT, "人物", []), {}, [], []),
        (
            PromptExample(TEXT, "情感[正,负]", [Span(-5, -4, "正")]),
            {"情感[正,负]": [{"text": "正", "probability": 0.7}]},
            [],
            [],
        ),
        (
            QuestionExample(TEXT, "谁？", [Span(0, 2, "王芳"), Span(0, 1, "王")]),
            {"answer": "王", "start": 0, "end": 1, "score": 0.4},
            [],
            [],
        ),
        (QuestionExample(TEXT, "谁？", [], True), {"answer": "", "start": None, "end": None, "score": 0.4}, [], []),
        (QuestionExample(TEXT, "谁？", [Span(0, 2, "王芳")]), {"answer": "北", "score": 0.4}, [""], [""]),
        (ChoiceExample("a", "b", ["c", "d"], 1), {"answer": "d", "index": 1, "score": 0.9}, [], []),
        (ChoiceExample("a", "b", ["c", "d"], 0), {"index": 1, "score": 0.9}, [""], [""]),
        (OptionExample("a", None, ["c", "d"], [0]), {"predictions": [{"label": "c", "score": 0.9}]}, [], []),
    ],
)
def test_every_kind_of_answer(example: Any, answer: Any, missed: list[str], wrong: list[str]) -> None:
    case = case_of(example, answer)
    assert case is not None
    assert [unit.label for unit in case.missed] == missed
    assert [unit.label for unit in case.wrong] == wrong
    assert (case.badness > 0) == bool(missed or wrong)


def test_numbers_and_written_texts() -> None:
    told = case_of(TextExample("a", "b", label=3.0), {"score": 2.5})
    assert told is not None and told.number == (3.0, 2.5) and told.badness == 0.5
    good = case_of(TextExample("a", label=["今天好"]), {"text": "今天好", "score": -0.1, "finish_reason": "eos"})
    bad = case_of(DialogueExample(["a"], "今天好"), {"text": "xyz", "score": -0.1})
    assert good is not None and bad is not None
    assert good.written and good.badness == 0 and bad.badness == 1
    assert case_of(TextExample("a"), {"label": "x", "score": 1.0}) is None


def classified(*rows: tuple[str, str, float]) -> list[Case]:
    return [
        Case(f"t{i}", "", (Unit(gold),), (Unit(found, score=score),)) for i, (gold, found, score) in enumerate(rows)
    ]


def test_precision_and_recall_by_threshold() -> None:
    found = thresholds(classified(("x", "x", 0.9), ("x", "y", 0.6), ("y", "y", 0.8), ("y", "y", 0.3)))
    assert [(step.value, step.precision, step.recall) for step in found] == [
        (0.3, 0.75, 0.75),
        (0.6, pytest.approx(2 / 3), 0.5),
        (0.8, 1.0, 0.5),
        (0.9, 1.0, 0.25),
    ]
    assert max(found, key=lambda step: step.f1).value == 0.3
    many = thresholds(classified(*(("x", "x", i / 1000) for i in range(1000))), most=50)
    assert len(many) <= 51 and many[0].value == 0.0 and many[0].recall == 1.0
    assert thresholds([]) == []


def test_confusion_and_scores_of_labels() -> None:
    cases = classified(("x", "x", 1), ("x", "y", 1), ("y", "y", 1))
    labels, counts = confusion(cases)
    assert {(row, column): counts[i][j] for i, row in enumerate(labels) for j, column in enumerate(labels)} == {
        ("x", "x"): 1,
        ("x", "y"): 1,
        ("y", "x"): 0,
        ("y", "y"): 1,
    }
    assert label_scores(cases) == [("x", 1.0, 0.5, pytest.approx(2 / 3), 2), ("y", 0.5, 1.0, pytest.approx(2 / 3), 1)]
    spans = [Case(TEXT, "", (Unit("人", 0, 2), Unit("地", 3, 5)), (Unit("地", 0, 2), Unit("人", 1, 2)))]
    labels, counts = confusion(spans)
    assert labels[-1] == NONE
    table = {(row, column): counts[i][j] for i, row in enumerate(labels) for j, column in enumerate(labels)}
    assert table["人", "地"] == 1 and table["地", NONE] == 1 and table[NONE, "人"] == 1


def test_questions_about_one_text_are_one_case() -> None:
    cases = [Case("a", "", (Unit("x"),), ()), Case("a", "", (), (Unit("y"),)), Case("b", "", (), ())]
    whole = joined(cases)
    assert [(len(case.gold), len(case.found)) for case in whole] == [(1, 1), (0, 0)]
    assert lengths([Case("a" * size, "", (), ()) for size in (0, 3, 8)], bins=3) == {"0–2": 1, "3–5": 1, "6–8": 1}
