"""Closed schemas from examples to answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.toy import INPUTS, evaluate, predict, runner, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import AnnotatedText, Entity, Relation, TaggedTokens, TextExample
from zoo_cli.tasks.base import Outputs, answer_all, load_task
from zoo_cli.tasks.closed_extraction.decoding import MOST_PAIRS, condense
from zoo_cli.tasks.closed_extraction.spec import ClosedExtractionOptions
from zoo_cli.tasks.closed_extraction.task import ClosedExtractionTask

SCHEMA: list[Any] = ["时间", {"人物": ["任职于", "态度[赞成,反对]", {"作品": "年份"}]}, "极性[正，负]"]
TEXT = "王芳和李明在北京大学写书"
ENTITIES = [
    Entity(0, 2, "人物##反对", "a"),
    Entity(3, 5, "人物", "b"),
    Entity(6, 10, "机构", "c"),
    Entity(11, 12, "物", "d"),
    Entity(2, 3, "别的", "e"),
]
EXAMPLE = AnnotatedText(
    TEXT,
    ENTITIES,
    [
        Relation("任职于", "a", "c"),
        Relation("任职于", "b", "c"),
        Relation("作品", "b", "d"),
        Relation("别的", "a", "b"),
    ],
    ["负"],
)
ANSWER: dict[str, Any] = {
    "人物": [
        {
            "text": "王芳",
            "start": 0,
            "end": 2,
            "relations": {
                "任职于": [{"text": "北京大学", "start": 6, "end": 10}],
                "态度[赞成,反对]": [{"text": "反对"}],
            },
        },
        {
            "text": "李明",
            "start": 3,
            "end": 5,
            "relations": {
                "任职于": [{"text": "北京大学", "start": 6, "end": 10}],
                "作品": [{"text": "书", "start": 11, "end": 12}],
            },
        },
    ],
    "极性[正，负]": [{"text": "负"}],
}


def make(**options: Any) -> ClosedExtractionTask:
    return ClosedExtractionTask(ClosedExtractionOptions(**{"schema": SCHEMA, **options}), tokenizer(), INPUTS)


def dense(pairs: np.ndarray, kinds: int, length: int) -> np.ndarray:
    logits = np.full((kinds, length, length), -10.0)
    kept = pairs[pairs[:, 0] >= 0]
    logits[tuple(kept.T)] = 10
    return logits


def oracle(task: ClosedExtractionTask, *examples: AnnotatedText) -> Callable[[np.ndarray], Outputs]:
    """A model that knows the labels of the examples' windows by heart."""
    known = {}
    for example in examples:
        for feature in task.encode(example, training=False):
            known[tuple(feature["input_ids"].tolist())] = feature

    def forward(ids: np.ndarray) -> Outputs:
        feature, layout = known[tuple(ids.tolist())], task.layout
        sizes = {"entity": len(layout.kinds), "head": len(layout.links), "tail": len(layout.links)}
        return {
            f"{name}_logits": dense(feature[f"{name}_labels"], size, len(ids)) for name, size in sizes.items() if size
        }

    return forward


def plain(answers: Mapping[str, Any]) -> dict[str, Any]:
    """A result without probabilities, which have to be near 1."""

    def entry(found: dict[str, Any]) -> dict[str, Any]:
        assert found["probability"] > 0.999
        rest = {key: value for key, value in found.items() if key not in ("probability", "relations")}
        return rest | ({"relations": plain(found["relations"])} if "relations" in found else {})

    return {name: [entry(found) for found in entries] for name, entries in answers.items()}


def test_the_schema_is_part_of_the_task_file(tmp_path: Path) -> None:
    task = make()
    config = task.model_config()
    assert config["num_labels"] == 9 and config["num_links"] == 3
    assert config["id2label"][2] == "人物.任职于" and config["id2label"][4] == "人物.态度[赞成,反对].反对"
    assert task.output_names == ("entity_logits", "head_logits", "tail_logits")
    task.save(tmp_path)
    loaded = load_task(tmp_path, tokenizer(), INPUTS)
    assert loaded.options == task.options and loaded.output_names == task.output_names


def test_entities_alone_need_one_output() -> None:
    task = make(schema=["时间", "人物"])
    assert task.output_names == ("entity_logits",) and task.model_config()["num_links"] == 0
    (feature,) = task.encode(EXAMPLE, training=True)
    assert feature.keys() == {*INPUTS, "entity_labels"}
    assert feature["entity_labels"].tolist() == [[1, 1, 2], [1, 4, 5]]


