"""Questions from examples to answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from tests.tasks.toy import INPUTS, Forward, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import QuestionExample, Span
from zoo_cli.data.reading import SquadOptions, read_squad
from zoo_cli.tasks.base import load_task
from zoo_cli.tasks.question_answering.answers import best_spans
from zoo_cli.tasks.question_answering.spec import QuestionAnsweringOptions
from zoo_cli.tasks.question_answering.task import QuestionAnsweringTask


def make(**options: Any) -> QuestionAnsweringTask:
    small = {"max_length": 32, "max_question_length": 8, "doc_stride": 10, "max_answer_length": 8}
    return QuestionAnsweringTask(QuestionAnsweringOptions(**{**small, **options}), tokenizer(), INPUTS)


def pointer(first: str, last: str, strength: float = 9.0, null: float = 0.0) -> Forward:
    """A model that believes in answers from one character to another; position 0 says that there is none."""
    start, end = (tokenizer().encode_batch([c], add_special_tokens=False)[0].ids[0] for c in (first, last))

    def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
        logits = {"start_logits": strength * (ids == start), "end_logits": strength * (ids == end)}
        for values in logits.values():
            values[0] = null
        return logits

    return forward


CONTEXT = (
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏" * 2 + "北京是首都。" + "云腾致雨露结为霜金生丽水玉出昆冈" * 2
)
START = CONTEXT.index("北京")


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_answer(batch_size: int) -> None:
    task = make()
    (answer, nothing) = predict(
        task,
        [{"question": "哪里", "context": CONTEXT}, {"question": "哪里", "context": ""}],
        pointer("北", "京"),
        batch_size,
    )
    assert (answer["answer"], answer["start"], answer["end"]) == ("北京", START, START + 2)
    assert 0.9 < answer["score"] <= 1
    assert nothing == {"answer": "", "start": None, "end": None, "score": 1.0}


def test_all_answers() -> None:
    task = make(all_answers=True, n_best=5, impossible=True)
    (answer,) = predict(task, [{"question": "哪里", "context": CONTEXT}], pointer("北", "京"))
    assert len(answer["answers"]) == 6
    scores = [entry["score"] for entry in answer["answers"]]
    assert sum(scores) == pytest.approx(1) and scores[:5] == sorted(scores[:5], reverse=True)
    assert answer["answers"][0]["answer"] == "北京" and answer["answers"][-1]["start"] is None
    spans = [(entry["start"], entry["end"]) for entry in answer["answers"]]
    assert len(set(spans)) == 6  # one place seen in two windows is one answer
    assert all(entry["answer"] == CONTEXT[entry["start"] : entry["end"]] for entry in answer["answers"][:5])


def test_answers_are_not_longer_than_allowed() -> None:
    (answer,) = predict(make(max_answer_length=3), [{"question": "何", "context": "天北天天京天"}], pointer("北", "京"))
    assert answer["end"] - answer["start"] <= 3 and answer["answer"] != "北天天京"


def test_no_answer_is_given_where_it_is_surer() -> None:
    request = {"question": "哪里", "context": CONTEXT}
    assert predict(make(impossible=True), [request], pointer("北", "京", 3.0, null=4.0))[0]["answer"] == ""
    assert predict(make(impossible=True, null_threshold=3.0), [request], pointer("北", "京", 3.0, null=4.0))[0]["start"]
    assert predict(make(), [request], pointer("北", "京", 3.0, null=4.0))[0]["answer"] == "北京"


@given(
    st.integers(1, 12).flatmap(
        lambda n: st.tuples(*[arrays.arrays(np.float32, n, elements=st.integers(-5, 5).map(float))] * 2)
    ),
    st.integers(1, 30),
    st.integers(1, 14),
)
def test_best_spans(logits: tuple[np.ndarray, np.ndarray], n_best: int, longest: int) -> None:
    first, last = logits
    every = [(i, j) for i in range(len(first)) for j in range(i, min(i + longest, len(first)))]
    every.sort(key=lambda span: (-(first[span[0]] + last[span[1]]), span))
    assert best_spans(first, last, n_best, longest) == every[:n_best]


def question(start: int = START, text: str = "北京", **fields: Any) -> QuestionExample:
    return QuestionExample(CONTEXT, "首都在哪里", [Span(start, start + len(text), text)], **fields)


def test_labels_point_at_the_answer() -> None:
    features = make().encode(question(), training=True)
    assert len(features) > 5
    holding = 0
    for feature in features:
        first, last = feature["start_positions"], feature["end_positions"]
        if first:
            assert tokenizer().decode(feature["input_ids"][first : last + 1]).replace(" ", "") == "北京"
            holding += 1
        else:
            assert last == 0
    assert 1 <= holding < len(features)


def test_long_questions_are_cut() -> None:
    (feature,) = make().encode(QuestionExample("北京", "问" * 50, [Span(0, 2, "北京")]), True)
    assert (feature["input_ids"] == feature["input_ids"][1]).sum() == 8


def test_answers_outside_of_the_text_count_in_evaluation_only() -> None:
    example = QuestionExample("天地", "何", [Span(-1, -1, "北京")])
    assert make().encode(example, training=True) == []
    assert evaluate(make(), [example], pointer("天", "地")) == {"exact_match": 0.0, "f1": 0.0}


@pytest.mark.parametrize(
    ("options", "example", "code"),
    [
        ({}, QuestionExample("天", "何"), "no-label"),
        ({"impossible": False}, QuestionExample("天", "何", impossible=True), "impossible-question"),
    ],
)
def test_examples_that_cannot_be_learnt(options: dict[str, Any], example: QuestionExample, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make(**options).encode(example, training=True)
    assert caught.value.code == code


def test_scores() -> None:
    examples = [question(), question(START + 3, "首都"), question(START, "北京是")]
    result = evaluate(make(), examples, pointer("北", "京"))
    assert result == {"exact_match": pytest.approx(1 / 3), "f1": pytest.approx((1 + 0 + 0.8) / 3)}


def test_impossible_questions_and_their_threshold(tmp_path: Path) -> None:
    task = make(tune_null_threshold=True)
    examples = [question(), question(), QuestionExample(CONTEXT, "在吗", impossible=True)]
    task.fit(examples)
    assert task.options.impossible is True

    def doubting(ids: np.ndarray) -> dict[str, np.ndarray]:
        unknown = (ids == tokenizer().encode_batch(["吗"])[0].ids[1]).any()
        return pointer("北", "京", 2.0, null=8.0 if unknown else 5.0)(ids)

    before = evaluate(task, examples, doubting)
    assert before == {
        "exact_match": pytest.approx(1 / 3),
        "f1": pytest.approx(1 / 3),
        "answerable_exact_match": 0.0,
        "answerable_f1": 0.0,
        "impossible_accuracy": 1.0,
    }
    metrics = task.metrics()
    for example in examples:
        features = task.encode(example, training=False)
        metrics.add(example, features, [doubting(feature["input_ids"]) for feature in features])
    task.tune(metrics)
    assert 6 < task.options.null_threshold < 12
    assert evaluate(task, examples, doubting)["f1"] == 1.0
    task.save(tmp_path)
    assert load_task(tmp_path, tokenizer(), INPUTS).options == task.options


def test_english_answers() -> None:
    task = make(language="en", max_length=64)
    example = QuestionExample("it was in the x y.", "where", [Span(10, 17, "the x y")])
    assert evaluate(task, [example], pointer("x", "y"))["exact_match"] == 1.0


@pytest.mark.parametrize("value", ["天", {}, {"question": "何"}, {"question": 1, "context": "天"}])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError):
        make().request(value)


def test_request_of_an_example_is_a_request() -> None:
    request = make().request(make().request_of(question()))
    assert (request.context, request.question) == (CONTEXT, "首都在哪里")


def test_questions_need_room() -> None:
    with pytest.raises(ValidationError):
        QuestionAnsweringOptions(max_length=64, max_question_length=60)


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="needs ZOO_DATA")
@pytest.mark.parametrize("name", ["cmrc2018", "drcd"])
def test_every_gold_answer_can_be_given(name: str) -> None:
    task = make(max_length=256, doc_stride=64, max_question_length=64, max_answer_length=200)
    examples = list(read_squad(Path(os.environ["ZOO_DATA"]) / name / "dev.json", SquadOptions()))
    # Windows overlap by more than 100 tokens.
    for example in [example for example in examples if len(example.answers[0].text) < 100][:200]:
        metrics, features = task.metrics(), task.encode(example, training=False)
        outputs = []
        for feature in features:
            places = np.arange(len(feature["input_ids"]))
            known = feature["start_positions"] > 0
            outputs.append(
                {
                    "start_logits": 9.0 * (known & (places == feature["start_positions"])),
                    "end_logits": 9.0 * (known & (places == feature["end_positions"])),
                }
            )
        metrics.add(example, features, outputs)
        assert metrics.result() == {"exact_match": 1.0, "f1": pytest.approx(1.0)}, example
