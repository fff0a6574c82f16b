"""Toy data and tiny recipes for every task, and the pairs of family and task that are trained.

A family that is added to the registry is covered without a line here; a task needs its toy data in `CASES`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zoo_cli.base.files import read_json, write_text
from zoo_cli.base.resources import locate
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.registry import FAMILIES, family
from zoo_cli.runtime.backends import BACKENDS

_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino", "paddle": "paddle"}
PLACES = ("北京", "上海")


@dataclass(frozen=True)
class Case:
    """What a task is trained on, and what it must say then.

    Args:
        family: of the model that learns it.
        format: of the data.
        content: the training file: its text, or the JSON value that it holds.
        metric: score that has to be high.
        request: a request; of documents one that is read in several segments.
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


def squad(impossible: bool = True) -> dict[str, Any]:
    paragraphs = []
    for number, (name, place) in enumerate((name, place) for name in ("王芳", "李明") for place in PLACES):
        text = f"{name}来自{place}。"
        rows: list[dict[str, Any]] = [
            {"id": f"{number}a", "question": "谁？", "answers": [{"text": name, "answer_start": 0}]},
            {"id": f"{number}b", "question": "在哪里？", "answers": [{"text": place, "answer_start": 4}]},
        ]
        if impossible:
            rows.append({"id": f"{number}c", "question": "不好？", "is_impossible": True, "answers": []})
        paragraphs.append({"context": text, "qas": rows})
    return {"data": [{"paragraphs": paragraphs}]}


def choices() -> list[dict[str, Any]]:
    """Good choices are right; some questions have two choices, some three."""
    rows = []
    for place in PLACES:
        rows.append({"context": f"在{place}", "question": "谁", "choices": ["好人", "坏人"], "answer": 0})
        rows.append({"context": f"在{place}", "question": "谁", "choices": ["坏人", "天地", "好人"], "answer": 2})
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


def one_label() -> list[dict[str, Any]]:
    return [{"text": "天好", "label": "a"}, {"text": "地好", "label": "a"}, {"text": "玄坏", "label": "b"}]


def people() -> str:
    rows: list[dict[str, Any]] = [
        {"text": f"{name}来自{place}。", "label": {"人": {name: [[0, 1]]}, "地": {place: [[4, 5]]}}}
        for name in ("王芳", "李明")
        for place in PLACES
    ]
    return "".join(f"{json.dumps(row)}\n" for row in (*rows, {"text": "天地玄黄。", "label": {}}))


CASES = {
    "extraction": Case(
        "ernie_m",
        "cluener",
        people(),
        "f1",
        {"text": "天地玄黄。", "schema": ["人"]},
        {},
        {"schema": ["人", "地"]},
        {"max_steps": 120},
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
    "closed_extraction": Case(
        "ernie", "spo", triples(), "f1", "肺炎不导致水肿", {}, {"schema": [{"病": ["导致"]}]}, train={"max_steps": 120}
    ),
    "token_classification": Case("bert", "cluener", people(), "f1", "天地玄黄。", {"entities": []}),
    "question_answering": Case(
        "tinybert",
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
        {"context": "在上海", "question": "谁", "choices": ["天地", "坏人", "好人"]},
        {"answer": "好人", "index": 2},
        train={"batch_tokens": 120},
    ),
    "matching": Case(
        "bert", "cail_scm", cases(), "accuracy", {"text": "玄地", "candidates": ["天", "玄"]}, {"index": 1}
    ),
    "intent_slot": Case("ernie", "nlu", commands(), "exact_match", "停吧", {"intent": "music.stop", "value": []}),
    "nested_ner": Case("electra", "cmeee", nested(), "f1", "天地玄黄", {"entities": []}),
    "spo": Case("ernie_health", "spo", triples(), "f1", "肺炎不导致水肿", {"triples": []}, train={"max_steps": 120}),
    "utc": Case(
        "ernie",
        "utc",
        options(),
        "f1",
        {"text": "来自天", "text_pair": "地", "choices": ["北京"]},
        {"predictions": []},
        train={"max_steps": 120},
    ),
    "document_classification": Case(
        "ernie_doc", "jsonl", one_label(), "accuracy", "玄坏" * 20, {"label": "b"}, {"max_length": 16}
    ),
    "document_token_classification": Case(
        "ernie_doc", "cluener", people(), "f1", "天地玄黄。" * 8, {}, {"max_length": 16}
    ),
    "document_question_answering": Case(
        "ernie_doc",
        "squad",
        squad(impossible=False),
        "f1",
        {"question": "在哪里？", "context": "李明来自上海。" * 4},
        {},
        {"max_question_length": 8, "doc_stride": 8, "max_length": 16},
    ),
    "document_multiple_choice": Case(
        "ernie_doc",
        "choices",
        choices(),
        "accuracy",
        {"context": "在上海" * 8, "question": "谁", "choices": ["天地", "坏人", "好人"]},
        {"answer": "好人", "index": 2},
        {"max_length": 16},
    ),
    "document_matching": Case(
        "ernie_doc",
        "cail_scm",
        cases(),
        "accuracy",
        {"text": "玄地" * 8, "candidates": ["天" * 12, "玄" * 12]},
        {},
        {"max_length": 16},
    ),
}

PAIRS = [(name, task) for name in FAMILIES for task in family(name).tasks if task in CASES]
"""Every family with every task that it serves, but for those whose answers are generated."""

TRAINED = [(case.family, task) for task, case in CASES.items()]
TRAINED += [pair for pair in dict(reversed(PAIRS)).items() if pair[0] not in dict(TRAINED)]
"""Every task with one family, and every family with one task."""

RESUMED = list(dict(TRAINED).items())
"""Every family with one task."""


def vocabulary(name: str) -> Path:
    """The sample vocabulary that was made for a family's tokenizer, or else that for WordPiece."""
    folder = locate("sample:vocab")
    made_for = {read_json(path)["tokenizer_class"]: path.parent for path in folder.glob("*/tokenizer_config.json")}
    return made_for.get(family(name).tokenizer, folder / "wordpiece")


def recipe(name: str, task: str, folder: Path, **train: Any) -> LoadedRecipe:
    """A recipe that trains a tiny model of a family on the toy data of a task.

    Args:
        name: of the family.
        task: name of the task.
        folder: for recipe and data.
        **train: options of training.
    """
    case = CASES[task]
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data.json"
    content = case.content
    # Atomically, since another worker may be reading them.
    write_text(data, content if isinstance(content, str) else json.dumps(content))
    # Weights large enough that answers differ, and a dropout small enough to learn the few examples by heart.
    changes = {"hidden_dropout_prob": 0.01, "attention_probs_dropout_prob": 0.0}
    config = {**family(name).tiny, "initializer_range": 0.1, **changes}
    steps = {"max_steps": 60, "eval_steps": 30, "save_steps": 30, "learning_rate": 5e-3, "warmup_ratio": 0.1}
    values = {
        "version": 1,
        "model": {"family": name, "vocab": str(vocabulary(name)), "config": config},
        "task": {"name": task, "max_length": 64, **case.task},
        "data": {"train": str(data), "dev": str(data), "format": case.format},
        "train": {**steps, "log_steps": 1, **case.train, **train},
        "export": {"golden_requests": 3, "backends": [name for name in BACKENDS if find_spec(_PACKAGES[name])]},
    }
    write_text(folder / "recipe.yaml", json.dumps(values))
    return load_recipe(str(folder / "recipe.yaml"))