def test_features() -> None:
    (feature,) = make().encode(EXAMPLE, training=True)
    # Places with [CLS] in front; [CLS] itself bears the class of the text.
    assert sorted(feature["entity_labels"].tolist()) == [
        [1, 1, 2], [1, 4, 5], [2, 7, 10], [2, 7, 10], [4, 1, 2], [5, 12, 12], [8, 0, 0],
    ]  # fmt: skip
    assert sorted(feature["head_labels"].tolist()) == [[0, 1, 7], [0, 4, 7], [1, 4, 12]]
    assert sorted(feature["tail_labels"].tolist()) == [[0, 2, 10], [0, 5, 10], [1, 5, 12]]


def test_batches() -> None:
    task = make()
    batch = task.stack([*task.encode(EXAMPLE, True), *task.encode(AnnotatedText("天"), True)])
    assert batch["head_labels"].shape == (2, 3, 3) and (batch["head_labels"][1] == -1).all()


def test_answers() -> None:
    task = make()
    other = AnnotatedText("时间是昨天", [Entity(3, 5, "时间", "a")])
    for size in (1, 2):
        answers = predict(task, [TEXT, {"text": other.text}, ""], oracle(task, EXAMPLE, other), batch_size=size)
        assert plain(answers[0]) == plain(task.gold(EXAMPLE)) == ANSWER
        assert plain(answers[1]) == {"时间": [{"text": "昨天", "start": 3, "end": 5}]}
        assert answers[2] == {}
    (many,) = predict(task, [{"text": [TEXT, other.text]}], oracle(task, EXAMPLE, other))
    assert many == answers[:2]


def test_a_request_may_ask_for_a_part_of_the_schema() -> None:
    task = make()
    forward = oracle(task, EXAMPLE)
    (whole,) = predict(task, [TEXT], forward)
    (part,) = predict(task, [{"text": TEXT, "schema": {"人物": "作品"}}], forward)
    assert plain(part) == {
        "人物": [{"text": "王芳", "start": 0, "end": 2}, {**ANSWER["人物"][1], "relations": {"作品": [
            {"text": "书", "start": 11, "end": 12}
        ]}}]
    }  # fmt: skip
    (names,) = predict(task, [{"text": TEXT, "schema": ["人物", "极性[负,正]"]}], forward)
    assert names.keys() == {"人物", "极性[负,正]"} and "relations" not in names["人物"][0]
    assert names["极性[负,正]"] == whole["极性[正，负]"]


LABELS = st.sampled_from(["人物", "人物##赞成", "人物##反对", "时间", "机构"])
LINKS = st.sampled_from(["任职于", "作品", "年份", "别的"])


@st.composite
def annotated(draw: st.DrawFn) -> AnnotatedText:
    """Entities side by side with relations between any of them, and classes."""
    bounds = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=9)))
    entities = [Entity(start, end, draw(LABELS), str(start)) for start, end in pairwise(bounds) if draw(st.booleans())]
    names = [entity.id for entity in entities]
    pairs = st.tuples(LINKS, st.sampled_from(names or ["0"]), st.sampled_from(names or ["0"]))
    relations = {pair for pair in (draw(st.lists(pairs, max_size=8)) if names else []) if pair[1] != pair[2]}
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    classes = draw(st.sampled_from([[], ["正"], ["负"], ["别的"]]))
    return AnnotatedText(text, entities, [Relation(*pair) for pair in sorted(relations)], classes)


@settings(max_examples=80, deadline=None)
@given(annotated())
def test_what_is_learnt_is_read_again(example: AnnotatedText) -> None:
    task = make()
    (answer,) = predict(task, [example.text], oracle(task, example))
    assert plain(answer) == plain(task.gold(example))
    scores = evaluate(task, [example], oracle(task, example))
    assert scores["precision"] == scores["recall"] == scores["f1"] == (1.0 if answer else 0.0)


@settings(max_examples=60, deadline=None)
@given(annotated(), st.sampled_from([30, 24, 18]))
def test_windows_find_nothing_wrong_and_all_that_one_of_them_holds(example: AnnotatedText, max_length: int) -> None:
    task = make(max_length=max_length)
    (found,) = predict(task, [example.text], oracle(task, example))
    whole = task.gold(example)
    scores = evaluate(task, [example], oracle(task, example))
    assert scores["precision"] == (1.0 if found else 0.0)
    # Neighbours share about half a window, so that it holds every shorter span.
    for name in ("时间", "人物"):
        short = {
            (each["start"], each["end"])
            for each in whole.get(name, ())
            if each["end"] - each["start"] < (max_length - 2) // 2
        }
        assert short <= {(each["start"], each["end"]) for each in found.get(name, ())}
    assert found.get("极性[正，负]", [])[:1] == [
        {**each, "probability": pytest.approx(1.0, abs=1e-3)} for each in whole.get("极性[正，负]", [])
    ]


