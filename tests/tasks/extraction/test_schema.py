from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import AnnotatedText, Entity, Relation
from zoo_cli.registry import task
from zoo_cli.tasks.extraction.schema import (
    MAX_DEPTH,
    Node,
    class_options,
    make_prompt,
    normalize,
    parse_schema,
    schema_from_annotations,
)
from zoo_cli.tasks.extraction.spec import TASK, ExtractionOptions


def plain(nodes: list[Node]) -> dict[str, Any]:
    return {node.name: plain(node.children) for node in nodes}


@pytest.mark.parametrize(
    ("schema", "tree"),
    [
        ("人名", {"人名": {}}),
        (["时间", "选手"], {"时间": {}, "选手": {}}),
        ({"竞赛名称": ["主办方", "时间"]}, {"竞赛名称": {"主办方": {}, "时间": {}}}),
        ({"原告": "委托代理人"}, {"原告": {"委托代理人": {}}}),
        (
            ["法院", {"原告": "委托代理人"}, {"被告": "委托代理人"}],
            {"法院": {}, "原告": {"委托代理人": {}}, "被告": {"委托代理人": {}}},
        ),
        ({"a": {"b": {"c": "d"}}, "e": []}, {"a": {"b": {"c": {"d": {}}}}, "e": {}}),
        ({"a": ["x", {"b": ["y"]}]}, {"a": {"x": {}, "b": {"y": {}}}}),
        (["a", {"a": "b"}, {"a": ["b", "c"]}], {"a": {"b": {}, "c": {}}}),
        (("a", "b"), {"a": {}, "b": {}}),
    ],
)
def test_schema_forms(schema: Any, tree: dict[str, Any]) -> None:
    parsed = plain(parse_schema(schema))
    assert parsed == tree
    assert list(parsed) == list(tree)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (3, "schema must"),
        (None, "schema must be a string, a list or a dictionary, not null"),
        ([], "schema asks for nothing"),
        ({}, "schema asks for nothing"),
        ("  ", "schema must not be empty"),
        (["a", {"原告": 5}], "schema[1].原告 must"),
        (["a", {"原告": ["b", None]}], "schema[1].原告[1] must"),
        ({"a": {3: "b"}}, "schema.a, key 3, must be a string"),
        ({"": "b"}, "schema, key '', must not be empty"),
        (["a", True], "schema[1] must be a string, a list or a dictionary, not a boolean"),
        ([["a"], [[]]], None),
    ],
)
def test_wrong_schema_is_located(schema: Any, place: str | None) -> None:
    if place is None:
        assert plain(parse_schema(schema)) == {"a": {}}
        return
    with pytest.raises(DataError) as caught:
        parse_schema(schema)
    assert caught.value.code == "bad-schema"
    assert caught.value.message.startswith(place)
    assert caught.value.fix


def test_depth_is_limited() -> None:
    schema: Any = "a"
    for _ in range(MAX_DEPTH + 1):
        schema = {"a": schema}
    with pytest.raises(DataError, match="deeper"):
        parse_schema(schema)


@settings(deadline=None)
@given(st.text())
def test_normalize_keeps_length_and_is_stable(text: str) -> None:
    once = normalize(text)
    assert len(once) == len(text)
    assert normalize(once) == once


def test_normalize_makes_full_width_ascii() -> None:
    assert normalize("情感［正向，负向］　ＡＢ１～") == "情感[正向,负向] AB1~"
    assert normalize("《书》。") == "《书》。"


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("情感倾向[正向,负向]", ["正向", "负向"]),
        ("Sentiment classification [negative, positive]", ["negative", "positive"]),
        ("身高[cm]", []),
        ("[a,b]之后", []),
        ("人名", []),
    ],
)
def test_class_options(prompt: str, options: list[str]) -> None:
    assert class_options(prompt) == options


@pytest.mark.parametrize(
    ("name", "parent", "language", "prompt"),
    [
        ("人名", None, "zh", "人名"),
        ("情感倾向[正向，负向]", None, "zh", "情感倾向[正向,负向]"),
        ("出生地", "王芳", "zh", "王芳的出生地"),
        ("情感倾向[正向，负向]", "价格", "zh", "价格的情感倾向[正向,负向]"),
        ("capital", "France", "en", "capital of France"),
        (
            "Sentiment classification [negative, positive]",
            "price",
            "en",
            "Sentiment classification of price [negative, positive]",
        ),
        ("价格", "ＡＢ", "zh", "AB的价格"),
        ("主办方", "", "zh", "的主办方"),
    ],
)
def test_prompts(name: str, parent: str | None, language: Any, prompt: str) -> None:
    assert make_prompt(name, parent, language) == prompt


def test_schema_from_annotations() -> None:
    texts = [
        AnnotatedText("a", [Entity(0, 1, "人", "1"), Entity(0, 1, "地", "2")], [Relation("住", "1", "2")]),
        AnnotatedText("b", [Entity(0, 1, "物", "1"), Entity(0, 1, "人", "2")], [Relation("有", "2", "1")]),
    ]
    assert schema_from_annotations(texts) == [{"人": ["住", "有"]}, "地", "物"]


def test_options_check_the_schema_and_survive_json() -> None:
    options = ExtractionOptions(schema=["a", {"b": ["c"]}], schema_lang="ch")
    assert options.schema_lang == "zh"
    assert ExtractionOptions.model_validate(options.model_dump(mode="json")) == options
    with pytest.raises(ValidationError, match=r"schema\[1\]\.b must"):
        ExtractionOptions(schema=["a", {"b": 3}])
    for wrong in ({"position_threshold": 1.5}, {"overlap": -1}, {"max_length": 4}, {"negative_ratio": -2}, {"x": 1}):
        with pytest.raises(ValidationError):
            ExtractionOptions.model_validate(wrong)


def test_registered() -> None:
    assert task("extraction") is TASK
