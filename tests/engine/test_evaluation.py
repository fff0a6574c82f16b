"""Scores and predictions do not depend on how features are batched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import paddle
import pytest

from tests.engine.toy import Tagger, build, features
from zoo_cli.base.errors import Location, MemoryLimitError
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.predictor import Predictor
from zoo_cli.recipe.schema import TrainSection
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task, answer_all

Verdict = tuple[int, list[bool]]


class Accuracy(Metrics[list[Feature]]):
    def __init__(self) -> None:
        self.order: list[int] = []
        self.right = self.total = 0

    def judge(self, example: list[Feature], features: Sequence[Feature], outputs: Sequence[Outputs]) -> Verdict:
        right = []
        for feature, output in zip(features, outputs, strict=True):
            counts = feature["labels"] != -100
            right += (output["logits"].argmax(-1) == feature["labels"])[counts].tolist()
        return len(example), right

    def record(self, verdict: Verdict) -> None:
        count, right = verdict
        self.order.append(count)
        self.right += sum(right)
        self.total += len(right)

    def result(self) -> dict[str, Any]:
        return {"accuracy": self.right / max(1, self.total), "order": self.order}


class Tagging(Task[list[Feature]]):
    """An example is a list of features."""

    name = "tagging"
    output_names = ("logits",)
    sequence_outputs = frozenset({"logits"})
    padding = MappingProxyType({"labels": -100})

    def __init__(self) -> None:
        super().__init__(None, None, ("input_ids",))  # type: ignore[arg-type]

    def request_of(self, example: list[Feature]) -> dict[str, Any]:
        raise NotImplementedError

    def encode(self, example: list[Feature], training: bool) -> list[Feature]:
        assert not training
        return example

    def metrics(self) -> Accuracy:
        return Accuracy()

    def request(self, value: Any) -> Any:
        return value

    def steps(self, request: Any) -> Steps:
        first = yield [request]
        second = yield [{"input_ids": first[0]["logits"].argmax(-1) + 1}]
        return second[0]["logits"].sum()


def examples() -> list[list[Feature]]:
    rows = iter(features(50))
    return [[next(rows) for _ in range(count)] for count in (1, 3, 0, 20, 2, 9)]


def alone(model: Tagger, feature: Feature) -> tuple[np.ndarray, float]:
    with paddle.no_grad():
        result = model(**{name: paddle.to_tensor(array[None]) for name, array in feature.items()})
    return result.logits.numpy()[0], 0.0 if result.loss is None else result.loss.item()


@pytest.mark.parametrize("limits", [{"batch_size": 1}, {"batch_size": 7}, {"batch_tokens": 30}, {"batch_size": 1000}])
def test_scores_equal_those_of_lone_sequences(limits: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_cli.engine.evaluation._WINDOW", 2)
    model = build()
    scores = Evaluation(model, Tagging(), examples(), TrainSection(**limits))()
    model.eval()
    right = total = loss = 0.0
    for example in examples():
        for feature in example:
            logits, own_loss = alone(model, feature)
            counts = feature["labels"] != -100
            right += (logits.argmax(-1) == feature["labels"])[counts].sum()
            total += counts.sum()
            loss += own_loss * counts.sum()
    assert scores["accuracy"] == right / total
    assert scores["loss"] == pytest.approx(loss / total, rel=1e-5)
    assert scores["order"] == [1, 3, 0, 20, 2, 9]


def test_an_empty_development_set_has_no_loss() -> None:
    assert Evaluation(build(), Tagging(), [], TrainSection())() == {"accuracy": 0.0, "order": []}


@pytest.mark.parametrize("limits", [{"batch_size": 4}, {"batch_tokens": 17}])
def test_predictions_come_in_order_and_without_padding(limits: dict[str, int]) -> None:
    model = build()
    rows = [{"input_ids": row["input_ids"]} for row in features(20)]
    outputs = Predictor(model, Tagging(), **limits)(rows)
    assert not model.training
    for row, output in zip(rows, outputs, strict=True):
        expected, _ = alone(model, row)
        assert output["logits"].shape == expected.shape
        np.testing.assert_allclose(output["logits"], expected, atol=1e-6)
        assert output["logits"].base is None  # holds no batch in memory
    assert Predictor(model, Tagging())([]) == []


def test_a_predictor_drives_conversations() -> None:
    predictor = Predictor(build(), Tagging(), batch_size=3)
    rows = [{"input_ids": row["input_ids"]} for row in features(8)]

    def conversations() -> Iterator[Steps]:
        for row in rows:
            yield Tagging().steps(row)

    together = list(answer_all(conversations(), predictor))
    lone = [next(answer_all([Tagging().steps(row)], predictor)) for row in rows]
    np.testing.assert_allclose(together, lone, rtol=1e-4)


def test_out_of_memory_is_explained() -> None:
    model = build()
    model.encoder.forward = lambda hidden: paddle.zeros([2**50])
    with pytest.raises(MemoryLimitError) as caught:
        Predictor(model, Tagging())(features(3))
    assert "smaller batches" in str(caught.value)


class Tuned(Tagging):
    """Remembers what it was tuned with; its scores are those of what it then is."""

    total = 0

    def tune(self, metrics: Accuracy) -> None:
        self.total = metrics.total


def test_a_task_is_tuned_where_that_is_asked_for() -> None:
    task = Tuned()
    Evaluation(build(), task, examples(), TrainSection())()
    assert task.total == 0
    Evaluation(build(), task, examples(), TrainSection(), tune=True)()
    assert task.total > 0


class Sourced(list[Feature]):
    """Features that come from a file."""

    def __init__(self, features: list[Feature], file: str | None) -> None:
        super().__init__(features)
        self.source = None if file is None else Location(file, 1)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["data/dev.en", "data/dev.zh", "data/dev.en", None, "data/dev.zh", "data/dev.zh"], ["dev.en", "dev.zh"]),
        (["en/dev", "zh/dev", "en/dev", None, "zh/dev", "zh/dev"], ["en/dev", "zh/dev"]),
    ],
)
def test_each_file_is_scored_by_itself(files: list[str | None], names: list[str]) -> None:
    model, rows = build(), examples()
    sourced = [Sourced(row, file) for row, file in zip(rows, files, strict=True)]
    scores = Evaluation(model, Tagging(), sourced, TrainSection(), by_file=True)()
    alone = [
        Evaluation(
            model, Tagging(), [row for row, own in zip(rows, files, strict=True) if own == file], TrainSection()
        )()
        for file in dict.fromkeys(file for file in files if file)
    ]
    table = scores["files"]
    assert list(table) == [*names, "mean"]
    assert [table[name]["accuracy"] for name in names] == [each["accuracy"] for each in alone]
    assert table["mean"]["accuracy"] == pytest.approx(sum(each["accuracy"] for each in alone) / 2)
    assert scores["accuracy"] == Evaluation(model, Tagging(), rows, TrainSection())()["accuracy"]


def test_one_file_needs_no_table() -> None:
    sourced = [Sourced(row, "dev.txt") for row in examples()]
    assert "files" not in Evaluation(build(), Tagging(), sourced, TrainSection(), by_file=True)()