def test_a_torn_entity_is_not_reported() -> None:
    """A model that marks what it sees of an entity in every window."""
    task = make(schema=["人物"], max_length=16)
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    inside = {task.tokenizer.encode_batch([text])[0].ids[place + 1] for place in range(17, 25)}

    def forward(ids: np.ndarray) -> Outputs:
        places = [place for place, token in enumerate(ids) if token in inside]
        pairs = [[0, places[0], places[-1]]] if places else [[-1] * 3]
        return {"entity_logits": dense(np.array(pairs), 1, len(ids))}

    (answer,) = predict(task, [text], forward)
    assert [(each["start"], each["end"]) for each in answer["人物"]] == [(17, 25)]


def test_many_requests_are_answered_as_each_of_them_alone() -> None:
    def forward(ids: np.ndarray) -> Outputs:
        generator = np.random.default_rng(ids)
        sizes = (("entity_logits", 9), ("head_logits", 3), ("tail_logits", 3))
        return {name: generator.normal(-1.0, 1.0, (kinds, len(ids), len(ids))) for name, kinds in sizes}

    task = make(max_length=16)
    texts: list[Any] = [TEXT, TEXT * 3, [TEXT, "天地"], "天地玄黄", "", [""], []]
    requests = [task.request({"text": text}) for text in texts]
    together = list(answer_all(task.conversations(requests), runner(task, forward, batch_size=3)))
    assert together == [next(answer_all([task.steps(each)], runner(task, forward))) for each in requests]
    assert all(together[:4]) and together[4:] == [{}, [{}], []]


def test_special_tokens_are_part_of_nothing() -> None:
    def forward(ids: np.ndarray) -> Outputs:
        return {
            name: np.full((kinds, len(ids), len(ids)), 5.0)
            for name, kinds in (("entity_logits", 9), ("head_logits", 3), ("tail_logits", 3))
        }

    (answer,) = predict(make(), ["天地"], forward)
    assert {(each["start"], each["end"]) for each in answer["时间"]} == {(0, 1), (0, 2), (1, 2)}
    assert len(answer["极性[正，负]"]) == 1


def test_the_likeliest_option_is_chosen() -> None:
    task = make()

    def forward(ids: np.ndarray) -> Outputs:
        output = oracle(task, EXAMPLE)(ids)
        output["entity_logits"][3, 1, 2], output["entity_logits"][7, 0, 0] = 12.0, 9.0
        return output

    (answer,) = predict(task, [TEXT], forward)
    assert answer["人物"][0]["relations"]["态度[赞成,反对]"][0]["text"] == "赞成"
    assert answer["极性[正，负]"][0]["text"] == "负"


def test_links_need_both_ends() -> None:
    task = make()

    def forward(ids: np.ndarray) -> Outputs:
        output = oracle(task, EXAMPLE)(ids)
        output["tail_logits"][0, 2, 10] = -1.0
        return output

    (answer,) = predict(task, [TEXT], forward)
    assert "任职于" not in answer["人物"][0]["relations"] and "任职于" in answer["人物"][1]["relations"]


def test_probabilities() -> None:
    task = make()

    def forward(ids: np.ndarray) -> Outputs:
        output = oracle(task, EXAMPLE)(ids)
        output["entity_logits"][1, 1, 2] = 2.0
        output["head_logits"][0, 1, 7], output["tail_logits"][0, 2, 10] = 1.0, 3.0
        return output

    (answer,) = predict(task, [TEXT], forward)
    person = answer["人物"][0]
    assert person["probability"] == pytest.approx(1 / (1 + np.exp(-2)))
    (employer,) = person["relations"]["任职于"]
    assert employer["probability"] == pytest.approx(1 / (1 + np.exp(-1)) / (1 + np.exp(-3)))
    (sure,) = predict(task, [{"text": TEXT, "position_threshold": 0.9}], forward)
    assert [each["text"] for each in sure["人物"]] == ["李明"]


