"""Every task through the engine: a tiny model learns a few examples by heart, is saved and loaded, and answers."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.engine.answering import evaluate_folder, load_pipeline  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.setup import find_model_folder, read_parts  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402
from zoo_cli.registry import task  # noqa: E402

VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[O-MASK]", *string.ascii_lowercase, "，", "。", "？"),
    *"王芳李明来自北京上海在哪里工作谁是不好坏天地玄黄右肺炎有阴影导致血尿水肿放停听首歌花心吧",
]
PLACES = ("北京", "上海")


@dataclass
class Case:
    """What a task is trained on, and what it must say then.

    Args:
        family: of the model.
        format: of the data.
        content: the training file, as a JSON value or as rows.
        metric: score that has to be high.
        request: a request.
        expected: some fields of the answer to it.
        task: options of the task.
        train: options of training.
    """

    family: str
    format: str
    content: Any
    metric: str
    request: Any
    expected: dict[str, Any]
    task: dict[str, Any] = field(default_factory=dict)
    train: dict[str, int] = field(default_factory=dict)


def squad() -> dict[str, Any]:
    paragraphs = []
    for number, (name, place) in enumerate((name, place) for name in ("王芳", "李明") for place in PLACES):
        text = f"{name}来自{place}。"
        rows = [
            {"id": f"{number}a", "question": "谁？", "answers": [{"text": name, "answer_start": 0}]},
            {"id": f"{number}b", "question": "在哪里？", "answers": [{"text": place, "answer_start": 4}]},
            {"id": f"{number}c", "question": "不好？", "is_impossible": True, "answers": []},
        ]
        paragraphs.append({"context": text, "qas": rows})
    return {"data": [{"paragraphs": paragraphs}]}


def choices() -> list[dict[str, Any]]:
    """The right choice is the place in the text; some questions have two choices, some three."""
    rows = []
    for place, other in (PLACES, PLACES[::-1]):
        rows.append({"context": f"在{place}", "question": "哪里", "choices": [place, other], "answer": 0})
        rows.append({"context": f"在{place}", "question": "哪里", "choices": [other, "天地", place], "answer": 2})
    return rows


def cases() -> list[dict[str, Any]]:
    return [
        {"A": f"{text}地", "B": right if label == "B" else wrong, "C": wrong if label == "B" else right, "label": label}
        for text, right, wrong in (("天", "天", "玄"), ("玄", "玄", "天"))
        for label in "BC"
    ]


def commands() -> list[dict[str, Any]]:
    return [
        {"text": "放花心吧", "domain": "music", "intent": "play", "slots": {"song": "花心"}},
        {"text": "听首天地", "domain": "music", "intent": "play", "slots": {"song": "天地"}},
        {"text": "停吧", "domain": "music", "intent": "stop", "slots": {}},
        {"text": "不听歌", "domain": "music", "intent": "stop", "slots": {}},
    ]


def nested() -> list[dict[str, Any]]:
    symptom = {"start_idx": 0, "end_idx": 4, "type": "sym", "entity": "右肺有阴影"}
    part = {"start_idx": 0, "end_idx": 1, "type": "bod", "entity": "右肺"}
    return [{"text": "右肺有阴影。", "entities": [symptom, part]}, {"text": "天地玄黄", "entities": []}]


def triples() -> list[dict[str, Any]]:
    spo = {"subject": "肺炎", "subject_type": "病", "predicate": "导致", "object_type": {"@value": "症"}}
    return [
        {"text": "肺炎导致血尿", "spo_list": [{**spo, "object": {"@value": "血尿"}}]},
        {"text": "肺炎不导致水肿", "spo_list": []},
    ]


def options() -> list[dict[str, Any]]:
    return [
        {"text_a": "来自北京", "choices": ["北京", "上海"], "labels": [0]},
        {"text_a": "来自上海", "choices": ["北京", "上海", "天地"], "labels": [1]},
        {"text_a": "来自北京，上海", "choices": ["北京", "上海"], "labels": [0, 1]},
        {"text_a": "来自天", "text_b": "地", "choices": ["北京", "上海"], "labels": []},
    ]


def several_labels() -> list[dict[str, Any]]:
    return [{"text": "天好", "label": ["a", "b"]}, {"text": "地好", "label": ["b"]}, {"text": "玄坏", "label": []}]


CASES = {
    "question_answering": Case(
        "bert",
        "squad",
        squad(),
        "f1",
        {"question": "在哪里？", "context": "李明来自上海。"},
        {"answer": "上海", "start": 4, "end": 6},
        {"max_question_length": 8, "doc_stride": 8, "tune_null_threshold": True},
    ),
    "multiple_choice": Case(
        "ernie",
        "choices",
        choices(),
        "accuracy",
        {"context": "在上海", "question": "哪里", "choices": ["北京", "天地", "上海"]},
        {"answer": "上海", "index": 2},
        train={"batch_tokens": 120},
    ),
    "matching": Case(
        "bert", "cail_scm", cases(), "accuracy", {"text": "玄地", "candidates": ["天", "玄"]}, {"index": 1}
    ),
    "intent_slot": Case("ernie", "nlu", commands(), "exact_match", "停吧", {"intent": "music.stop", "value": []}),
    "nested_ner": Case("electra", "cmeee", nested(), "f1", "天地玄黄", {"entities": []}),
    "spo": Case("ernie_health", "spo", triples(), "f1", "肺炎不导致水肿", {"triples": []}, train={"max_steps": 120}),
    "utc": Case(
        "ernie", "utc", options(), "f1", {"text": "来自天", "text_pair": "地", "choices": ["北京"]}, {"predictions": []}
    ),
    "sequence_classification": Case(
        "bert",
        "jsonl",
        several_labels(),
        "micro_f1",
        "玄坏",
        {"labels": []},
        {"kind": "multi_label", "tune_thresholds": True},
    ),
}
WIDTHS = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.mark.parametrize("name", CASES)
def test_a_task_is_learnt_saved_and_loaded(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    (tmp_path / "vocab.txt").write_text("\n".join(dict.fromkeys(VOCABULARY)) + "\n", encoding="utf-8")
    data = tmp_path / "data.json"
    data.write_text(json.dumps(case.content, ensure_ascii=False), encoding="utf-8")
    config = WIDTHS | ({"embedding_size": 32} if case.family in ("electra", "ernie_health") else {})
    recipe = {
        "version": 1,
        "model": {"family": case.family, "vocab": str(tmp_path / "vocab.txt"), "config": config},
        "task": {"name": name, "max_length": 32, **case.task},
        "data": {"train": str(data), "dev": str(data), "format": case.format},
        "train": {"max_steps": 60, "eval_steps": 30, "learning_rate": 5e-3, "warmup_ratio": 0.1} | case.train,
    }
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    loaded = load_recipe(str(tmp_path / "recipe.yaml"))
    finetune(loaded, tmp_path / "run")
    best = find_model_folder(tmp_path / "run")
    scores = evaluate_folder(best, loaded, "dev")
    assert scores[case.metric] > 0.9 and scores["loss"] >= 0
    reported = json.loads((best / "metrics.json").read_text(encoding="utf-8"))
    assert scores[task(name).metric] == pytest.approx(reported[task(name).metric])
    pipeline = load_pipeline(best)
    if name == "sequence_classification":
        assert pipeline.task.options.thresholds.keys() == {"a", "b"}
    single = pipeline(case.request)
    assert {key: single[key] for key in case.expected} == case.expected
    # The same in one batch with requests of other lengths.
    rows = pipeline.task.adapt(read_parts(loaded.recipe.data, 0, ("dev",))["dev"], training=False)
    together = pipeline([case.request, *map(pipeline.task.request_of, rows)])
    assert together[0].keys() == single.keys()
    assert {key: together[0][key] for key in case.expected} == case.expected
