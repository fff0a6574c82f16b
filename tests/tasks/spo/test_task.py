"""Triples from examples to answers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.toy import INPUTS, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity, Relation
from zoo_cli.tasks.base import Outputs, load_task
from zoo_cli.tasks.spo.decoding import MOST_TRIPLES, condense, logit
from zoo_cli.tasks.spo.spec import SPOOptions
from zoo_cli.tasks.spo.task import SPOTask

TEXT = "肾炎导致血尿和水肿"
ENTITIES = [Entity(0, 2, "病", "a"), Entity(4, 6, "症", "b"), Entity(7, 9, "症", "c"), Entity(6, 7, "无", "d")]
EXAMPLE = AnnotatedText(
    TEXT, ENTITIES, [Relation("导致", "a", "b"), Relation("导致", "a", "c"), Relation("伴", "b", "c")]
)


def make(**options: Any) -> SPOTask:
    return SPOTask(SPOOptions(**options), tokenizer(), INPUTS)


def fitted(**options: Any) -> SPOTask:
    task = make(**options)
    task.fit([EXAMPLE])
    return task


def oracle(task: SPOTask, *examples: AnnotatedText) -> Callable[[np.ndarray], Outputs]:
    """A model that knows the labels of the examples' windows by heart."""
    known = {}
    for example in examples:
        for feature in task.encode(example, training=False):
            known[tuple(feature["input_ids"].tolist())] = task.stack([feature])

    def forward(ids: np.ndarray) -> Outputs:
        batch = known[tuple(ids.tolist())]
        return {
            "entity_logits": batch["entity_labels"][0] * 20 - 10.0,
            "relation_logits": batch["relation_labels"][0] * 20 - 10.0,
        }

    return forward


def test_predicates_come_from_the_data(tmp_path: Path) -> None:
    task = fitted()
    assert task.predicates == ["伴", "导致"]
    assert task.model_config() == {"num_labels": 2, "id2label": {0: "伴", 1: "导致"}, "label2id": {"伴": 0, "导致": 1}}
    task.save(tmp_path)
    assert load_task(tmp_path, tokenizer(), INPUTS).options == task.options


def test_features() -> None:
    task = fitted()
    (feature,) = task.encode(EXAMPLE, training=True)
    # Places with [CLS] in front; 和 is in no relation.
    assert np.argwhere(feature["entity_labels"][:, 0]).ravel().tolist() == [1, 5, 8]
    assert np.argwhere(feature["entity_labels"][:, 1]).ravel().tolist() == [2, 6, 9]
    assert feature["triples"].tolist() == [[1, 1, 5], [1, 1, 8], [0, 5, 8]]


def test_batches_spread_the_triples_out() -> None:
    task = fitted()
    features = [*task.encode(EXAMPLE, True), *task.encode(AnnotatedText("天"), True)]
    batch = task.stack(features)
    assert batch["entity_labels"].shape == (2, 11, 2) and batch["relation_labels"].shape == (2, 2, 11, 11)
    assert np.argwhere(batch["relation_labels"]).tolist() == [[0, 0, 5, 8], [0, 1, 1, 5], [0, 1, 1, 8]]
    assert task.stack([{name: feature[name] for name in INPUTS} for feature in features]).keys() == set(INPUTS)


def test_answers() -> None:
    task = fitted()
    answers = predict(task, [TEXT, {"text": "天"}], oracle(task, EXAMPLE, AnnotatedText("天")), batch_size=2)
    found = [(each["subject"]["text"], each["predicate"], each["object"]["text"]) for each in answers[0]["triples"]]
    assert found == [("肾炎", "导致", "血尿"), ("肾炎", "导致", "水肿"), ("血尿", "伴", "水肿")]
    first = answers[0]["triples"][0]
    assert first["object"] == {"text": "血尿", "start": 4, "end": 6} and first["score"] == pytest.approx(1, abs=1e-3)
    assert answers[1] == {"triples": []}


@st.composite
def annotated(draw: st.DrawFn) -> AnnotatedText:
    """Entities side by side with relations between different ones."""
    bounds = sorted(draw(st.sets(st.integers(0, 40), min_size=2, max_size=8)))
    entities = [Entity(start, end, "x", str(start)) for start, end in pairwise(bounds) if draw(st.booleans())]
    names = [entity.id for entity in entities]
    pairs = st.tuples(st.sampled_from(["伴", "导致"]), st.sampled_from(names or ["0"]), st.sampled_from(names or ["0"]))
    relations = {pair for pair in (draw(st.lists(pairs, max_size=5)) if names else []) if pair[1] != pair[2]}
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 40)))
    return AnnotatedText(text, entities, [Relation(*pair) for pair in sorted(relations)])


