"""Dialogue from examples to answers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli import tokenizers
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import DialogueExample
from zoo_cli.tasks.dialogue.spec import DialogueOptions
from zoo_cli.tasks.dialogue.task import DialogueTask

CASES = Path(__file__).parents[2] / "golden" / "cases" / "tokenizers"
INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask")
EXAMPLE = DialogueExample(["你好", "你好，今天天气怎么样", "很好"], "我们去公园", ["公园 门票 免费"], ["我喜欢公园"])


@cache
def load() -> Any:
    return tokenizers.load(CASES / "vocabs" / "unified_transformer", class_name="UnifiedTransformerTokenizer")


def make(**options: Any) -> DialogueTask:
    return DialogueTask(DialogueOptions(**options), load(), INPUTS)


def golden() -> list[Any]:
    cases = json.loads((CASES / "unified_transformer.json").read_text(encoding="utf-8"))["dialogue_encode"]
    return [case for case in cases if case["kwargs"].get("response") and not isinstance(case["history"], str)]


@pytest.mark.parametrize("case", golden())
def test_batches_are_what_paddlenlp_encodes(case: dict[str, Any]) -> None:
    kwargs, expected = case["kwargs"], {name: np.array(value) for name, value in case["encoded"].items()}
    relative = kwargs.get("position_style") == "relative"
    response_length, limit = kwargs.get("max_response_len", 128), kwargs.get("max_seq_len", 512)
    task = make(
        max_length=limit + response_length * relative,  # which the task keeps free
        max_response_length=response_length,
        max_knowledge_length=kwargs.get("max_knowledge_len", 128),
        task_type=kwargs.get("task_type"),
        position_style=kwargs.get("position_style", "continuous"),
        roles=kwargs.get("return_role_ids", False),
        segmented=kwargs.get("is_split_into_words", True),
        decoding={"max_new_tokens": 4},
    )
    if any("\x01" in turn for turn in case["history"]):
        pytest.skip("roles are given as numbers here")
    knowledge = [kwargs["knowledge"]] if kwargs.get("knowledge") else []
    (feature,) = task.encode(DialogueExample(case["history"], kwargs["response"], knowledge), training=True)
    size = len(feature["input_ids"])
    batch = task.stack([feature])
    for name in expected.keys() & {"input_ids", "token_type_ids", "position_ids", "role_ids"}:
        np.testing.assert_array_equal(batch[name][0], np.ravel(expected[name])[-size:], err_msg=name)
    np.testing.assert_array_equal(batch["attention_mask"][0, 0], np.squeeze(expected["attention_mask"])[-size:, -size:])


@pytest.mark.parametrize("style", ["continuous", "relative"])
@pytest.mark.parametrize("roles", [False, True])
def test_prediction_continues_where_the_response_begins(style: str, roles: bool) -> None:
    task = make(position_style=style, roles=roles)
    labelled, prompt = task.encode(EXAMPLE, training=False)
    size = len(prompt["input_ids"])
    names = {"input_ids", "token_type_ids", "position_ids", *(["role_ids"] if roles else [])}
    assert labelled.keys() == names | {"labels"}
    for name in names:
        np.testing.assert_array_equal(prompt[name], labelled[name][:size])
    assert labelled["labels"][size - 1] == labelled["input_ids"][size]


def test_roles_are_told() -> None:
    task = make(roles=True)
    two = task.encode(EXAMPLE, training=True)[0]["role_ids"]
    three = task.encode(DialogueExample(["a", "b", "a"], "c", roles=[5, 6, 5, 7]), training=True)[0]["role_ids"]
    assert set(two.tolist()) == {0, 1}
    assert list(dict.fromkeys(three.tolist())) == [0, 5, 6, 7]  # the first token belongs to nobody
    marked = task.encode(DialogueExample(["a\x01x"], "c\x01"), training=True)[0]["role_ids"]
    assert set(marked.tolist()) == {0, 1}


def test_persona_and_knowledge_come_first() -> None:
    plain, known = (
        make().encode(DialogueExample(["你好"], "好", *more), training=True)[0]["input_ids"].tolist()
        for more in ((), (["公园免费"], ["我叫王芳"]))
    )
    assert len(known) > len(plain) and known[-len(plain) + 1 :] == plain[1:]


@pytest.mark.parametrize("style", ["continuous", "relative"])
def test_old_turns_are_left_out(style: str) -> None:
    task = make(max_length=64, max_response_length=20, position_style=style, decoding={"max_new_tokens": 20})
    prompt, truncated = task.prompt(
        task.request({"text": "最后一句", "history": [f"第{n}句话说了很多" for n in range(40)]})
    )
    assert truncated and len(prompt["input_ids"]) <= 44
    assert prompt["position_ids"].max() < 64
    short, whole = task.prompt(task.request("最后一句"))
    assert not whole
    tail = short["input_ids"][1:]
    np.testing.assert_array_equal(prompt["input_ids"][-len(tail) :], tail)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"history": ["a"]}, "no-text"),
        ({"text": "a", "history": "b"}, "bad-request"),
        ({"text": "a", "roles": [1]}, "role-count"),
        ({"text": "a", "decoding": {"top_p": 0.0}}, "bad-request"),
    ],
)
def test_wrong_requests(value: Any, code: str) -> None:
    with pytest.raises(DataError) as caught:
        make().request(value)
    assert caught.value.code == code


def test_requests_of_examples_and_refusals() -> None:
    task = make()
    request = task.request(task.request_of(EXAMPLE))
    assert [*request.history, request.text] == EXAMPLE.history and request.persona == EXAMPLE.persona
    with pytest.raises(DataError, match="no response"):
        task.encode(DialogueExample(["a"]), training=True)
    other = tokenizers.load(CASES / "vocabs" / "ernie", class_name="ErnieTokenizer")
    with pytest.raises(UsageError, match="UnifiedTransformer"):
        DialogueTask(DialogueOptions(), other, INPUTS)
