"""Multiple choice and matching on documents: segments of all choices side by side, and one answer for all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.registry import resolve
from zoo_cli.registry import task as task_spec
from zoo_cli.tasks.base import Feature, Outputs, answer_all, load_task
from zoo_cli.tasks.multiple_choice.task import FILLER
from zoo_cli.tasks.scores import softmax

PAD, CLS, SEP = (tokenizer().special_token_id(f"{name}_token") for name in ("pad", "cls", "sep"))
SHAPE = (2, 5, 3)
NAMES = ["document_multiple_choice", "document_matching"]
LONG = "".join(chr(0x4E00 + index) for index in range(60))
OTHER = "".join(chr(0x5E00 + index) for index in range(60))


def make(name: str, **options: Any) -> Any:
    spec = task_spec(name)
    values = {"max_length": 16, "num_choices": 3, **options}
    task = resolve(spec.implementation)(spec.options(**values), tokenizer(), INPUTS)
    task.fit_model({"memories": SHAPE})
    return task


def ids_of(text: str) -> list[int]:
    return tokenizer().encode_batch([text], add_special_tokens=False)[0].ids.tolist()


def row(*parts: str, width: int = 16) -> tuple[list[int], list[int], list[int]]:
    """Ids, types and mask of a segment: [CLS], then each part and [SEP]."""
    ids, types = [CLS], [0]
    for number, part in enumerate(parts):
        own = [*ids_of(part), SEP]
        ids += own
        types += [int(number > 0)] * len(own)
    padding = [0] * (width - len(ids))
    return ids + [PAD] * len(padding), types + padding, [1] * len(ids) + padding


def rows_of(feature: Feature) -> list[tuple[list[int], list[int], list[int]]]:
    assert {feature[name].shape for name in INPUTS} == {(3, 16)}
    return list(zip(*(feature[name].tolist() for name in INPUTS), strict=True))


def reader(task: Any, score: Callable[[np.ndarray, int], float]) -> Any:
    """A model whose score depends on a row's ids and on the number of segments before it, which it counts in the
    memory of that row: odd rows count double."""

    def run(features: Sequence[Feature]) -> list[Outputs]:
        batch = task.stack([{name: feature[name] for name in task.graph_inputs} for feature in features])
        memories = batch["memories"]
        assert memories.shape == (len(features), 3, *SHAPE) and memories.dtype == np.float32
        steps = memories[:, :, 0, 0, 0] / [1, 2, 1]
        assert (steps == steps[:, :1]).all()
        logits = np.array(
            [
                [score(ids, int(step)) for ids in rows]
                for rows, step in zip(batch["input_ids"], steps[:, 0], strict=True)
            ]
        )
        after = memories + np.array([1, 2, 1], np.float32).reshape(3, 1, 1, 1)
        return list(task.unstack({"logits": logits, "memories": after}, [16] * len(features)))

    return run


def test_a_segment_holds_every_choice() -> None:
    task = make("document_multiple_choice")
    (feature,) = task.encode(ChoiceExample("日月", "盈昃", ["天", "地玄", "黄"], 1), True)
    assert rows_of(feature) == [row("日月", "盈昃", choice) for choice in ("天", "地玄", "黄")]
    assert feature["labels"] == 1 and feature["labels"].ndim == 0


def test_questions_are_filled_up_with_choices() -> None:
    task = make("document_multiple_choice", num_choices=None)
    examples = [ChoiceExample("日", "月", ["天", "地", "玄"], 0), ChoiceExample("日", "月", ["天", "地"], 1)]
    task.fit(examples)
    assert task.model_config() == {"num_choices": 3, "cls_token_idx": 0}
    (feature,) = task.encode(examples[1], True)
    assert rows_of(feature)[2] == row("日", "月", FILLER)
    with pytest.raises(DataError) as caught:
        task.steps(task.request({"context": "日", "choices": list("天地玄黄")})).send(None)
    assert caught.value.code == "choice-count"


def test_no_question_and_a_blank() -> None:
    task = make("document_multiple_choice")
    (feature,) = task.encode(ChoiceExample("日月", "", ["天", "地", "玄"], 0), True)
    assert rows_of(feature)[1] == row("日月", "地")
    (feature,) = task.encode(ChoiceExample("日#idiom#月", "", ["天", "地", "玄"], 0), True)
    assert rows_of(feature)[1] == row("日地月")


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.sampled_from([None, 1, 4, 40]), st.lists(st.integers(1, 5), min_size=3, max_size=3))
def test_segments_cover_the_text(length: int, stride: int | None, sizes: list[int]) -> None:
    task = make("document_multiple_choice", stride=stride)
    choices = [OTHER[10 * number : 10 * number + size] for number, size in enumerate(sizes)]
    features = task.encode(ChoiceExample(LONG[:length], "盈", choices, 0), True)
    counts = []
    for number, choice in enumerate(choices):
        room = 16 - 5 - len(choice)
        step = min(stride or SHAPE[1], room)
        counts.append(1 + max(0, -(-(length - room) // step)))
        for place, feature in enumerate(features):
            start = min(place, counts[-1] - 1) * step
            assert rows_of(feature)[number] == row(LONG[:length][start : start + room], "盈", choice)
    assert len(features) == max(counts)


def test_both_texts_of_a_match_are_read_at_the_same_place() -> None:
    task = make("document_matching", stride=4, num_choices=3)
    features = task.encode(ChoiceExample(LONG[:14], "", [OTHER[:14], OTHER[20:23], OTHER[30:41]], 2), True)
    assert len(features) == 3
    for number, feature in enumerate(features):
        start = 4 * number
        stretch = LONG[:14][start : start + 6]
        last = min(start, 8)
        assert rows_of(feature) == [
            row(stretch, OTHER[:14][start : start + 6]),
            row(stretch, OTHER[20:23]),
            row(stretch, OTHER[30:41][last : last + 6]),
        ]
        assert feature["labels"] == 2


@pytest.mark.parametrize("retrospective", [False, True])
def test_the_answer_has_the_highest_mean_probability(retrospective: bool) -> None:
    good = ids_of("好")[0]
    requests = [
        {"context": LONG, "question": "盈", "choices": ["好", "天"]},
        {"context": "日", "question": "", "choices": ["天", "地", "好"]},
    ]
    task = make("document_multiple_choice", all_scores=True, retrospective=retrospective)
    examples = [task.request(request) for request in requests]
    counts = [len(list(task.encode(ChoiceExample(e.context, e.question, e.choices, 0), False))) for e in examples]
    assert counts[0] > 2 and counts[1] == 1

    def score(ids: np.ndarray, step: int) -> float:
        first_reading = retrospective and step < (counts[0] if ids[1] != ids_of("日")[0] else 1)
        return -9.0 if first_reading else float(good in ids) * (step % 3)

    def expected(count: int, choices: Sequence[str]) -> np.ndarray:
        steps = range(count, 2 * count) if retrospective else range(count)
        rows = [[float(choice == "好") * (step % 3) for choice in choices] for step in steps]
        return np.mean([softmax(np.array(values)) for values in rows], axis=0)

    answers = list(answer_all([task.steps(example) for example in examples], reader(task, score)))
    for answer, count, example in zip(answers, counts, examples, strict=True):
        scores = expected(count, example.choices)
        assert answer["scores"] == pytest.approx(scores.tolist())
        assert answer["index"] == int(scores.argmax())
        assert answer["answer"] == example.choices[answer["index"]]
        assert answer["score"] == max(answer["scores"])


def test_answers_of_matching() -> None:
    task = make("document_matching")
    good = ids_of("好")[0]
    request = task.request({"text": LONG[:20], "candidates": ["天" * 20, "好" * 20]})
    (answer,) = answer_all([task.steps(request)], reader(task, lambda ids, step: float(good in ids)))
    assert answer == {"index": 1, "score": pytest.approx(1 / (1 + np.exp(-1)))}
    example = ChoiceExample("日", "", ["天", "地"], 1)
    assert task.request_of(example) == {"text": "日", "candidates": ["天", "地"]}


def test_scores_count_questions() -> None:
    task = make("document_multiple_choice")
    metrics = task.metrics()
    example = ChoiceExample("日", "月", ["天", "地"], 0)
    metrics.add(example, [], [{"logits": np.array(row)} for row in ([5.0, 0.0, 99.0], [0.0, 1.0, 99.0])])
    metrics.add(example, [], [{"logits": np.array([0.0, 1.0, 0.0])}])
    assert metrics.result() == {"accuracy": 0.5}


@pytest.mark.parametrize("name", NAMES)
def test_the_task_file_and_the_axes(name: str, tmp_path: Path) -> None:
    task = make(name)
    task.save(tmp_path)
    loaded = load_task(tmp_path, tokenizer(), INPUTS)
    assert type(loaded) is type(task) and loaded.options == task.options
    assert loaded.initial_state()["memories"].shape == (3, *SHAPE)
    assert loaded.input_axes() == {**dict.fromkeys(INPUTS, (3, "length")), "memories": (3, *SHAPE)}


def test_a_choice_that_leaves_no_room() -> None:
    with pytest.raises(DataError) as caught:
        make("document_multiple_choice").encode(ChoiceExample(LONG, "", [OTHER, "天"], 0), False)
    assert caught.value.code == "no-room"