@settings(max_examples=60, deadline=None)
@given(annotated(), st.sampled_from([64, 42, 24]))
def test_what_is_learnt_is_read_again(example: AnnotatedText, max_length: int) -> None:
    task = fitted(max_length=max_length)
    scores = evaluate(task, [example], oracle(task, example))
    assert scores["precision"] == (1.0 if scores["recall"] else 0.0)
    if max_length >= 42:
        assert scores["recall"] == (1.0 if example.relations else 0.0)


def test_only_whole_triples_are_learnt_in_windows() -> None:
    far = AnnotatedText(
        "肾炎" + "天" * 30 + "血尿", [Entity(0, 2, "", "a"), Entity(32, 34, "", "b")], [Relation("伴", "a", "b")]
    )
    task = fitted(max_length=16)
    features = task.encode(far, training=True)
    assert len(features) > 2 and all(feature["entity_labels"].sum() == 0 for feature in features)
    assert evaluate(task, [far], oracle(task, far))["recall"] == 0


def test_metrics_compare_words() -> None:
    task = fitted()
    twice = AnnotatedText("肾炎导致血尿，肾炎", [*ENTITIES[:2], Entity(7, 9, "病", "e")], [Relation("导致", "e", "b")])
    elsewhere = AnnotatedText(twice.text, twice.entities, [Relation("导致", "a", "b")])
    scores = evaluate(task, [elsewhere], oracle(task, twice))
    assert scores["f1"] == 1.0 and scores["labels"]["导致"]["support"] == 1
    missed = evaluate(task, [EXAMPLE], oracle(task, AnnotatedText(TEXT, ENTITIES, EXAMPLE.relations[:1])))
    assert (missed["precision"], missed["recall"]) == (1.0, pytest.approx(1 / 3))


def test_special_tokens_start_and_end_nothing() -> None:
    def forward(ids: np.ndarray) -> Outputs:
        size = len(ids)
        entities = np.full((size, 2), -5.0)
        entities[[0, 2], 0] = entities[[2, -1], 1] = 5
        return {"entity_logits": entities, "relation_logits": np.full((2, size, size), 5.0)}

    assert predict(fitted(), ["天地玄黄"], forward) == [{"triples": []}]

    def two(ids: np.ndarray) -> Outputs:
        output = forward(ids)
        output["entity_logits"][4, 0] = 5  # no end follows but that of [SEP]
        return output

    assert predict(fitted(), ["天地玄黄"], two) == [{"triples": []}]


def test_condensed_outputs_are_the_likeliest() -> None:
    random = np.random.default_rng(0)
    relations = random.normal(size=(5, 40, 40))
    output = condense(np.ones((40, 2)), relations, 0.0)
    assert len(output["relations"]) == MOST_TRIPLES
    np.testing.assert_array_equal(relations[tuple(output["relations"].T)], output["logits"])
    assert output["logits"].min() >= np.sort(relations.ravel())[-MOST_TRIPLES]
    few = condense(np.where(np.arange(40) < 3, 1.0, -1.0)[:, None].repeat(2, 1), relations, 0.0)
    assert few["relations"][:, 1:].max() < 3 and len(few["logits"]) == (relations[:, :3, :3] > 0).sum()


def test_thresholds() -> None:
    assert logit(0.5) == 0 and logit(0.0) == -np.inf and logit(1.0) == np.inf
    assert 1 / (1 + np.exp(-logit(0.3))) == pytest.approx(0.3)
    task = fitted(threshold=0.99999)
    assert predict(task, [TEXT], oracle(task, EXAMPLE)) == [{"triples": []}]


def test_faults() -> None:
    with pytest.raises(UsageError):
        make().model_config()
    with pytest.raises(DataError):
        make().fit([AnnotatedText("天")])
    new = AnnotatedText(TEXT, ENTITIES, [Relation("新", "a", "b")])
    with pytest.raises(DataError) as caught:
        fitted().encode(new, training=True)
    assert caught.value.code == "unknown-label"
    assert evaluate(fitted(), [new], oracle(fitted(), new))["recall"] == 0
    for wrong in ([], ["a", "a"]):
        with pytest.raises(ValueError):
            SPOOptions(predicates=wrong)
    with pytest.raises(DataError):
        make().request({})
