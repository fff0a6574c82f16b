"""Classification from examples to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tests.tasks.toy import INPUTS, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError, ZooError
from zoo_cli.data.batching import pad
from zoo_cli.data.examples import AnnotatedText, TextExample
from zoo_cli.tasks.base import load_task
from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions
from zoo_cli.tasks.sequence_classification.task import SequenceClassificationTask

LABELS = ["good", "bad", "odd"]


def make(**options: Any) -> SequenceClassificationTask:
    return SequenceClassificationTask(SequenceClassificationOptions(**options), tokenizer(), INPUTS)


def forward(ids: np.ndarray) -> dict[str, np.ndarray]:
    """Three logits that depend on every token."""
    return {"logits": np.array([ids.sum() % 7 - 3.0, ids.max() % 5 - 2.0, len(ids) % 3 - 1.0], np.float32)}


TEXTS = ["天地玄黄", "宇", "", "日月盈昃辰宿列张" * 3, "hello world 123", "寒来暑往"]


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_answers_do_not_depend_on_the_batch(kind: str) -> None:
    task = make(labels=LABELS, kind=kind, all_scores=True)
    alone = predict(task, TEXTS, forward, batch_size=1)
    assert alone == predict(task, TEXTS, forward, batch_size=4)
    assert alone == predict(task, TEXTS[::-1], forward, batch_size=3)[::-1]


def test_single_label_answer() -> None:
    (answer,) = predict(make(labels=LABELS), ["天"], lambda ids: {"logits": np.array([0.0, np.log(3), 0.0])})
    assert answer == {"label": "bad", "score": pytest.approx(0.6)}


def test_multi_label_answer_names_the_surest_first() -> None:
    task = make(labels=LABELS, kind="multi_label", thresholds={"good": 0.9})
    (answer,) = predict(task, ["天"], lambda ids: {"logits": np.array([1.0, 0.5, 2.0])})
    assert [entry["label"] for entry in answer["labels"]] == ["odd", "bad"]
    (nothing,) = predict(task, ["天"], lambda ids: {"logits": np.array([1.0, 0.0, -2.0])})
    assert nothing == {"labels": []}  # 0.5 is not greater than 0.5


def test_regression_answer() -> None:
    assert predict(make(kind="regression"), ["天"], lambda ids: {"logits": np.array([2.5])}) == [{"score": 2.5}]


def test_truncation_is_reported() -> None:
    task = make(labels=LABELS, max_length=8)
    seen: list[int] = []

    def spy(ids: np.ndarray) -> dict[str, np.ndarray]:
        seen.append(len(ids))
        return forward(ids)

    six, seven, pair = predict(task, ["天" * 6, "天" * 7, {"text": "天" * 3, "text_pair": "地" * 3}], spy)
    assert "truncated" not in six and seven["truncated"] is True and pair["truncated"] is True
    assert seen == [8, 8, 8]


def test_pairs_bear_their_type() -> None:
    (feature,) = make(labels=LABELS).encode(TextExample("天地", "玄", label="odd"), training=True)
    assert feature["token_type_ids"].tolist() == [0, 0, 0, 0, 1, 1]
    assert feature["labels"] == 2 and feature["labels"].dtype == np.int64


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b"], ["a", "b"]),
        (["10", "9", "0"], ["0", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
    ],
)
def test_labels_are_learnt(labels: list[str], expected: list[str]) -> None:
    task = make()
    with pytest.raises(UsageError):
        task.model_config()
    task.fit(TextExample("天", label=label) for label in labels)
    assert task.labels == expected
    config = task.model_config()
    assert config["num_labels"] == len(expected)
    assert config["id2label"] == dict(enumerate(expected))
    assert config["problem_type"] == "single_label_classification"


def test_given_labels_stay() -> None:
    task = make(labels=LABELS)
    task.fit([TextExample("天", label="bad")])
    assert task.labels == LABELS


def test_one_class_is_too_few() -> None:
    with pytest.raises(DataError) as caught:
        make().fit([TextExample("天", label="a")])
    assert caught.value.code == "too-few-labels"


def test_document_labels_of_annotation_tools() -> None:
    task = make(kind="multi_label")
    texts = [AnnotatedText("天", classes=["b", "a"]), AnnotatedText("地"), AnnotatedText("玄", classes=["c"])]
    task.fit(texts)
    assert task.labels == ["a", "b", "c"]
    features = [task.encode(example, True)[0]["labels"] for example in task.adapt(texts, training=True)]
    np.testing.assert_array_equal(np.stack(features), [[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    assert features[0].dtype == np.float32


@pytest.mark.parametrize(
    ("options", "label", "code"),
    [
        ({"labels": LABELS}, "none such", "unknown-label"),
        ({"labels": LABELS}, None, "no-label"),
        ({"labels": LABELS}, ["good", "bad"], "label-count"),
        ({"labels": LABELS, "kind": "multi_label"}, ["good", "none such"], "unknown-label"),
        ({"kind": "regression"}, "many", "bad-score"),
        ({"kind": "regression"}, "nan", "bad-score"),
        ({"kind": "regression"}, None, "no-label"),
    ],
)
def test_labels_that_cannot_be_learnt(options: dict[str, Any], label: Any, code: str) -> None:
    with pytest.raises(ZooError) as caught:
        make(**options).encode(TextExample("天", label=label), training=True)
    assert caught.value.code == code


def test_regression_labels_make_a_batch() -> None:
    task = make(kind="regression")
    features = [task.encode(TextExample("天", label=label), True)[0] for label in (1.5, "2")]
    assert pad(features)["labels"].tolist() == [1.5, 2.0]
    assert task.model_config() == {"num_labels": 1, "problem_type": "regression"}


def test_scores_count_classes_that_training_never_saw() -> None:
    task = make(labels=LABELS)
    examples = [TextExample("天", label="good"), TextExample("地", label="new")]
    result = evaluate(task, examples, lambda ids: {"logits": np.array([1.0, 0.0, 0.0])})
    assert result["accuracy"] == result["score"] == 0.5
    assert result["labels"]["new"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert task.encode(examples[1], training=False)[0]["labels"] == -100

    several = make(labels=LABELS, kind="multi_label")
    examples = [TextExample("天", label=["good", "new"])]
    result = evaluate(several, examples, lambda ids: {"logits": np.array([1.0, -1.0, -1.0])})
    assert result["micro_recall"] == 0.5 and result["micro_precision"] == 1.0 and result["accuracy"] == 0.0


def test_regression_scores() -> None:
    examples = [TextExample("天" * count, label=float(count**2)) for count in range(1, 6)]
    result = evaluate(make(kind="regression"), examples, lambda ids: {"logits": np.array([float(len(ids))])})
    assert result["spearman"] == pytest.approx(1.0) and 0.9 < result["pearson"] < 1.0
    assert result["score"] == pytest.approx((result["pearson"] + result["spearman"]) / 2)


def test_no_examples_no_scores() -> None:
    assert make(labels=LABELS).metrics().result() == {}


def test_thresholds_are_tuned_and_kept(tmp_path: Path) -> None:
    task = make(labels=["long", "never"], kind="multi_label", tune_thresholds=True)
    examples = [TextExample("天" * count, label=["long"] if count > 4 else ["unknown"]) for count in range(1, 9)]

    def by_length(ids: np.ndarray) -> dict[str, np.ndarray]:
        return {"logits": np.array([(len(ids) - 2) / 2 - 6.0, 0.3])}

    assert evaluate(task, examples, by_length)["labels"]["long"]["f1"] == 0.0
    metrics = task.metrics()
    for example in examples:
        metrics.add(example, [], [by_length(task.encode(example, False)[0]["input_ids"])])
    task.tune(metrics)
    assert evaluate(task, examples, by_length)["labels"]["long"]["f1"] == 1.0
    assert task.options.thresholds["never"] == 0.5

    task.save(tmp_path)
    loaded = load_task(tmp_path, tokenizer(), INPUTS)
    assert loaded.options == task.options
    assert predict(loaded, ["天" * 6], by_length) == predict(task, ["天" * 6], by_length)


def test_tuning_needs_to_be_asked_for() -> None:
    task = make(labels=LABELS, kind="multi_label")
    metrics = task.metrics()
    metrics.add(TextExample("天", label=["odd"]), [], [{"logits": np.array([-1.0, -1.0, -1.0])}])
    task.tune(metrics)
    assert task.options.thresholds == {}


@pytest.mark.parametrize("value", [3, None, {}, {"text": 3}, {"text": "天", "text_pair": 3}, ["天"]])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError) as caught:
        make(labels=LABELS).request(value)
    assert caught.value.code == "bad-request"


def test_request_of_an_example_is_a_request() -> None:
    task = make(labels=LABELS)
    for example in (TextExample("天", "地"), TextExample("天")):
        assert task.request(task.request_of(example)) == example


@pytest.mark.parametrize(
    "options",
    [
        {"labels": ["a"]},
        {"labels": ["a", "a"]},
        {"labels": ["a", "b"], "kind": "regression"},
        {"labels": ["a", "b"], "kind": "multi_label", "thresholds": {"c": 0.5}},
        {"thresholds": {"c": 0.5}},
        {"threshold": 2.0},
        {"unknown": 1},
        {"max_length": "128"},
    ],
)
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        SequenceClassificationOptions(**options)
