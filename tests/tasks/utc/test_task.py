"""Unified text classification from examples to answers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks import toy
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import OptionExample, TextExample
from zoo_cli.tasks.base import Feature, Outputs, answer_all, load_task
from zoo_cli.tasks.utc.spec import UTCOptions
from zoo_cli.tasks.utc.task import INPUTS, MARKER, UTCTask
from zoo_cli.tokenizers import load
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer


@cache
def tokenizer() -> PretrainedTokenizer:
    """The toy tokenizer with the marker at the end of its vocabulary, as UTC's own have it."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        toy.tokenizer().save(folder)
        with (Path(folder) / "vocab.txt").open("a", encoding="utf-8") as handle:
            handle.write(MARKER + "\n")
        found = load(folder, class_name="ErnieTokenizer")
    assert isinstance(found, PretrainedTokenizer)
    return found


def make(**options: Any) -> UTCTask:
    return UTCTask(UTCOptions(**options), tokenizer(), ("input_ids",))


def encode(task: UTCTask, text: str, pair: str | None, options: list[str]) -> Feature:
    (feature,) = task.encode(OptionExample(text, pair, options, [0]), training=True)
    return feature


def test_the_input_of_paddlenlp() -> None:
    """Places, types, positions and mask that PaddleNLP's template gives for two choices of one and three tokens."""
    feature = encode(make(), "天地", "玄", ["好", "坏中坏"])
    tokens = tokenizer().convert_ids_to_tokens(feature["input_ids"].tolist())
    assert tokens == ["[CLS]", MARKER, "好", MARKER, *"坏中坏", "[SEP]", *"天地", "[SEP]", "玄", "[SEP]"]
    assert feature["token_type_ids"].tolist() == [0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0]
    assert feature["position_ids"].tolist() == [0, 1, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]
    assert feature["omask_positions"].tolist() == [1, 3] and feature["cls_positions"] == 7
    hidden = np.argwhere(feature["attention_mask"][0] == 0).tolist()
    assert hidden == sorted(
        [[i, j] for i in (1, 2) for j in (3, 4, 5, 6)] + [[j, i] for i in (1, 2) for j in (3, 4, 5, 6)]
    )
    assert feature["labels"].tolist() == [1, 0] and feature["labels"].dtype == np.float32
    single = encode(make(), "天", None, ["好"])
    assert tokenizer().convert_ids_to_tokens(single["input_ids"].tolist())[-3:] == ["天", "[SEP]", "[SEP]"]


@pytest.mark.parametrize(
    ("first", "second", "kept"), [(30, 2, (9, 2)), (2, 30, (2, 9)), (30, 30, (5, 5)), (6, 5, (6, 5)), (30, 0, (11, 0))]
)
def test_the_longer_text_is_cut(first: int, second: int, kept: tuple[int, int]) -> None:
    feature = encode(make(max_length=19), "天" * first, "地" * second, ["好", "坏"])
    tokens = tokenizer().convert_ids_to_tokens(feature["input_ids"].tolist())
    assert (tokens.count("天"), tokens.count("地")) == kept and len(tokens) <= 19


def test_choices_that_leave_no_room() -> None:
    with pytest.raises(DataError) as caught:
        encode(make(max_length=16), "天", None, ["好" * 5, "坏" * 5])
    assert caught.value.code == "no-room"


def test_batches() -> None:
    task = make()
    batch = task.stack([encode(task, "天地", None, ["好", "坏"]), encode(task, "天", None, ["好"])])
    length = batch["input_ids"].shape[1]
    assert batch["attention_mask"].shape == (2, 1, length, length)
    assert batch["attention_mask"][1, 0, :, 7:].sum() == 0 and batch["attention_mask"][1, 0, :7, :7].all()
    assert batch["omask_positions"].tolist() == [[1, 3], [1, 0]] and batch["cls_positions"].tolist() == [5, 3]
    assert batch["labels"].tolist() == [[1, 0], [1, -100]]


def run(features: list[Feature]) -> list[Outputs]:
    """Choices hold that begin with 好; one too many comes from padding."""
    good = tokenizer().convert_token_to_id("好")
    logits = [np.where(f["input_ids"][f["omask_positions"] + 1] == good, 2.0, -2.0) for f in features]
    return [{"logits": np.append(each, 99.0)} for each in logits]


def test_answers() -> None:
    task = make(choices=["好", "坏"], max_length=20)
    requests = ["天", {"text": "天" * 30, "text_pair": "地", "choices": ["坏", "好人", "好"]}]
    first, second = answer_all([task.steps(task.request(request)) for request in requests], run)
    sure = pytest.approx(1 / (1 + np.exp(-2)))
    assert first == {"predictions": [{"label": "好", "score": sure}]}
    assert [each["label"] for each in second["predictions"]] == ["好人", "好"] and second["truncated"] is True


def test_labelled_texts_become_choices(tmp_path: Path) -> None:
    task = make()
    rows = [TextExample("天", label="好"), TextExample("地", "玄", label=["坏", "好"])]
    task.fit(rows)
    assert task.choices == sorted(["好", "坏"])
    first, second = task.adapt(rows, training=True)
    assert [first.options[index] for index in first.labels or ()] == ["好"]
    assert [second.options[index] for index in second.labels or ()] == ["坏", "好"] and second.text_pair == "玄"
    with pytest.raises(DataError) as caught:
        list(task.adapt([TextExample("天", label="新")], training=False))
    assert caught.value.code == "unknown-label"
    task.save(tmp_path)
    again = load_task(tmp_path, tokenizer(), INPUTS)
    assert again.options == task.options and again.inputs == INPUTS


def test_metrics() -> None:
    task = make()
    metrics = task.metrics()
    for labels in ([0], [1]):
        example = OptionExample("天", None, ["好", "坏"], labels)
        features = task.encode(example, training=False)
        metrics.add(example, features, run(features))
    scores = metrics.result()
    assert (scores["accuracy"], scores["precision"], scores["recall"], scores["f1"]) == (0.5, 0.5, 0.5, 0.5)
    assert scores["labels"]["坏"]["recall"] == 0


def test_faults() -> None:
    with pytest.raises(UsageError) as caught:
        UTCTask(UTCOptions(), toy.tokenizer(), INPUTS)  # type: ignore[arg-type]
    assert caught.value.code == "no-marker"
    with pytest.raises(UsageError):
        make().request("天")
    for value in (1, {}, {"text": "天", "choices": []}, {"text": "天", "choices": ["好"], "text_pair": 1}):
        with pytest.raises(DataError):
            make().request(value)
    for label in (None, 1.5):
        with pytest.raises(DataError):
            list(make(choices=["好"]).adapt([TextExample("天", label=label)], training=True))
    with pytest.raises(DataError):
        make().encode(OptionExample("天", None, ["好"]), training=True)
    with pytest.raises(ValueError):
        UTCOptions(choices=["好", "好"])
