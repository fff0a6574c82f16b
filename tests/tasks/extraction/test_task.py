"""Requests, windows and the schema tree, answered by models of rules."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.extraction.models import FILLER, INPUTS, VOCABS, RuleModel, ernie, make_task, predict, random_model
from zoo_cli import tokenizers
from zoo_cli.base.errors import DataError
from zoo_cli.tasks.base import answer_all, load_task
from zoo_cli.tasks.extraction.preprocess import PairEncoder
from zoo_cli.tasks.extraction.task import ExtractionTask

TEXTS = [
    "然而海外图书价格奇昂。",
    "ABC公司 2022年发布了iPhone 14",
    "老红军王成汉上将😀为延安",
    "é ﬁ 龘\u0301",
    "[SEP] 的",
]


def at(text: str, name: str, probability: float = 0.81) -> dict[str, Any]:
    start = text.index(name)
    return {"text": name, "start": start, "end": start + len(name), "probability": pytest.approx(probability)}


@pytest.mark.parametrize("upstream_windows", [False, True])
def test_many_requests_are_answered_as_each_of_them_alone(upstream_windows: bool) -> None:
    task = make_task(upstream_windows=upstream_windows)
    texts: list[Any] = [*TEXTS, TEXTS[:3], "", [""], []]
    requests = [task.request({"text": text, "schema": [{"公司": "产品"}, "地点"]}) for text in texts]
    together = list(answer_all(task.conversations(requests), random_model(3, power=1.0)))
    assert together == [next(answer_all([task.steps(each)], random_model(3, power=1.0))) for each in requests]
    assert any(together[: len(TEXTS)]) and together[-3:] == [{}, [{}], []]


# -- encoding ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ernie", "ernie_m"])
def test_pairs_are_those_of_the_tokenizer(name: str) -> None:
    kind = {"ernie": "ErnieTokenizer", "ernie_m": "ErnieMTokenizer"}[name]
    tokenizer = tokenizers.load(VOCABS / name, class_name=kind)
    encoder = PairEncoder(tokenizer)
    for prompt in ("人名", "ABC的情感倾向[正向,负向]"):
        for text, encoding in zip(TEXTS, encoder.texts(TEXTS), strict=True):
            made = encoder.pair(encoder.prompt(prompt), encoding, (0, len(encoding.ids)))
            (expected,) = tokenizer.encode_batch([prompt], [text])
            for field in ("ids", "type_ids", "offsets", "special_tokens_mask", "sequence_ids"):
                assert getattr(made, field).tolist() == getattr(expected, field).tolist(), field


def test_features_have_the_inputs_that_the_model_names() -> None:
    asked: list[Any] = []

    def run(features: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        asked.extend(features)
        return random_model(0)(features)

    predict(make_task(inputs=("input_ids", "position_ids")), run, {"text": "中国", "schema": "地名"})
    assert [list(feature) for feature in asked] == [["input_ids", "position_ids"]]
    assert asked[0]["position_ids"].tolist() == list(range(len(asked[0]["input_ids"])))


# -- the schema tree --------------------------------------------------------------------------------------------


def test_spans_relations_and_classes() -> None:
    text = "老红军王成汉上将为延安时期出版物签字"
    model = RuleModel(
        {
            "人名": ["王成汉"],
            "地名": ["延安"],
            "王成汉的称号": ["老红军", "上将"],
            "老红军的年代": ["时期"],
            "上将的年代": [],
        },
        classes={"情感倾向[正向,负向]": "正向", "王成汉的情感倾向[正向,负向]": "负向"},
    )
    schema = [
        {"人名": [{"称号": ["年代"]}, "情感倾向[正向，负向]", "籍贯"]},
        "地名",
        "组织",
        "情感倾向[正向，负向]",
    ]
    (result,) = predict(make_task(), model, {"text": text, "schema": schema})
    assert result == {
        "人名": [
            at(text, "王成汉")
            | {
                "relations": {
                    "称号": [at(text, "老红军") | {"relations": {"年代": [at(text, "时期")]}}, at(text, "上将")],
                    "情感倾向[正向，负向]": [{"text": "负向", "probability": pytest.approx(0.81)}],
                }
            }
        ],
        "地名": [at(text, "延安")],
        "情感倾向[正向，负向]": [{"text": "正向", "probability": pytest.approx(0.81)}],
    }
    assert list(result) == ["人名", "地名", "情感倾向[正向，负向]"]
    assert list(result["人名"][0]) == ["text", "start", "end", "probability", "relations"]
    # One batch for each level: 4 roots; 3 children of one person; 2 grandchildren of two titles.
    assert model.batches == [4, 3, 2]
    json.dumps(result)


def test_english_prompts_put_the_parent_behind() -> None:
    text = "iPhone 14"
    model = RuleModel(
        {"Aspect": ["iPhone"], "Opinion of iPhone": ["14"]},
        classes={"Sentiment classification of iPhone [negative, positive]": "positive"},
    )
    schema = {"Aspect": ["Opinion", "Sentiment classification [negative, positive]"]}
    (result,) = predict(make_task(schema_lang="en", schema=schema), model, text)
    relations = result["Aspect"][0]["relations"]
    assert relations["Opinion"] == [at(text, "14")]
    assert relations["Sentiment classification [negative, positive]"][0]["text"].strip() == "positive"


def test_the_same_question_is_asked_once_and_answered_for_each() -> None:
    text = "王成汉为王成汉签字"
    model = RuleModel({"人名": ["王成汉"], "王成汉的动作": ["签字"]})
    (result,) = predict(make_task(), model, {"text": text, "schema": {"人名": "动作"}})
    first, second = result["人名"]
    assert first["relations"] == second["relations"] == {"动作": [at(text, "签字")]}
    assert first["relations"]["动作"][0] is not second["relations"]["动作"][0]
    assert model.batches == [1, 1]


def test_a_classification_is_answered_from_its_prompt_and_a_span_from_the_text() -> None:
    task = make_task()
    everywhere = lambda features: [  # noqa: E731
        {"start_prob": np.full(len(f["input_ids"]), 0.9), "end_prob": np.full(len(f["input_ids"]), 0.9)}
        for f in features
    ]
    (result,) = predict(task, everywhere, {"text": "中国", "schema": ["国名", "好坏[好,坏]", "身高[米]"]})
    assert [entry["text"] for entry in result["国名"]] == ["中", "国"]
    assert [set(entry) for entry in result["好坏[好,坏]"]] == [{"text", "probability"}]
    assert [entry["text"] for entry in result["身高[米]"]] == ["中", "国"]


def test_special_tokens_answer_nothing() -> None:
    def only_specials(features: list[Any]) -> list[Any]:
        outputs = []
        for feature in features:
            special = np.isin(feature["input_ids"], [ernie().cls_token_id, ernie().sep_token_id])
            outputs.append({"start_prob": special.astype(np.float32), "end_prob": special.astype(np.float32)})
        return outputs

    request = {"text": "中国", "schema": ["国名", "好坏[好,坏]"]}
    assert predict(make_task(), only_specials, request) == [{}]
    upstream = predict(make_task(upstream_windows=True), only_specials, request)[0]
    assert {(entry["text"], entry["start"], entry["end"]) for entry in upstream["国名"]} == {("", 0, 0)}


def test_a_start_on_the_separator_is_one_on_the_first_token() -> None:
    def run(features: list[Any]) -> list[Any]:
        (feature,) = features
        size = len(feature["input_ids"])
        starts, ends = np.zeros(size), np.zeros(size)
        separator = feature["input_ids"].tolist().index(ernie().sep_token_id)
        starts[separator], ends[separator + 2] = 0.8, 0.9
        return [{"start_prob": starts, "end_prob": ends}]

    for upstream in (False, True):
        (result,) = predict(make_task(upstream_windows=upstream), run, {"text": "中国人", "schema": "国名"})
        assert result == {"国名": [{"text": "中国", "start": 0, "end": 2, "probability": pytest.approx(0.72)}]}


# -- requests ---------------------------------------------------------------------------------------------------


def test_texts_of_a_list_and_requests_are_independent() -> None:
    task, model = make_task(schema=["人名", {"地名": ["区号"]}]), random_model(1, 2.0)
    texts = ["老红军王成汉上将", "", "延安时期多种出版物", "  \n", "海外图书"]
    alone = [predict(task, model, text)[0] for text in texts]
    assert predict(task, model, *texts) == alone
    assert predict(task, model, *reversed(texts)) == alone[::-1]
    assert predict(task, model, {"text": texts}) == [alone]
    assert alone[1] == alone[3] == {} and any(alone)


def test_schemas_of_requests_do_not_mix() -> None:
    task, model = make_task(schema="人名"), RuleModel({"人名": ["王"], "地名": ["延安"]})
    schema = ["地名", {"人名": "生日"}]
    untouched = copy.deepcopy(schema)
    results = predict(
        task, model, "王", {"text": "王延安", "schema": schema}, "延安", {"text": "延安", "schema": "地名"}
    )
    assert [list(result) for result in results] == [["人名"], ["地名", "人名"], [], ["地名"]]
    assert schema == untouched and task.options.schema == "人名"


def test_options_of_a_request() -> None:
    task, model = make_task(schema="人名"), RuleModel({"人名": ["王"]}, probability=0.4)
    asked = [{"text": "王", "position_threshold": limit, "id": 7} for limit in (0.5, 0.4, 0.3, 0)]
    assert [bool(result) for result in predict(task, model, *asked)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (3, "bad-request"),
        ({"schema": "a"}, "no-text"),
        ({"text": None}, "no-text"),
        ({"text": 5}, "bad-request"),
        ({"text": ["a", 5], "schema": "a"}, "bad-request"),
        ("a", "no-schema"),
        ({"text": "a", "schema": {"a": 1}}, "bad-schema"),
        ({"text": "a", "schema": "a", "schema_lang": "fr"}, "bad-request"),
        ({"text": "a", "schema": "a", "position_threshold": "0.5"}, "bad-request"),
        ({"text": "a", "schema": "a", "position_threshold": 1.1}, "bad-request"),
        ({"text": "a", "schema": "a", "max_length": 513}, "bad-request"),
        ({"text": "a", "schema": "a", "max_length": True}, "bad-request"),
        ({"text": "a", "schema": "a" * 600 + "王" * 600}, "prompt-too-long"),
        ({"text": "a", "schema": {"人名": {"生日": "王" * 600}}}, "prompt-too-long"),
    ],
)
def test_wrong_requests(value: Any, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make_task().request(value)
    assert caught.value.code == code
    assert caught.value.message


def test_an_overlong_relation_is_left_out() -> None:
    text = "王" * 100
    model = RuleModel({"人名": ["王" * 100], "王" * 100 + "的生日": ["王"]})
    for upstream in (False, True):
        task = make_task(max_length=112, upstream_windows=upstream)
        (result,) = predict(task, model, {"text": text + "成", "schema": {"人名": "生日"}, "max_length": 106})
        assert result == {"人名": [at(text, text)]}


# -- long texts -------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(24, 60), st.integers(4, 12))
def test_no_span_is_lost_at_a_border(data: st.DataObject, max_length: int, overlap: int) -> None:
    task = make_task(max_length=max_length, overlap=overlap, schema="人名")
    name = data.draw(st.sampled_from(["王", "王成", "王成汉上"]))
    parts = data.draw(st.lists(st.text(FILLER, min_size=1, max_size=40), min_size=1, max_size=8))
    text = name.join(parts)
    (result,) = predict(task, RuleModel({"人名": [name]}), text)
    expected = [place for place in range(len(text)) if text.startswith(name, place)]
    assert [entry["start"] for entry in result.get("人名", [])] == expected
    assert all(text[entry["start"] : entry["end"]] == name == entry["text"] for entry in result.get("人名", []))


def test_upstream_windows_lose_a_span_at_the_border() -> None:
    text = "的" * 24 + "王成汉" + "的" * 24
    model = RuleModel({"人名": ["王成汉"]})
    request = {"text": text, "schema": "人名"}
    assert predict(make_task(max_length=30, upstream_windows=True), model, request) == [{}]
    assert predict(make_task(max_length=30, overlap=6), model, request) == [{"人名": [at(text, "王成汉")]}]


@settings(max_examples=40, deadline=None)
@given(st.text(FILLER + "王成汉", min_size=1, max_size=40), st.integers(0, 5))
def test_a_text_that_fits_is_read_as_a_whole(text: str, seed: int) -> None:
    request = {"text": text, "schema": ["人名", {"地名": "区号"}]}
    small, large = make_task(max_length=64, overlap=3), make_task(max_length=512)
    assert predict(small, random_model(seed), request) == predict(large, random_model(seed), request)


def test_windows_of_a_long_text_share_one_batch_and_vote_on_a_class() -> None:
    text = "王" + "的" * 50
    task = make_task(max_length=32, overlap=4, schema=["人名", "好坏[好,坏]"])
    model = RuleModel({"人名": ["王"]}, classes={"好坏[好,坏]": "坏"})
    (result,) = predict(task, model, text)
    assert result == {"人名": [at(text, "王")], "好坏[好,坏]": [{"text": "坏", "probability": pytest.approx(0.81)}]}
    assert len(model.batches) == 1 and model.batches[0] > 3


def test_inputs_are_no_longer_than_they_may_be() -> None:
    sizes: list[int] = []

    def run(features: list[Any]) -> list[Any]:
        sizes.extend(len(feature["input_ids"]) for feature in features)
        return random_model(3, 8.0)(features)

    predict(make_task(max_length=40, schema=["人名", {"组织机构名": "区号"}]), run, "海外图书价格" * 40, "海外")
    assert max(sizes) <= 40 and min(sizes) < 10


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60), st.integers(0, 3), st.booleans())
def test_any_text_is_answered_with_its_own_spans(text: str, seed: int, upstream: bool) -> None:
    task = make_task(max_length=32, overlap=4, upstream_windows=upstream, schema=["人名", {"地名": ["区号"]}])
    (result,) = predict(task, random_model(seed, 2.0), text)
    entries = [entry for found in result.values() for entry in found if "start" in entry]
    entries += [one for entry in entries for found in entry.get("relations", {}).values() for one in found]
    for entry in entries:
        if "start" in entry:
            assert entry["text"] == text[entry["start"] : entry["end"]] or upstream
            assert entry["text"] or upstream


# -- the task file ----------------------------------------------------------------------------------------------


def test_a_task_goes_to_another_process() -> None:
    task = make_task(schema="人名")
    copied = pickle.loads(pickle.dumps(task))
    assert predict(copied, random_model(5), "老红军王成汉") == predict(task, random_model(5), "老红军王成汉")


def test_a_saved_task_answers_alike(tmp_path: Any) -> None:
    task = make_task(schema=["人名", {"地名": ["区号"]}], position_threshold=0.3)
    task.save(tmp_path)
    loaded = load_task(tmp_path, ernie(), INPUTS)
    assert isinstance(loaded, ExtractionTask) and loaded.options == task.options
    text = "老红军王成汉上将为延安"
    assert predict(loaded, random_model(5), text) == predict(task, random_model(5), text)
