"""Nested entities from examples to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.toy import INPUTS, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity
from zoo_cli.tasks.base import Outputs, load_task
from zoo_cli.tasks.nested_ner.spec import NestedNEROptions
from zoo_cli.tasks.nested_ner.task import NestedNERTask

TEXT = "右肺有阴影。"
EXAMPLE = AnnotatedText(TEXT, [Entity(0, 5, "sym", "0"), Entity(0, 2, "bod", "1")])
OTH = ["O", "B-bod", "I-bod", "E-bod", "S-bod"]
SYM = ["O", "B-sym", "I-sym", "E-sym", "S-sym"]


def make(**options: Any) -> NestedNERTask:
    return NestedNERTask(NestedNEROptions(**options), tokenizer(), INPUTS)


def fitted(**options: Any) -> NestedNERTask:
    task = make(**options)
    task.fit([EXAMPLE])
    return task


def forward(ids: np.ndarray) -> Outputs:
    """Tags of `EXAMPLE` for its characters wherever they are."""
    oth, sym = (np.zeros((len(ids), 5)) for _ in range(2))
    oth[:, 0] = sym[:, 0] = 1
    for character, other, symptom in zip("右肺有阴影", (1, 3, 0, 0, 0), (1, 2, 2, 2, 3), strict=True):
        places = ids == tokenizer().encode_batch([character])[0].ids[1]
        oth[places, other] = sym[places, symptom] = 5
    return {"oth_logits": oth, "sym_logits": sym}


def test_tags_of_both_rows_come_from_the_data(tmp_path: Path) -> None:
    task = fitted()
    assert (task.options.labels, task.options.enclosing_labels) == (OTH, SYM)
    assert task.model_config() == {"num_labels_oth": 5, "num_labels_sym": 5}
    assert fitted(scheme="bio").model_config() == {"num_labels_oth": 3, "num_labels_sym": 3}
    task.save(tmp_path)
    again = load_task(tmp_path, tokenizer(), INPUTS)
    assert again.options == task.options and again.model_config() == task.model_config()


def test_features() -> None:
    task = fitted()
    (feature,) = task.encode(EXAMPLE, training=True)
    assert feature["oth_labels"].tolist() == [-100, 1, 3, 0, 0, 0, 0, -100]
    assert feature["sym_labels"].tolist() == [-100, 1, 2, 2, 2, 3, 0, -100]
    assert feature.keys() == {*INPUTS, "oth_labels", "sym_labels"}
    assert [
        len(feature["input_ids"]) for feature in fitted(max_length=8).encode(AnnotatedText(TEXT * 2), training=True)
    ] == [8, 8, 6]
    assert task.encode(AnnotatedText(" "), training=False) == []


def test_an_entity_inside_of_another_is_found() -> None:
    first, second, third = predict(fitted(), [TEXT, {"text": "天" + TEXT}, ""], forward, batch_size=2)
    assert [(each["label"], each["start"], each["end"], each["text"]) for each in first["entities"]] == [
        ("sym", 0, 5, "右肺有阴影"),
        ("bod", 0, 2, "右肺"),
    ]
    assert [each["start"] for each in second["entities"]] == [1, 1]
    assert third == {"entities": []}


def test_long_texts_are_read_in_windows() -> None:
    (answer,) = predict(fitted(max_length=12), ["天" * 17 + TEXT + "天" * 9 + TEXT], forward)
    assert [(each["label"], each["start"]) for each in answer["entities"]] == [
        ("sym", 17),
        ("bod", 17),
        ("sym", 32),
        ("bod", 32),
    ]


def test_metrics() -> None:
    missed = AnnotatedText(TEXT, [Entity(0, 5, "sym", "0"), Entity(3, 5, "bod", "1")])
    scores = evaluate(fitted(), [EXAMPLE, missed], forward)
    assert (scores["precision"], scores["recall"], scores["f1"]) == (0.75, 0.75, 0.75)
    assert scores["labels"]["sym"]["f1"] == 1.0
    assert evaluate(fitted(), [AnnotatedText(" ")], forward)["f1"] == 0


def test_options() -> None:
    make(labels=OTH, enclosing_labels=SYM)
    make(enclosing=["A", "B"], enclosing_labels=["O", "B-A", "I-A", "B-B", "I-B"])
    for wrong in ({"labels": SYM}, {"enclosing_labels": OTH}, {"enclosing": []}, {"labels": ["x"]}):
        with pytest.raises(ValueError):
            NestedNEROptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError):
        make().model_config()
    with pytest.raises(DataError):
        make().fit([AnnotatedText(TEXT, [Entity(0, 5, "sym", "0")])])
    with pytest.raises(DataError):
        fitted().encode(AnnotatedText(TEXT, [Entity(0, 1, "new", "0")]), training=True)
    with pytest.raises(DataError):
        make().request({"tokens": ["天"]})
