"""The families and tasks there are, as dotted names that are imported only when asked for.

A new family is one folder in `zoo_cli/models/` and one line in `FAMILIES`; a new task one folder in `zoo_cli/tasks/`
and one line in `TASKS`. What a line points to is free of paddle, so recipes are checked in full without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from zoo_cli.base.errors import UsageError
from zoo_cli.base.names import closest

FAMILIES = {
    "bert": "zoo_cli.models.bert.config:FAMILY",
    "tinybert": "zoo_cli.models.tinybert.config:FAMILY",
    "ernie": "zoo_cli.models.ernie.config:FAMILY",
    "ernie_m": "zoo_cli.models.ernie_m.config:FAMILY",
    "ernie_doc": "zoo_cli.models.ernie_doc.config:FAMILY",
    "electra": "zoo_cli.models.electra.config:FAMILY",
    "ernie_health": "zoo_cli.models.ernie_health.config:FAMILY",
    "unimo": "zoo_cli.models.unimo.config:FAMILY",
    "unified_transformer": "zoo_cli.models.unified_transformer.config:FAMILY",
    "gpt": "zoo_cli.models.gpt.config:FAMILY",
}

TASKS = {
    "extraction": "zoo_cli.tasks.extraction.spec:TASK",
    "sequence_classification": "zoo_cli.tasks.sequence_classification.spec:TASK",
    "token_classification": "zoo_cli.tasks.token_classification.spec:TASK",
    "question_answering": "zoo_cli.tasks.question_answering.spec:TASK",
    "multiple_choice": "zoo_cli.tasks.multiple_choice.spec:TASK",
    "matching": "zoo_cli.tasks.matching.spec:TASK",
    "intent_slot": "zoo_cli.tasks.intent_slot.spec:TASK",
    "nested_ner": "zoo_cli.tasks.nested_ner.spec:TASK",
    "spo": "zoo_cli.tasks.spo.spec:TASK",
    "closed_extraction": "zoo_cli.tasks.closed_extraction.spec:TASK",
    "utc": "zoo_cli.tasks.utc.spec:TASK",
    "document_classification": "zoo_cli.tasks.document_classification.spec:TASK",
    "document_token_classification": "zoo_cli.tasks.document_token_classification.spec:TASK",
    "document_question_answering": "zoo_cli.tasks.document_question_answering.spec:TASK",
    "document_multiple_choice": "zoo_cli.tasks.document_multiple_choice.spec:TASK",
    "document_matching": "zoo_cli.tasks.document_matching.spec:TASK",
    "generation": "zoo_cli.tasks.generation.spec:TASK",
    "dialogue": "zoo_cli.tasks.dialogue.spec:TASK",
    "language_modeling": "zoo_cli.tasks.language_modeling.spec:TASK",
    "embedding": "zoo_cli.tasks.embedding.spec:TASK",
}


@dataclass(frozen=True)
class FamilySpec:
    """What the rest of the program knows about a model family without importing paddle.

    Args:
        name: key in `FAMILIES`.
        prefix: name of the backbone inside a head class, and in published weight files (``bert.embeddings...``).
        config: the family's configuration class (a pydantic model).
        backbone: class name of the backbone, e.g. ``"BertModel"``.
        architectures: every class name of the family -> dotted name of what builds it. Families may share classes; a
            shared class belongs to the family that is first in `FAMILIES`.
        tasks: task name -> class name that serves it.
        tokenizer: default tokenizer class name.
        inputs: names of the integer inputs of the backbone, in the order in which exported graphs take them.
        tiny: configuration values of the two-layer model of `--tiny` and the conformance tests.
        objectives: what the family can be pretrained with (`pretrain.objective`, or `pretrain.pair` where there is one)
            -> class name that learns it.
    """

    name: str
    prefix: str
    config: type[Any]
    backbone: str
    architectures: Mapping[str, str]
    tasks: Mapping[str, str]
    tokenizer: str
    inputs: tuple[str, ...]
    tiny: Mapping[str, Any] = field(default_factory=dict)
    objectives: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskSpec:
    """What the rest of the program knows about a task without importing it.

    Args:
        name: key in `TASKS`.
        options: pydantic model of the recipe's `task` section.
        implementation: dotted name of the `zoo_cli.tasks.base.Task` subclass.
        formats: names of the data formats (`zoo_cli.data`) that its examples can be read from; none where nothing is
            learnt.
        metric: name of the metric that chooses the best checkpoint; higher is better.
        request: pydantic model of one input, as clients of the server send it.
        answer: pydantic model of one answer.
    """

    name: str
    options: type[Any]
    implementation: str
    formats: tuple[str, ...]
    metric: str
    request: type[Any] | None = None
    answer: type[Any] | None = None


def resolve(dotted: str) -> Any:
    """Import ``"package.module:name"`` and return the name."""
    module, _, name = dotted.partition(":")
    return getattr(import_module(module), name)


def _entry(table: Mapping[str, str], name: str, kind: str) -> str:
    if name not in table:
        near = closest(name, table)
        raise UsageError(
            f"unknown-{kind}",
            "there is no {kind} {name!r}",
            fix="did you mean {near}?" if near else "choose one of: {names}",
            kind=kind,
            name=name,
            near=near,
            names=", ".join(table),
        )
    return table[name]


@cache
def family(name: str) -> FamilySpec:
    """The family of that name.

    Raises:
        UsageError: there is none (`unknown-family`).
    """
    return resolve(_entry(FAMILIES, name, "family"))


@cache
def task(name: str) -> TaskSpec:
    """The task of that name.

    Raises:
        UsageError: there is none (`unknown-task`).
    """
    return resolve(_entry(TASKS, name, "task"))


@cache
def family_of(architecture: str) -> FamilySpec:
    """The family that has a class of that name, e.g. ``"ErnieForTokenClassification"``.

    Raises:
        UsageError: no family has one (`unknown-architecture`).
    """
    known: dict[str, FamilySpec] = {}
    for name in FAMILIES:
        spec = family(name)
        for each in spec.architectures:
            known.setdefault(each, spec)
    return known[_entry(dict.fromkeys(known, ""), architecture, "architecture") or architecture]