def test_condensed_outputs_are_the_likeliest() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(5, 40, 40))
    output = condense({"entity_logits": logits}, 0.0)
    assert len(output["entities"]) == MOST_PAIRS
    np.testing.assert_array_equal(logits[tuple(output["entities"].T)], output["entities.scores"])
    assert output["entities.scores"].min() >= np.sort(logits.ravel())[-MOST_PAIRS]
    one = np.full((1, 40, 40), -1.0)
    one[0, [3, 8], [5, 9]] = 1.0
    linked = condense({"entity_logits": one, "head_logits": logits, "tail_logits": logits}, 0.0)
    for name, ends in (("heads", [3, 8]), ("tails", [5, 9])):
        assert set(np.unique(linked[name][:, 1:])) <= set(ends)
        assert len(linked[name]) == (logits[:, ends][:, :, ends] > 0).sum()
        np.testing.assert_array_equal(logits[tuple(linked[name].T)], linked[f"{name}.scores"])


def test_scores_by_name() -> None:
    task = make()
    less = AnnotatedText(TEXT, ENTITIES, EXAMPLE.relations[1:])
    scores = evaluate(task, [EXAMPLE], oracle(task, less))
    assert scores["labels"]["人物.任职于"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    assert scores["labels"]["极性[正，负]"]["recall"] == 0.0
    # Seven finds: two persons, two employers, a work, an attitude, and the class.
    assert (scores["precision"], scores["recall"]) == (1.0, pytest.approx(5 / 7))


def test_whole_results_are_scored_as_those_of_uie() -> None:
    task = make()
    scores = task.score_answers([EXAMPLE], lambda requests: predict(task, requests, oracle(task, EXAMPLE)))
    found = scores["end_to_end"]
    # The gold texts also have labels that the schema does not ask for.
    assert found["entity_precision"] == 1.0 and found["entity_recall"] == pytest.approx(2 / 5)
    assert (found["relation_precision"], found["relation_recall"]) == (1.0, 0.75)


def test_the_schema_comes_from_the_data() -> None:
    task = make(schema=None)
    with pytest.raises(DataError):
        task.model_config()
    bare = AnnotatedText(TEXT, [Entity(0, 2, "人物", "a"), ENTITIES[2]], [Relation("任职于", "a", "c")])
    task.fit([bare])
    assert task.options.schema == [{"人物": ["任职于"]}, "机构"]
    assert task.layout.kinds == ["人物", "人物.任职于", "机构"]
    tagged = make(schema=None)
    tagged.fit([TaggedTokens(["王", "芳", "来"], ["B-人物", "I-人物", "O"])])
    assert tagged.options.schema == ["人物"]


def test_classes_of_texts_alone() -> None:
    task = make(schema="极性[正,负]")
    (example,) = task.adapt([TextExample("很好", label="正")], training=True)
    (answer,) = predict(task, ["很好"], oracle(task, example))
    assert plain(answer) == {"极性[正,负]": [{"text": "正"}]}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({}, "no-text"),
        (3, "bad-request"),
        ({"text": ["a", 3]}, "bad-request"),
        ({"text": "a", "schema": "地点"}, "outside-schema"),
        ({"text": "a", "schema": {"时间": "地点"}}, "outside-schema"),
        ({"text": "a", "schema": {"人物": {"任职于": "地点"}}}, "outside-schema"),
        ({"text": "a", "schema": []}, "bad-schema"),
        ({"text": "a", "position_threshold": 0.4}, "bad-request"),
        ({"text": "a", "position_threshold": True}, "bad-request"),
    ],
)
def test_wrong_requests(value: Any, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make().request(value)
    assert caught.value.code == code


def test_wrong_data() -> None:
    with pytest.raises(DataError) as caught:
        make(schema=None).fit([EXAMPLE])
    assert caught.value.code == "no-schema"
    with pytest.raises(DataError) as caught:
        make(schema=None).fit([AnnotatedText("天")])
    assert caught.value.code == "no-schema"
    with pytest.raises(DataError) as caught:
        make(schema="地点").fit([EXAMPLE])
    assert caught.value.code == "other-labels" and "人物" in str(caught.value)
    with pytest.raises(DataError) as caught:
        make().encode(AnnotatedText("天", [Entity(0, 2, "人物", "a")]), training=True)
    assert caught.value.code == "bad-offset"
    for schema in ({"极性[正,负]": "人物"}, {"": []}, 3):
        with pytest.raises(ValueError):
            ClosedExtractionOptions(schema=schema)
