"""Tagging from examples to entities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.tasks.toy import INPUTS, Forward, evaluate, predict, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity, TaggedTokens
from zoo_cli.tasks.base import load_task
from zoo_cli.tasks.token_classification.spec import TokenClassificationOptions
from zoo_cli.tasks.token_classification.task import TokenClassificationTask

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def make(**options: Any) -> TokenClassificationTask:
    return TokenClassificationTask(TokenClassificationOptions(**{"labels": TAGS, **options}), tokenizer(), INPUTS)


def tagger(meaning: dict[str, int], count: int = len(TAGS)) -> Forward:
    """A model that gives each token a tag by its character."""
    table = np.zeros((len(tokenizer()), count))
    table[:, 0] = 1.0
    for character, tag in meaning.items():
        (token,) = tokenizer().encode_batch([character], add_special_tokens=False)[0].ids
        table[token] = 4.0 * np.eye(count)[tag]
    return lambda ids: {"logits": table[ids]}


CITY = tagger({"北": 1, "京": 2, "上": 1, "海": 2, "张": 3, "三": 4})


def test_entities_of_a_text() -> None:
    sure = float(np.exp(4) / (np.exp(4) + 4))
    (answer,) = predict(make(), ["我 爱北京，张三"], CITY)
    assert answer == {
        "entities": [
            {"text": "北京", "label": "LOC", "start": 3, "end": 5, "score": pytest.approx(sure)},
            {"text": "张三", "label": "PER", "start": 6, "end": 8, "score": pytest.approx(sure)},
        ]
    }


def test_white_space_does_not_part_an_entity() -> None:
    (answer,) = predict(make(), ["北 京"], CITY)
    assert [entity["text"] for entity in answer["entities"]] == ["北 京"]
    (answer,) = predict(make(), [{"tokens": ["爱", "北", " ", "京", " "]}], CITY)
    assert [(entity["start"], entity["end"]) for entity in answer["entities"]] == [(1, 4)]


def test_entities_of_tokens() -> None:
    requests = [{"tokens": ["在", "北", "京"]}, {"tokens": ["by", "ann", "bob"]}]
    answers = predict(make(), requests, tagger({"北": 1, "京": 2, "a": 3, "b": 4}))
    found = [(e["text"], e["start"], e["end"]) for answer in answers for e in answer["entities"]]
    assert found == [("北京", 1, 3), ("by", 0, 1), ("ann bob", 1, 3)]


def test_empty_texts() -> None:
    assert predict(make(), ["", "  \n", {"tokens": []}], CITY) == [{"entities": []}] * 3
    (answer,) = predict(make(), [{"tokens": [" ", "\t"]}], CITY)
    assert answer == {"entities": []}


def test_first_piece_of_a_word_decides() -> None:
    (answer,) = predict(make(), ["we saw bob."], tagger({"b": 3}))
    assert [(e["text"], e["start"], e["end"]) for e in answer["entities"]] == [("bob", 7, 10)]


@given(
    st.text(alphabet="北京上海张三天地 ab", max_size=90), st.integers(8, 24), st.one_of(st.none(), st.integers(1, 30))
)
def test_windows_change_nothing_for_a_model_without_context(text: str, length: int, stride: int | None) -> None:
    whole = predict(make(max_length=512), [text], CITY)
    assert predict(make(max_length=length, stride=stride), [text], CITY) == whole
    assert predict(make(max_length=length, stride=stride), [text], CITY, batch_size=5) == whole


def test_each_token_is_read_where_it_has_the_most_context() -> None:
    def edges_lie(ids: np.ndarray) -> dict[str, np.ndarray]:
        logits = CITY(ids)["logits"].copy()
        if len(ids) > 10:  # at the edges of a window everything looks like a place
            logits[[1, 2, -3, -2]] = np.eye(5)[1] * 9
        return {"logits": logits}

    text = "天" * 9 + "北京" + "地" * 30 + "张三" + "玄" * 9
    found = predict(make(max_length=16, stride=7), [text], edges_lie)[0]["entities"]
    inner = [entity for entity in found if 2 <= entity["start"] < len(text) - 2]
    assert [entity["text"] for entity in inner] == ["北京", "张三"]


def test_labels_stand_on_first_pieces() -> None:
    (feature,) = make().encode(TaggedTokens(["bob", "爱", "北", "京"], ["B-PER", "O", "B-LOC", "I-LOC"]), True)
    assert feature["labels"].tolist() == [-100, 3, -100, -100, 0, 1, 2, -100]
    (feature,) = make(label_all_pieces=True).encode(TaggedTokens(["bob", "ab"], ["B-PER", "O"]), True)
    assert feature["labels"].tolist() == [-100, 3, 4, 4, 0, 0, -100]


def test_every_word_is_learnt_once() -> None:
    task = make(max_length=10, stride=3)
    tags = ["B-LOC", "I-LOC", "O"] * 9
    features = task.encode(TaggedTokens(["北", "京", "天"] * 9, tags), True)
    assert len(features) > 3
    learnt = np.concatenate([feature["labels"][feature["labels"] != -100] for feature in features])
    assert [TAGS[index] for index in learnt] == tags
    for feature in features:
        assert feature["labels"][[0, -1]].tolist() == [-100, -100]


def test_tags_are_learnt() -> None:
    task = make(labels=None)
    with pytest.raises(UsageError):
        task.model_config()
    task.fit([TaggedTokens(["高", "勇", "男"], ["B-NAME", "E-NAME", "O"]), TaggedTokens(["中"], ["S-C"])])
    assert task.tags == ["O", *(f"{p}-{t}" for t in ("C", "NAME") for p in "BIES")]
    assert task.options.split == "characters"
    assert task.model_config()["num_labels"] == 9
    (feature,) = task.encode(TaggedTokens(["高", "某", "勇"], ["B-NAME", "M-NAME", "E-NAME"]), True)
    assert [task.tags[index] for index in feature["labels"][1:-1]] == ["B-NAME", "I-NAME", "E-NAME"]


def test_words_are_learnt_as_words() -> None:
    task = make(labels=None)
    task.fit([TaggedTokens(["U.N.", "official"], ["B-ORG", "O"])])
    assert task.options.labels == ["O", "B-ORG", "I-ORG"]
    assert task.options.split == "words"


def test_published_tag_order_and_spelling_are_kept() -> None:
    labels = ["B-PER", "M-PER", "E-PER", "S-PER", "O"]
    task = make(labels=labels)
    task.fit([TaggedTokens(["张"], ["S-PER"])])
    assert task.model_config()["id2label"] == dict(enumerate(labels))
    (answer,) = predict(task, ["张大三天"], tagger({"张": 0, "大": 1, "三": 2, "天": 4}, 5))
    assert [entity["text"] for entity in answer["entities"]] == ["张大三"]


def test_annotated_texts() -> None:
    text = "张三爱New York和北京"
    example = AnnotatedText(
        text,
        [
            Entity(0, 2, "PER", "a"),
            Entity(3, 11, "LOC", "b"),
            Entity(7, 11, "PER", "c"),  # inside of the other
            Entity(12, 14, "LOC", "d"),
        ],
    )
    task = make(labels=None)
    task.fit([example])
    assert task.tags == TAGS
    (feature,) = task.encode(example, True)
    tags = [TAGS[index] for index in feature["labels"] if index != -100]
    assert tags == ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O", "B-LOC", "I-LOC"]

    oracle = tagger({"张": 3, "三": 4, "n": 1, "y": 2, "北": 1, "京": 2})
    result = evaluate(task, [example], oracle)
    assert result["precision"] == 1.0
    assert result["recall"] == 0.75  # tags cannot spell the inner entity, which counts all the same


def test_bioes_for_annotated_texts() -> None:
    task = make(labels=None, scheme="bioes")
    task.fit([AnnotatedText("北京", [Entity(0, 2, "LOC", "a")])])
    (feature,) = task.encode(AnnotatedText("北京海", [Entity(0, 2, "LOC", "a"), Entity(2, 3, "LOC", "b")]), True)
    assert [task.tags[index] for index in feature["labels"][1:-1]] == ["B-LOC", "E-LOC", "S-LOC"]


def test_scores_of_tagged_tokens() -> None:
    gold = TaggedTokens(["北", "京", "张", "天"] * 40, ["B-LOC", "I-LOC", "B-NEW", "O"] * 40)
    task = make(max_length=20)
    result = evaluate(task, [gold], CITY)
    assert result["labels"]["LOC"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 40}
    assert result["labels"]["PER"]["support"] == 0 and result["labels"]["NEW"]["recall"] == 0.0
    assert result["f1"] == 0.5


def test_strict_predictions() -> None:
    broken = tagger({"北": 2, "京": 2, "张": 3})
    assert [e["text"] for e in predict(make(), ["北京张"], broken)[0]["entities"]] == ["北京", "张"]
    assert [e["text"] for e in predict(make(strict=True), ["北京张"], broken)[0]["entities"]] == ["张"]


@pytest.mark.parametrize(
    ("example", "code"),
    [
        (TaggedTokens(["北"], ["B-NEW"]), "unknown-label"),
        (TaggedTokens(["北"], None), "no-label"),
        (TaggedTokens(["北"], ["O", "O"]), "tag-count"),
        (TaggedTokens(["北"], ["LOC"]), "bad-tag"),
    ],
)
def test_examples_that_cannot_be_learnt(example: TaggedTokens, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make().encode(example, training=True)
    assert caught.value.code == code


def test_data_without_entities() -> None:
    with pytest.raises(DataError) as caught:
        make(labels=None).fit([TaggedTokens(["天"], ["O"])])
    assert caught.value.code == "too-few-labels"


def test_the_task_file_keeps_what_was_learnt(tmp_path: Path) -> None:
    task = make(labels=None)
    task.fit([TaggedTokens(["北", "京"], ["B-LOC", "I-LOC"])])
    task.save(tmp_path)
    loaded = load_task(tmp_path, tokenizer(), INPUTS)
    assert loaded.options == task.options
    oracle = tagger({"北": 1, "京": 2}, 3)
    assert predict(loaded, ["去北京"], oracle) == predict(task, ["去北京"], oracle)


@pytest.mark.parametrize("value", [3, {}, {"text": 3}, {"tokens": "北京"}, {"tokens": [1]}])
def test_bad_requests(value: Any) -> None:
    with pytest.raises(DataError):
        make().request(value)


def test_request_of_an_example_is_a_request() -> None:
    task = make()
    assert task.request(task.request_of(TaggedTokens(["北"], ["O"]))) == ["北"]
    assert task.request(task.request_of(AnnotatedText("北"))) == "北"


@pytest.mark.parametrize("options", [{"labels": ["O", "PER"]}, {"labels": ["O", "O"]}, {"stride": 0}, {"other": 1}])
def test_bad_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TokenClassificationOptions(**options)
