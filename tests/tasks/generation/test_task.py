"""Text generation from examples to answers."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from zoo_cli import tokenizers
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import TextExample
from zoo_cli.decoding.engine import Request
from zoo_cli.decoding.search import Generated
from zoo_cli.tasks.base import answer_all, load_task
from zoo_cli.tasks.generation.spec import GenerationTaskOptions
from zoo_cli.tasks.generation.task import GenerationTask

CASES = Path(__file__).parents[2] / "golden" / "cases" / "tokenizers"
KINDS = {"UNIMOTokenizer": "unimo", "UnifiedTransformerTokenizer": "unified_transformer"}
INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask")
EXAMPLE = TextExample("深度学习是人工智能的核心技术。", "核心", "人工智能")


@cache
def load(kind: str = "UNIMOTokenizer") -> Any:
    return tokenizers.load(CASES / "vocabs" / KINDS[kind], class_name=kind)


def make(kind: str = "UNIMOTokenizer", **options: Any) -> GenerationTask:
    return GenerationTask(GenerationTaskOptions(**options), load(kind), INPUTS)


def golden() -> list[Any]:
    return json.loads((CASES / "unimo.json").read_text(encoding="utf-8"))["gen_encode"]


@pytest.mark.parametrize("case", [case for case in golden() if "target" in case["kwargs"]])
def test_batches_are_what_paddlenlp_encodes(case: dict[str, Any]) -> None:
    """Inputs and mask of a training batch against `gen_encode`, left padding cut off."""
    kwargs, expected = case["kwargs"], {name: np.array(value) for name, value in case["encoded"].items()}
    task = make(
        max_length=kwargs.get("max_seq_len", 512),
        max_target_length=kwargs.get("max_target_len", 128),
        max_title_length=kwargs.get("max_title_len", 128),
        continuous_position=kwargs.get("continuous_position", False),
        decoding={"max_new_tokens": 4},
    )
    (feature,) = task.encode(TextExample(case["source"], kwargs.get("title"), kwargs["target"]), training=True)
    size = len(feature["input_ids"])
    other = {name: value[: size // 2] for name, value in feature.items()}
    batch = task.stack([other, feature])
    for name in ("input_ids", "token_type_ids", "position_ids"):
        np.testing.assert_array_equal(batch[name][1], np.ravel(expected[name])[-size:])
    np.testing.assert_array_equal(batch["attention_mask"][1, 0], np.squeeze(expected["attention_mask"])[-size:, -size:])
    assert (batch["attention_mask"][0, 0, : size // 2, size // 2 :] == -1e4).all()  # padding is seen by nobody


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_the_next_tokens_of_the_answer(kind: str) -> None:
    task = make(kind)
    (feature,) = task.encode(EXAMPLE, training=True)
    places = np.flatnonzero(feature["labels"] != -100)
    answer = feature["input_ids"][feature["token_type_ids"] == 1]
    np.testing.assert_array_equal(feature["labels"][places], answer[1:])
    assert answer[0] == task.special_ids["bos_token_id"] and answer[-1] == task.special_ids["eos_token_id"]
    batch = task.stack([feature, feature])
    size = len(feature["input_ids"])
    np.testing.assert_array_equal(batch["masked_positions"], [*places, *(places + size)])
    np.testing.assert_array_equal(batch["labels"], [*answer[1:], *answer[1:]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("continuous", [False, True])
def test_prediction_continues_where_the_answer_begins(kind: str, continuous: bool) -> None:
    """A prompt is the beginning of the training feature, up to the token that answers start with."""
    task = make(kind, continuous_position=continuous)
    labelled, prompt = task.encode(EXAMPLE, training=False)
    size = len(prompt["input_ids"])
    assert labelled["labels"][size - 1] == labelled["input_ids"][size]
    for name in ("input_ids", "token_type_ids", "position_ids"):
        np.testing.assert_array_equal(prompt[name], labelled[name][:size])
    mask = task.stack([labelled])["attention_mask"][0, 0, :size, :size]
    np.testing.assert_array_equal(task.prompt(task.request(task.request_of(EXAMPLE)))[0]["attention_mask"], mask)
    reading = task.read([labelled, prompt])
    assert next(reading) == [labelled]
    (request,) = reading.send([{}])
    np.testing.assert_array_equal(request.prompt["attention_mask"], mask)


def test_several_targets_are_learnt_and_counted() -> None:
    task = make()
    example = TextExample("天地", label=["天", "地"])
    assert len(task.encode(example, training=True)) == 2
    assert len(task.encode(example, training=False)) == 2  # one target scored, one prompt
    assert task.references(example) == ["天", "地"]
    with pytest.raises(DataError, match="no text to write"):
        task.encode(TextExample("天地"), training=True)


def run(task: GenerationTask, value: Any, *texts: str, reason: Any = "eos") -> tuple[Request, Any]:
    """The request that an input leads to, and the answer if the model writes these texts, the likeliest first."""
    end = task.special_ids["eos_token_id"] if reason == "eos" else None
    seen: list[Request] = []

    def generate(requests: list[Request]) -> list[list[Generated]]:
        seen.extend(requests)
        found = []
        for number, text in enumerate(texts):
            ids = task.tokenizer.encode_batch([text], add_special_tokens=False)[0].ids.tolist()
            found.append(Generated(np.array([*ids, *([end] if end is not None else [])]), -float(number), reason))
        return [found]

    (answer,) = answer_all([task.steps(task.request(value))], generate)
    return seen[0], answer


def test_answers() -> None:
    task = make(decoding={"decode_strategy": "beam_search", "num_beams": 3})
    request, answer = run(task, "天地", "人工智能")
    assert answer == {"text": "人工智能", "score": 0.0, "finish_reason": "eos", "tokens": 5}
    assert request.options.num_beams == 3 and request.options.eos_token_id == load().mask_token_id
    _, several = run(task, {"text": "天地", "decoding": {"num_return_sequences": 2}}, "天", "地")
    assert [each["text"] for each in several["texts"]] == ["天", "地"] and several["text"] == "天"


def test_unfinished_texts_come_last() -> None:
    task = make()
    cut, done = (Generated(np.array([1]), 0.0, "length"), Generated(np.array([1]), -9.0, "eos"))
    assert [each["finish_reason"] for each in task.answer([cut, done])["texts"]] == ["eos", "length"]


def test_requests_change_decoding() -> None:
    task = make(decoding={"decode_strategy": "sampling", "top_k": 5, "seed": 3})
    request, _ = run(task, {"text": "天地", "decoding": {"top_k": 2}, "id": 7}, "天")
    assert (request.options.decode_strategy, request.options.top_k, request.options.seed) == ("sampling", 2, 3)


def test_templates() -> None:
    task = make(source_template="答案：{title}[SEP]上下文：{text}", target_prefix="问题：")
    (feature,) = task.encode(EXAMPLE, training=True)
    tokens = load().convert_ids_to_tokens(feature["input_ids"])
    first = tokens.index("[SEP]")
    assert "".join(tokens[1:first]) == "答案：核心"
    assert "".join(tokens[first + 1 :]).startswith("上下文：深度学")
    assert "".join(tokens).endswith("[CLS]问题：人工智能[MASK]")
    assert run(task, {"text": "天地"}, "问题：天？")[1]["text"] == "天？"
    assert run(task, {"text": "天地"}, "天？")[1]["text"] == "天？"


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_is_reported_and_leaves_room(kind: str) -> None:
    task = make(kind, max_length=32, decoding={"max_new_tokens": 10}, max_title_length=4)
    request, short = run(task, "天地", "天")
    assert "truncated" not in short
    request, long = run(task, {"text": "天地玄黄" * 20, "title": "宇宙洪荒" * 20}, "天")
    assert long["truncated"] is True and request.prompt is not None
    last = int(request.prompt["position_ids"][-1])
    assert last + 10 <= 32 and len(request.prompt["input_ids"]) <= 32


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({"no": "text"}, "no-text"),
        ({"text": 3}, "bad-request"),
        (["text"], "bad-request"),
        ({"text": "a", "decoding": {"top_k": -1}}, "bad-request"),
        ({"text": "a", "decoding": {"tok_k": 1}}, "bad-request"),
        ({"text": "a", "decoding": {"num_return_sequences": 2}}, "bad-decoding"),
        ({"text": "a", "decoding": {"max_new_tokens": 512}}, "bad-decoding"),
    ],
)
def test_wrong_requests(value: Any, code: str) -> None:
    task = make()
    with pytest.raises(DataError) as caught:
        list(answer_all([task.steps(task.request(value))], lambda requests: [[]]))
    assert caught.value.code == code


@pytest.mark.parametrize(
    "options",
    [
        {"source_template": "{title}"},
        {"source_template": "{text} {other}"},
        {"decoding": {"decode_strategy": "beam_search", "num_beams": 4, "num_beam_groups": 3}},
        {"max_length": 32, "decoding": {"max_new_tokens": 32}},
        {"decoding": {"seed": -1}},
    ],
)
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GenerationTaskOptions(**options)


def test_other_tokenizers_are_refused(tmp_path: Path) -> None:
    bert = tokenizers.load(CASES / "vocabs" / "ernie", class_name="ErnieTokenizer")
    with pytest.raises(UsageError, match="ErnieTokenizer"):
        GenerationTask(GenerationTaskOptions(), bert, INPUTS)
    task = make(max_target_length=9, source_template="{text}")
    task.save(tmp_path)
    assert load_task(tmp_path, load(), INPUTS).options == task.options
