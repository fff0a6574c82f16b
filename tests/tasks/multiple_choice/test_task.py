"""Multiple choice from examples to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.tasks.base import answer_all, load_task
from zoo_cli.tasks.multiple_choice.spec import MultipleChoiceOptions
from zoo_cli.tasks.multiple_choice.task import FILLER, MultipleChoiceTask


def make(**options: Any) -> MultipleChoiceTask:
    return MultipleChoiceTask(MultipleChoiceOptions(**options), tokenizer(), INPUTS)


def read(ids: np.ndarray, mask: np.ndarray) -> list[str]:
    return [tokenizer().decode(row[kept == 1]).replace(" ", "") for row, kept in zip(ids, mask, strict=True)]


def rows(feature: dict[str, np.ndarray]) -> list[str]:
    return read(feature["input_ids"], feature["attention_mask"])


def run(features: list[dict[str, np.ndarray]], padding: int = 0) -> list[dict[str, np.ndarray]]:
    """Prefers rows with the character 好; rows of padding that a batch added look best of all."""
    good = tokenizer().encode_batch(["好"])[0].ids[1]
    return [
        {"logits": np.concatenate([(f["input_ids"] == good).sum(axis=1) * 2.0, np.full(padding, 99.0)])}
        for f in features
    ]


EXAMPLE = ChoiceExample("他来了", "怎样", ["好事", "不", "坏事"], 0)


def test_rows() -> None:
    (feature,) = make(num_choices=3).encode(EXAMPLE, training=True)
    assert rows(feature) == [f"[CLS]他来了[SEP]怎样{choice}[SEP]" for choice in EXAMPLE.choices]
    assert {name: feature[name].shape for name in INPUTS} == dict.fromkeys(INPUTS, (3, 10))
    assert feature["input_ids"][1, -1] == tokenizer().pad_token_id and feature["attention_mask"][1, -1] == 0
    assert feature["token_type_ids"][0].tolist() == [0] * 5 + [1] * 5
    assert feature["labels"] == 0 and feature["labels"].dtype == np.int64


def test_choices_are_filled_up_for_the_loss() -> None:
    task = make()
    task.fit([EXAMPLE, ChoiceExample("", "", ["甲", "乙"], 1)])
    assert task.model_config() == {"num_choices": 3}
    for training in (True, False):
        (feature,) = task.encode(ChoiceExample("天", "何", ["甲", "乙"], 1), training)
        assert rows(feature)[2] == f"[CLS]天[SEP]何{FILLER}[SEP]"


@pytest.mark.parametrize("padding", [0, 4])
def test_answers(padding: int) -> None:
    task = make(num_choices=4, all_scores=True)
    requests = [task.request_of(EXAMPLE), {"choices": ["坏", "好", "好好", "坏", "坏"]}]
    first, second = answer_all(
        [task.steps(task.request(request)) for request in requests], lambda features: run(features, padding)
    )
    assert (first["answer"], first["index"]) == ("好事", 0)
    assert first["scores"] == pytest.approx(np.exp([2, 0, 0]) / np.exp([2, 0, 0]).sum())
    assert first["score"] == first["scores"][0] and "truncated" not in first
    assert (second["answer"], second["index"], len(second["scores"])) == ("好好", 2, 5)


def test_blank_is_filled() -> None:
    (feature,) = make().encode(ChoiceExample("他#idiom#了", "", ["好", "不好"], 1), True)
    assert rows(feature) == ["[CLS]他好了[SEP]", "[CLS]他不好了[SEP]"]


def test_cutting_spares_the_blank() -> None:
    task = make(max_length=20)
    long = ChoiceExample("天" * 50 + "#idiom#" + "地" * 50, "", ["好", "坏"], 0)
    (feature,) = task.encode(long, True)
    assert feature["input_ids"].shape == (2, 20)
    assert "好地" in rows(feature)[0] and "坏地" in rows(feature)[1]
    (answer,) = answer_all([task.steps(task.request(task.request_of(long)))], run)
    assert answer["truncated"] is True and answer["answer"] == "好"


def test_long_texts_are_cut_at_their_end() -> None:
    (feature,) = make(max_length=16).encode(ChoiceExample("天地玄黄" * 20, "何", ["好", "坏"], 0), True)
    assert rows(feature)[1].startswith("[CLS]天地玄黄") and rows(feature)[1].endswith("[SEP]何坏[SEP]")


def test_accuracy() -> None:
    task = make(num_choices=4)
    metrics = task.metrics()
    for example in (EXAMPLE, ChoiceExample("", "", ["好", "坏"], 1), ChoiceExample("", "", ["坏", "好"], 1)):
        features = task.encode(example, training=False)
        metrics.add(example, features, run(features, 2))
    assert metrics.result() == {"accuracy": pytest.approx(2 / 3)}
    assert task.metrics().result() == {"accuracy": 0.0}


@pytest.mark.parametrize(
    ("example", "code"),
    [(ChoiceExample("", "", ["甲", "乙"]), "no-label"), (ChoiceExample("", "", ["甲", "乙", "丙"], 0), "choice-count")],
)
def test_examples_that_cannot_be_learnt(example: ChoiceExample, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make(num_choices=2).encode(example, training=True)
    assert caught.value.code == code


@pytest.mark.parametrize("value", ["天", {}, {"choices": []}, {"choices": [1]}, {"choices": ["甲"], "context": 1}])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError):
        make().request(value)


def test_the_task_file(tmp_path: Path) -> None:
    task = make()
    task.fit([EXAMPLE])
    task.save(tmp_path)
    assert load_task(tmp_path, tokenizer(), INPUTS).options == task.options
