"""Documents: segments, what is handed from one to the next, and one answer for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity, QuestionExample, Span, TaggedTokens, TextExample
from zoo_cli.registry import task as task_spec
from zoo_cli.tasks.base import Feature, Outputs, Task, answer_all, load_task
from zoo_cli.tasks.document_classification.html import text_of_html
from zoo_cli.tasks.documents import framed
from zoo_cli.tasks.scores import sigmoid, softmax

PAD, CLS, SEP = (tokenizer().special_token_id(f"{name}_token") for name in ("pad", "cls", "sep"))
SHAPE = (2, 5, 3)
NAMES = ["document_classification", "document_token_classification", "document_question_answering"]
LONG = "".join(chr(0x4E00 + index) for index in range(60))


def make(name: str, memory: bool = True, **options: Any) -> Any:
    spec = task_spec(name)
    from zoo_cli.registry import resolve

    task = resolve(spec.implementation)(spec.options(**{"max_length": 16, **options}), tokenizer(), INPUTS)
    if memory:
        task.fit_model({"memories": SHAPE})
    return task


def ids_of(text: str) -> list[int]:
    return tokenizer().encode_batch([text], add_special_tokens=False)[0].ids.tolist()


class Reader:
    """Answers features one batch after another; the new memory is one more than the old one."""

    def __init__(self, task: Task[Any], outputs: Any) -> None:
        self.task = task
        self.outputs = outputs
        self.seen: list[tuple[list[int], float]] = []
        self.rows: list[int] = []

    def __call__(self, features: Sequence[Feature]) -> list[Outputs]:
        self.rows.append(len(features))
        batch = self.task.stack([{name: feature[name] for name in self.task.graph_inputs} for feature in features])
        memories = batch["memories"]
        assert memories.shape == (len(features), *SHAPE) and memories.dtype == np.float32
        found = []
        for ids, memory in zip(batch["input_ids"], memories, strict=True):
            assert (memory == memory.flat[0]).all()
            self.seen.append((ids.tolist(), float(memory.flat[0])))
            found.append({**self.outputs(ids, float(memory.flat[0])), "memories": memory + 1})
        stacked = {name: np.stack([each[name] for each in found]) for name in self.task.output_names}
        return self.task.unstack(stacked, [len(feature["input_ids"]) for feature in features])


# -- segments ----------------------------------------------------------------------------------------------------------


def test_a_segment_ends_in_sep_padding_and_cls() -> None:
    (segment,) = make("document_classification", labels=["a", "b"]).encode(TextExample("天地", label="b"), True)
    assert segment["input_ids"].tolist() == [*ids_of("天地"), SEP, *[PAD] * 12, CLS]
    assert segment["attention_mask"].tolist() == [1, 1, 1, *[0] * 12, 1]
    assert segment["token_type_ids"].tolist() == [0] * 16
    assert segment["labels"] == 1 and segment["labels"].ndim == 0


@given(st.integers(0, 60), st.sampled_from([None, 1, 4, 14, 40]))
def test_windows_of_a_document_cover_it_with_the_stride(length: int, stride: int | None) -> None:
    text = LONG[:length]
    segments = make("document_classification", labels=["a", "b"], stride=stride).encode(
        TextExample(text, label="a"), True
    )
    step = min(stride or SHAPE[1], 14)
    assert len(segments) == 1 + max(0, -(-(length - 14) // step))
    for number, segment in enumerate(segments):
        own = ids_of(text[number * step : number * step + 14])
        assert segment["input_ids"].tolist() == [*own, SEP, *[PAD] * (14 - len(own)), CLS]
        assert segment["attention_mask"].sum() == len(own) + 2


def test_a_model_without_memory_is_read_window_by_window() -> None:
    task = make("document_classification", labels=["a", "b"])
    task.fit_model({"memories": (2, 0, 3)})
    assert len(task.encode(TextExample(LONG[:28], label="a"), True)) == 2


def test_tags_of_a_segment_are_padded_behind_sep() -> None:
    task = make("document_token_classification", labels=["O", "B-X", "I-X"])
    (segment,) = task.encode(TaggedTokens(list("天地玄"), ["O", "B-X", "I-X"]), True)
    assert segment["input_ids"].tolist() == [CLS, *ids_of("天地玄"), SEP, *[PAD] * 11]
    assert segment["attention_mask"].tolist() == [1] * 5 + [0] * 11
    assert segment["labels"].tolist() == [-100, 0, 1, 2, *[-100] * 12]


def test_each_tag_is_learnt_in_one_segment_only() -> None:
    task = make("document_token_classification", labels=["O", "B-X", "I-X"])
    tags = ["B-X" if index % 3 == 0 else "O" for index in range(40)]
    segments = task.encode(TaggedTokens(list(LONG[:40]), tags), True)
    assert len(segments) > 3 and {len(segment["labels"]) for segment in segments} == {16}
    learnt = [
        (ids, label) for s in segments for ids, label in zip(s["input_ids"], s["labels"], strict=True) if label >= 0
    ]
    assert [ids for ids, _ in learnt] == ids_of(LONG[:40])
    assert [label for _, label in learnt] == [int(tag != "O") for tag in tags]


def test_the_question_stands_behind_the_text() -> None:
    task = make("document_question_answering", max_length=24, max_question_length=4, doc_stride=10)
    context = LONG[:30]
    example = QuestionExample(context, "日月盈昃辰", [Span(18, 21, context[18:21])])
    segments = task.encode(example, True)
    room = 24 - 3 - 4
    assert len(segments) == 1 + -(-(30 - room) // 10)
    for number, segment in enumerate(segments):
        own = ids_of(context[number * 10 : number * 10 + room])
        tokens = [CLS, *own, SEP, *ids_of("日月盈昃"), SEP]
        assert segment["input_ids"].tolist() == tokens + [PAD] * (24 - len(tokens))
        assert segment["attention_mask"].sum() == len(tokens)
        assert not segment["token_type_ids"].any()
        inside = number * 10 <= 18 and number * 10 + room >= 21
        place = (1 + 18 - number * 10, 1 + 20 - number * 10) if inside else (0, 0)
        assert (int(segment["start_positions"]), int(segment["end_positions"])) == place
    assert any(segment["start_positions"] for segment in segments)


# -- reading -----------------------------------------------------------------------------------------------------------


def zero(task: Any) -> Any:
    """A model that says nothing."""
    size = task.options.max_length
    shapes = {
        "document_classification": {"logits": (2,)},
        "document_token_classification": {"logits": (size, 3)},
        "document_question_answering": {"start_logits": (size,), "end_logits": (size,)},
    }[task.name]
    return lambda ids, memory: {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def request_of(name: str, text: str) -> Any:
    return {"question": "日月", "context": text} if name == "document_question_answering" else text


def options_of(name: str) -> dict[str, Any]:
    return {
        "document_classification": {"labels": ["a", "b"]},
        "document_token_classification": {"labels": ["O", "B-X", "I-X"]},
        "document_question_answering": {"doc_stride": 5, "max_length": 24, "max_question_length": 8},
    }[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("retrospective", [False, True])
def test_documents_are_read_in_order_and_keep_their_own_memory(name: str, retrospective: bool) -> None:
    task = make(name, retrospective=retrospective, **options_of(name))
    texts = [LONG, LONG[:3], LONG[:25], LONG[30:]]
    lone = []
    for text in texts:
        reader = Reader(task, zero(task))
        list(answer_all([task.steps(task.request(request_of(name, text)))], reader))
        ids = [ids for ids, _ in reader.seen]
        count = len(ids) // task.readings
        assert [memory for _, memory in reader.seen] == list(range(len(ids)))
        assert ids == ids[:count] * task.readings
        assert task.readings == 1 + retrospective
        lone.append(reader.seen)
    assert len(lone[0]) > len(lone[2]) > len(lone[1]) == task.readings
    together = Reader(task, zero(task))
    list(answer_all([task.steps(task.request(request_of(name, text))) for text in texts], together))
    assert sorted(together.seen) == sorted(each for seen in lone for each in seen)
    assert together.rows == [sum(len(seen) > step for seen in lone) for step in range(len(lone[0]))]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_of_the_first_reading_do_not_count(name: str) -> None:
    answers = []
    for retrospective in (False, True):
        task = make(name, retrospective=retrospective, **options_of(name))
        segments = len(list(task.steps(task.request(request_of(name, LONG))).send(None)))
        assert segments == 1
        quiet = zero(task)

        totals: list[int] = []

        def outputs(
            ids: np.ndarray, memory: float, quiet: Any = quiet, totals: list[int] = totals, twice: bool = retrospective
        ) -> Outputs:
            made = quiet(ids, memory)
            # What is said depends on the tokens only, but the first reading says something else.
            first = twice and memory < totals[0]
            return {
                key: np.float32(-7 if first else 1) * np.resize(ids % 5, array.shape) for key, array in made.items()
            }

        probe = Reader(task, quiet)
        list(answer_all([task.steps(task.request(request_of(name, LONG)))], probe))
        totals.append(len(probe.seen) // task.readings)
        (answer,) = answer_all([task.steps(task.request(request_of(name, LONG)))], Reader(task, outputs))
        answers.append(answer)
    assert answers[0] == answers[1]


def test_the_label_of_a_document_has_the_highest_mean_probability() -> None:
    task = make("document_classification", labels=["a", "b", "c"], all_scores=True)
    logits = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32) * 9
    (answer,) = answer_all(
        [task.steps(task.request(LONG))], Reader(task, lambda ids, memory: {"logits": logits[int(memory)]})
    )
    count = len(task.encode(TextExample(LONG, label="a"), False))
    expected = softmax(logits[:count]).mean(axis=0)
    assert list(answer["scores"].values()) == pytest.approx(expected.tolist(), rel=1e-9)
    assert answer["label"] == "abc"[expected.argmax()] and answer["score"] == max(answer["scores"].values())
    assert "truncated" not in answer


def test_several_labels_and_numbers_are_means_too() -> None:
    logits = np.array([[800.0, -800.0], [-1.0, -900.0]])
    several = make("document_classification", labels=["a", "b"], kind="multi_label", all_scores=True)
    found = several.answer(several.merged([{"logits": row} for row in logits]))
    assert found["scores"]["a"] == pytest.approx(sigmoid(logits)[:, 0].mean())
    assert found["labels"] == [{"label": "a", "score": found["scores"]["a"]}]
    assert found["scores"]["b"] == pytest.approx(0.0)
    sure = several.answer(several.merged([{"logits": np.array([900.0, 900.0])}]))
    assert sure["scores"]["a"] == pytest.approx(1.0)
    number = make("document_classification", kind="regression")
    assert number.answer(number.merged([{"logits": np.array([1.0])}, {"logits": np.array([4.0])}])) == {"score": 2.5}


def test_scores_count_documents() -> None:
    task = make("document_classification", labels=["a", "b"])
    metrics = task.metrics()
    metrics.add(TextExample("x", label="a"), [], [{"logits": np.array(row)} for row in ([5.0, 0.0], [0.0, 1.0])])
    metrics.add(TextExample("x", label="a"), [], [{"logits": np.array([0.0, 1.0])}])
    result = metrics.result()
    assert result["accuracy"] == result["score"] == 0.5


def test_entities_and_answers_are_found_across_segments() -> None:
    text = LONG[:50]
    ids = ids_of(text)
    task = make("document_token_classification", labels=["O", "B-X", "I-X"], split="characters")

    def tags(seen: np.ndarray, memory: float) -> Outputs:
        logits = np.zeros((16, 3), np.float32)
        logits[:, 0] = 1
        logits[np.isin(seen, ids[20]), 1] = 9
        logits[np.isin(seen, ids[21:24]), 2] = 9
        return {"logits": logits}

    (answer,) = answer_all([task.steps(task.request(text))], Reader(task, tags))
    (entity,) = answer["entities"]
    assert (entity["start"], entity["end"], entity["text"]) == (20, 24, text[20:24])
    example = AnnotatedText(text, [Entity(20, 24, "X", "1")])
    metrics = task.metrics()
    features = task.encode(example, False)
    (outputs,) = answer_all([task.read(features)], Reader(task, tags))
    metrics.add(example, features, outputs)
    assert metrics.result()["f1"] == 1.0

    asking = make("document_question_answering", **options_of("document_question_answering"))

    def spans(seen: np.ndarray, memory: float) -> Outputs:
        return {"start_logits": 9.0 * (seen == ids[20]), "end_logits": 9.0 * (seen == ids[23])}

    request = {"question": "日月", "context": text}
    (found,) = answer_all([asking.steps(asking.request(request))], Reader(asking, spans))
    assert (found["start"], found["end"], found["answer"]) == (20, 24, text[20:24])


# -- the rest ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_task_file_holds_what_the_model_remembers(name: str, tmp_path: Path) -> None:
    task = make(name, **options_of(name))
    task.save(tmp_path)
    loaded = load_task(tmp_path, tokenizer(), ("input_ids", "memories", "attention_mask"))
    assert type(loaded) is type(task) and loaded.options == task.options
    assert loaded.inputs == ("input_ids", "attention_mask")
    assert loaded.graph_inputs == ("input_ids", "attention_mask", "memories")
    assert loaded.initial_state()["memories"].shape == SHAPE


def test_without_a_model_nothing_is_known_of_its_memory() -> None:
    task = make("document_classification", memory=False, labels=["a", "b"])
    with pytest.raises(UsageError) as caught:
        task.initial_state()
    assert caught.value.code == "no-memory-shape"


def test_a_document_has_no_second_text() -> None:
    task = make("document_classification", labels=["a", "b"])
    with pytest.raises(DataError):
        task.encode(TextExample("天", "地", label="a"), True)
    with pytest.raises(DataError):
        task.request({"text": "天", "text_pair": "地"})


def test_frames_join_texts_and_special_tokens() -> None:
    first, second = tokenizer().encode_batch(["天地", "玄"], add_special_tokens=False)
    whole = framed(7, first, 8, second, 9)
    assert whole.ids.tolist() == [7, *first.ids, 8, *second.ids, 9]
    assert whole.sequence_ids.tolist() == [-1, 0, 0, -1, 1, -1]
    assert whole.special_tokens_mask.tolist() == [1, 0, 0, 1, 0, 1]
    assert whole.offsets.tolist() == [[0, 0], [0, 1], [1, 2], [0, 0], [0, 1], [0, 0]]
    assert not whole.type_ids.any()


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("Good.<br /><br />Bad &amp; ugly.", "Good. Bad & ugly."),
        ("<p>One <b>two</b></p><p>three</p>", "One two three"),
        ("a<script>b()</script><!-- c -->\n\td", "a d"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("ends in <", "ends in <"),
        ("", ""),
        ("</script>x", "x"),
    ],
)
def test_text_of_html(document: str, text: str) -> None:
    assert text_of_html(document) == text


def test_html_is_left_out_where_the_options_say_so() -> None:
    plain, stripped = (make("document_classification", labels=["a", "b"], strip_html=value) for value in (False, True))
    document = TextExample("天<br />地", label="a")
    (segment,) = stripped.encode(document, True)
    assert segment["input_ids"][:3].tolist() == [*ids_of("天地"), SEP]
    assert len(plain.encode(document, True)[0]["input_ids"]) == 16
    assert plain.encode(document, True)[0]["input_ids"][2] != SEP
