"""Joint intent and slots from examples to answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.tasks.toy import INPUTS, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity
from zoo_cli.tasks.base import Outputs, load_task
from zoo_cli.tasks.intent_slot.spec import IntentSlotOptions
from zoo_cli.tasks.intent_slot.task import IntentSlotTask

TAGS = ["O", "B-song", "I-song"]
SONG = AnnotatedText("放花心吧", [Entity(1, 3, "song", "0")], classes=["music"])
STOP = AnnotatedText("停吧", classes=["stop"])


def make(**options: Any) -> IntentSlotTask:
    return IntentSlotTask(IntentSlotOptions(**options), tokenizer(), INPUTS)


def fitted(**options: Any) -> IntentSlotTask:
    task = make(**options)
    task.fit([STOP, SONG])
    return task


def forward(ids: np.ndarray) -> Outputs:
    """花心 is a song; a text with 停 means stop."""
    flower, heart, stop = (tokenizer().encode_batch([character])[0].ids[1] for character in "花心停")
    slots = np.zeros((len(ids), 3))
    slots[:, 0] = 1
    slots[ids == flower, 1] = slots[ids == heart, 2] = 5
    return {"intent_logits": np.array([0.0, 3.0 if (ids == stop).any() else -3.0]), "slot_logits": slots}


def test_labels_come_from_the_data(tmp_path: Path) -> None:
    task = fitted()
    assert task.intents == ["music", "stop"] and task.options.labels == TAGS
    config = task.model_config()
    assert (config["num_intents"], config["num_labels"], config["id2label"][1]) == (2, 3, "B-song")
    task.save(tmp_path)
    again = load_task(tmp_path, tokenizer(), INPUTS)
    assert again.options == task.options and again.model_config() == config


def test_features() -> None:
    (feature,) = fitted().encode(SONG, training=True)
    assert feature["labels"].tolist() == [-100, 0, 1, 2, 0, -100]
    assert feature["intent_labels"] == 0 and feature["intent_labels"].dtype == np.int64
    (other,) = fitted().encode(AnnotatedText("天", classes=["new"]), training=False)
    assert other["intent_labels"] == -100
    batch = fitted().stack([feature, other])
    assert batch["intent_labels"].tolist() == [0, -100] and batch["labels"][1].tolist() == [-100, 0, *[-100] * 4]


def test_answers() -> None:
    song, stop = predict(fitted(), ["请放花心", {"text": "停"}], forward, batch_size=2)
    assert (song["intent"], song["confidence"]) == ("music", pytest.approx(1 / (1 + np.exp(-3))))
    assert [(slot["slot"], slot["entity"], slot["pos"]) for slot in song["value"]] == [("song", "花心", [2, 3])]
    assert (stop["intent"], stop["value"]) == ("stop", [])


def test_intents_of_long_texts_are_averaged() -> None:
    (answer,) = predict(fitted(max_length=8), ["停" + "天" * 20 + "花心"], forward)
    assert answer["intent"] == "music" and 0.5 < answer["confidence"] < 0.95
    assert [slot["pos"] for slot in answer["value"]] == [[21, 22]]


def test_metrics() -> None:
    wrong_intent = AnnotatedText("停花心", [Entity(1, 3, "song", "0")], classes=["music"])
    wrong_slot = AnnotatedText("放花心", [Entity(0, 3, "song", "0")], classes=["music"])
    scores = evaluate(fitted(), [SONG, STOP, wrong_intent, wrong_slot], forward)
    assert (scores["exact_match"], scores["intent_accuracy"]) == (0.5, 0.75)
    assert (scores["slot_precision"], scores["slot_f1"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert scores["slot_labels"]["song"]["support"] == 3
    unknown = evaluate(fitted(), [AnnotatedText("停", classes=["new"])], forward)
    assert unknown["intent_accuracy"] == 0


@pytest.mark.parametrize(
    ("classes", "code"), [([], "label-count"), (["a", "b"], "label-count"), (["c"], "unknown-label")]
)
def test_texts_that_cannot_be_learnt(classes: list[str], code: str) -> None:
    with pytest.raises(DataError) as caught:
        fitted().encode(AnnotatedText("天", classes=classes), training=True)
    assert caught.value.code == code


def test_options() -> None:
    with pytest.raises(UsageError):
        make().model_config()
    with pytest.raises(DataError):
        make().fit([SONG])
    for wrong in ({"intents": ["a"]}, {"intents": ["a", "a", "b"]}, {"labels": ["song"]}):
        with pytest.raises(ValueError):
            IntentSlotOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [{}, {"text": 1}, " ", 3])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError):
        fitted().request(value)
