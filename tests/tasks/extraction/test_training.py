"""Labels of gold examples, and scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tasks.extraction.models import FILLER, RuleModel, gold_model, make_task, predict, random_model
from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.batching import pad, unpad
from zoo_cli.data.examples import AnnotatedText, Entity, PromptExample, Relation, Span
from zoo_cli.tasks.base import load_task
from zoo_cli.tasks.extraction.metrics import GraphMetrics
from zoo_cli.tasks.extraction.postprocess import pair
from zoo_cli.tasks.extraction.schema import schema_from_annotations
from zoo_cli.tasks.extraction.task import ExtractionTask


def example(content: str, prompt: str, *names: str) -> PromptExample:
    spans = [Span(content.index(name), content.index(name) + len(name), name) for name in names]
    return PromptExample(content, prompt, spans)


def class_example(content: str, prompt: str, label: str) -> PromptExample:
    start = prompt.rindex(label) - len(prompt) - 1
    return PromptExample(content, prompt, [Span(start, start + len(label), label)])


def score(task: ExtractionTask, run: Any, examples: list[PromptExample]) -> dict[str, Any]:
    metrics = task.metrics()
    for one in examples:
        features = task.encode(one, training=False)
        metrics.add(one, features, run(features) if features else [])
    return metrics.result()


def test_labels_of_spans() -> None:
    (feature,) = make_task().encode(example("王成汉在延安", "人名", "王成汉"), training=True)
    assert list(feature) == ["input_ids", "token_type_ids", "attention_mask", "start_positions", "end_positions"]
    # [CLS] 人 名 [SEP] 王 成 汉 在 延 安 [SEP]
    assert feature["start_positions"].tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert feature["end_positions"].tolist() == [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert feature["start_positions"].dtype == np.float32


def test_labels_of_classes_are_in_the_prompt_in_every_window() -> None:
    one = class_example("中国" * 20, "好坏[好，坏]", "坏")
    features = make_task(max_length=24).encode(one, training=True)
    assert len(features) > 1
    for feature in features:
        # [CLS] 好 坏 [ 好 , 坏 ] [SEP]
        assert np.flatnonzero(feature["start_positions"]).tolist() == [6]
        assert np.flatnonzero(feature["end_positions"]).tolist() == [6]


def test_borders_inside_of_tokens_are_widened_and_counted() -> None:
    task = make_task()
    (feature,) = task.encode(PromptExample("发布iPhone 14", "型号", [Span(5, 6, "o")]), training=True)
    assert feature["start_positions"].sum() == feature["end_positions"].sum() == 1
    task.encode(PromptExample("中 国", "地名", [Span(1, 2, " "), Span(2, 3, "国")]), training=True)
    assert task.counts == {"spans": 3, "misaligned": 1, "lost": 1}


@pytest.mark.parametrize("span", [Span(0, 9, "x"), Span(2, 2, ""), Span(-9, -7, "x"), Span(-2, 1, "x")])
def test_a_span_outside_of_the_text_is_located(span: Span) -> None:
    with pytest.raises(DataError) as caught:
        make_task().encode(PromptExample("中国", "地名", [span], Location("a.txt", 3)), training=True)
    assert caught.value.code == "bad-offset" and caught.value.at == Location("a.txt", 3)


def test_an_overlong_prompt_is_located() -> None:
    with pytest.raises(DataError) as caught:
        make_task().encode(PromptExample("中国", "王" * 600, [], Location("a.txt", 3)), training=True)
    assert caught.value.code == "prompt-too-long" and caught.value.at == Location("a.txt", 3)


def test_without_content_there_is_nothing_to_learn() -> None:
    assert make_task().encode(PromptExample(" ", "人名", []), training=True) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(FILLER, max_size=30), min_size=1, max_size=8), st.integers(24, 60), st.integers(4, 12))
def test_windows_lose_no_label(parts: list[str], max_length: int, overlap: int) -> None:
    name, content, spans = "王成汉", parts[0], []
    for part in parts[1:]:
        spans.append(Span(len(content), len(content) + len(name), name))
        content += name + part
    one = PromptExample(content, "人名", spans)
    task = make_task(max_length=max_length, overlap=overlap)
    training = task.encode(one, training=True)
    assert sum(feature["start_positions"].sum() for feature in training) == len(spans)
    assert sum(len(pair(f["start_positions"], f["end_positions"], 0.5).first) for f in training) == len(spans)
    assert all(len(feature["input_ids"]) <= max_length for feature in training)
    result = score(task, gold_model, [one])
    assert result["f1"] == (1.0 if spans else 0.0)
    assert result["labels"].get("人名", {"support": 0})["support"] == len(spans)


def test_a_span_longer_than_the_overlap_counts() -> None:
    content = "的" * 20 + "王" + "成" * 18 + "汉" + "的" * 20
    one = PromptExample(content, "人名", [Span(20, 40, content[20:40])])
    task = make_task(max_length=32, overlap=4)
    result = score(task, RuleModel({"人名": ["海"]}), [one])
    assert (result["f1"], result["labels"]["人名"]["support"]) == (0.0, 1)

    def ends_only(features: list[Any]) -> list[Any]:
        king, han = RuleModel({"人名": ["王"]})(features), RuleModel({"人名": ["汉"]})(features)
        return [{"start_prob": a["start_prob"], "end_prob": b["end_prob"]} for a, b in zip(king, han, strict=True)]

    assert score(task, ends_only, [one])["f1"] == 1.0


# -- prompt-level scores ----------------------------------------------------------------------------------------


def test_scores_of_prompts() -> None:
    content = "王成汉将军在延安签字"
    examples = [
        example(content, "人名", "王成汉"),
        example(content, "地名", "延安"),
        example(content, "组织", *()),
        example(content, "王成汉的称号", "将军"),
        example(content, "王芳的称号", *()),
        class_example(content, "情感倾向[正向,负向]", "正向"),
        class_example(content, "情感倾向[负向,正向]", "正向"),
        class_example(content, "王成汉的情感倾向[负向,正向]", "正向"),
    ]
    model = RuleModel(
        {"人名": ["王成汉", "延安"], "王芳的称号": ["将军"]},
        classes={"情感倾向[正向,负向]": "正向", "情感倾向[负向,正向]": "负向", "王成汉的情感倾向[负向,正向]": "正向"},
    )
    result = score(make_task(), model, examples)
    assert (result["precision"], result["recall"]) == (pytest.approx(3 / 6), pytest.approx(3 / 6))
    assert result["f1"] == pytest.approx(0.5)
    table = {label: (row["precision"], row["recall"], row["support"]) for label, row in result["labels"].items()}
    assert table == {
        "人名": (0.5, 1.0, 1),
        "地名": (0.0, 0.0, 1),
        "X的称号": (0.0, 0.0, 1),
        "情感倾向[正向,负向]": (0.5, 0.5, 2),
        "X的情感倾向[正向,负向]": (1.0, 1.0, 1),
    }
    assert result["macro_f1"] == pytest.approx((2 / 3 + 0 + 0 + 0.5 + 1) / 5)


def test_english_relations_are_collected() -> None:
    examples = [example("Rome is in Italy", "capital of Italy", "Rome")]
    assert list(score(make_task(schema_lang="en"), gold_model, examples)["labels"]) == ["capital of X"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000))
def test_scores_are_those_of_the_span_evaluator(seed: int) -> None:
    """Counted the way PaddleNLP words it, on padded batches of single windows."""
    generator = np.random.default_rng(seed)
    contents = ["".join(generator.choice(list(FILLER), generator.integers(2, 20))) for _ in range(6)]
    examples = []
    for content in contents:
        start = int(generator.integers(0, len(content) - 1))
        examples.append(PromptExample(content, "人名", [Span(start, start + 2, content[start : start + 2])]))
    task, run = make_task(), random_model(seed, 1.5)
    features = [task.encode(one, training=False)[0] for one in examples]
    batch = pad([feature | output for feature, output in zip(features, run(features), strict=True)])
    correct = predicted = gold = 0
    for row in unpad(batch, [batch["input_ids"].shape[1]] * len(features)):
        spans = [
            set(zip(pairs.first.tolist(), pairs.last.tolist(), strict=True))
            for pairs in (
                pair(row["start_prob"], row["end_prob"], 0.5),
                pair(row["start_positions"], row["end_positions"], 0.5),
            )
        ]
        correct, predicted = correct + len(spans[0] & spans[1]), predicted + len(spans[0])
        gold += int(max((row["start_positions"] > 0.5).sum(), (row["end_positions"] > 0.5).sum()))
    result = score(task, run, examples)
    assert result["precision"] == pytest.approx(correct / predicted if predicted else 0)
    assert result["recall"] == pytest.approx(correct / gold)


def shy_model(found: str, wrong: str) -> Any:
    """Gives 0.35 to right spans and 0.22 to wrong ones."""
    right, false = RuleModel({"人名": [found]}), RuleModel({"人名": [wrong]})

    def run(features: list[Any]) -> list[Any]:
        return [
            {name: np.where(one[name] > 0.5, 0.35, np.where(other[name] > 0.5, 0.22, 0.01)) for name in one}
            for one, other in zip(right(features), false(features), strict=True)
        ]

    return run


def test_the_threshold_is_tuned_and_kept(tmp_path: Path) -> None:
    task = make_task(tune_position_threshold=True)
    examples, run = [example("王成汉将军在延安签字", "人名", "王成汉")], shy_model("王成汉", "延安")
    metrics = task.metrics()
    for one in examples:
        features = task.encode(one, training=False)
        metrics.add(one, features, run(features))
    assert metrics.result()["f1"] == 0.0
    task.tune(metrics)
    assert task.options.position_threshold == 0.3  # the nearest to 0.5 of those that part 0.22 from 0.35
    assert metrics.result()["f1"] == score(task, run, examples)["f1"] == 1.0
    task.save(tmp_path)
    loaded = load_task(tmp_path, task.tokenizer, task.inputs)
    assert loaded.options == task.options


def test_tuning_needs_to_be_asked_for() -> None:
    task, one = make_task(), example("王成汉将军在延安签字", "人名", "王成汉")
    metrics = task.metrics()
    features = task.encode(one, training=False)
    metrics.add(one, features, shy_model("王成汉", "延安")(features))
    task.tune(metrics)
    assert task.options.position_threshold == 0.5


# -- from annotations -------------------------------------------------------------------------------------------

ANNOTATED = AnnotatedText(
    "王成汉将军在延安签字",
    [Entity(0, 3, "人名", "1"), Entity(3, 5, "称号", "2"), Entity(6, 8, "地名", "3")],
    [Relation("军衔", "1", "2")],
)


def test_annotated_texts_become_prompts() -> None:
    other = AnnotatedText("海外图书", [Entity(2, 4, "物", "1")])
    kept = PromptExample("中国", "地名", [])
    task = make_task(negative_ratio=-1)
    adapted = list(task.adapt([ANNOTATED, kept, other], training=True))
    assert kept in adapted
    answers = {(one.content, one.prompt): [span.text for span in one.spans] for one in adapted}
    assert answers[ANNOTATED.text, "王成汉的军衔"] == ["将军"]
    assert answers[ANNOTATED.text, "物"] == []
    for one in adapted:
        task.encode(one, training=True)
        task.request(task.request_of(one))


def test_a_gold_example_can_be_asked_as_a_request() -> None:
    one = example("王成汉将军", "王成汉的军衔", "将军")
    task = make_task()
    (result,) = predict(task, RuleModel({"王成汉的军衔": ["将军"]}), task.request_of(one))
    assert [entry["text"] for entry in result["王成汉的军衔"]] == ["将军"]


def test_end_to_end_scores() -> None:
    schema = schema_from_annotations([ANNOTATED])
    perfect = RuleModel({"人名": ["王成汉"], "称号": ["将军"], "地名": ["延安"], "王成汉的军衔": ["将军"]})
    lossy = RuleModel({"人名": ["王成汉", "签字"], "称号": ["将军"], "签字的军衔": ["将军"]})
    scores = []
    for model in (perfect, lossy):
        metrics = GraphMetrics()
        metrics.add(ANNOTATED, predict(make_task(), model, {"text": ANNOTATED.text, "schema": schema})[0])
        scores.append(metrics.result())
    assert scores[0]["entity_f1"] == scores[0]["relation_f1"] == scores[0]["entity_macro_f1"] == 1.0
    assert (scores[1]["entity_precision"], scores[1]["entity_recall"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (scores[1]["relation_precision"], scores[1]["relation_recall"], scores[1]["relation_f1"]) == (0, 0, 0)
    assert scores[1]["entity_labels"]["地名"]["support"] == 1


def test_whole_answers_are_scored_where_texts_are_annotated() -> None:
    perfect = RuleModel({"人名": ["王成汉"], "称号": ["将军"], "地名": ["延安"], "王成汉的军衔": ["将军"]})
    task = make_task()

    def answer(requests: list[Any]) -> list[Any]:
        return predict(task, perfect, *requests)

    scores = task.score_answers([ANNOTATED, ANNOTATED], answer)["end_to_end"]
    assert scores["entity_f1"] == scores["relation_f1"] == 1.0
    assert scores["relation_labels"]["军衔"]["support"] == 2
    assert task.score_answers([PromptExample("王成汉将军", "人名")], answer) == {}


def test_a_triple_needs_its_head_and_its_tail() -> None:
    metrics = GraphMetrics()
    head = {"text": "王成汉", "start": 0, "end": 3, "probability": 0.9}
    tail = {"text": "军", "start": 4, "end": 5, "probability": 0.9}
    metrics.add(ANNOTATED, {"人名": [head | {"relations": {"军衔": [tail]}}]})
    assert metrics.result()["relation_labels"]["军衔"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
