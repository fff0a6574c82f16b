"""The schema language of UIE: what to extract, as strings, lists and nested dictionaries.

A string asks for spans of that name (``"人名"``), or, with its options in brackets, for a class
(``"情感倾向[正向,负向]"``). A list asks for several things. A dictionary asks for its keys, and then for each span
found for a key asks for its values (``{"竞赛名称": ["主办方", "时间"]}``), which may be strings, lists or dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo_cli.base.errors import DataError
from zoo_cli.data.conversion import relation_prompt
from zoo_cli.data.examples import AnnotatedText

Language = Literal["zh", "en"]

MAX_DEPTH = 32
_HALF_WIDTH = {0x3000: 0x20} | {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_OPTIONS = re.compile(r"\[[^\[\]]*\]$")
_KINDS = {dict: "a dictionary", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}


@dataclass(slots=True)
class Node:
    """One thing to ask for.

    Args:
        name: the prompt as the user spelt it; results bear it as key.
        children: what to ask about each span found.
    """

    name: str
    children: list[Node] = field(default_factory=list)


def normalize(prompt: str) -> str:
    """The prompt as the model is asked it: full-width forms of ASCII become ASCII. The length does not change."""
    return prompt.translate(_HALF_WIDTH)


def class_options(prompt: str) -> list[str]:
    """Options of a normalized classification prompt, e.g. ``["正向", "负向"]``; none if it is not one.

    One name in brackets is no choice but part of the label (``身高[cm]``).
    """
    match = _OPTIONS.search(prompt)
    options = [option.strip() for option in match.group()[1:-1].split(",")] if match else []
    return options if len(options) > 1 else []


def make_prompt(name: str, parent: str | None, language: Language) -> str:
    """The normalized prompt that asks for `name`.

    Args:
        name: name of a schema node.
        parent: text of the span that the question is about; None at the root.
        language: `zh` puts the parent before the name (``北京的区号``), `en` after it (``capital of France``), and in a
            classification before its options (``Sentiment classification of France [negative, positive]``).
    """
    if parent is None:
        return normalize(name)
    match = _OPTIONS.search(normalize(name))
    if language == "zh" or match is None:
        return normalize(relation_prompt(parent, name, language))
    options = name[match.start() :]
    return normalize(f"{relation_prompt(parent, name[: match.start()].strip(), language)} {options}")


def parse_schema(value: Any) -> list[Node]:
    """Read a schema.

    Args:
        value: string, list or dictionary as JSON or YAML give it. What is asked for twice is asked once, with the
            children of both.

    Raises:
        DataError: something in it is of the wrong type, empty or nested too deeply (`bad-schema`); the message names
            the place as ``schema[1].原告``.
    """
    nodes = _parse(value, "schema", 1)
    if not nodes:
        raise _bad("schema", "asks for nothing")
    return nodes


def _bad(path: str, reason: str) -> DataError:
    return DataError(
        "bad-schema",
        "{path} {reason}",
        fix='a schema is made of names: "人名", ["人名", "地名"] or {{"人名": ["生日"]}}',
        path=path,
        reason=reason,
    )


def _parse(value: Any, path: str, depth: int) -> list[Node]:
    if depth > MAX_DEPTH:
        raise _bad(path, f"is nested deeper than {MAX_DEPTH} levels")
    nodes: dict[str, Node] = {}
    if isinstance(value, str):
        nodes[value] = Node(_name(value, path))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _merge(nodes, _parse(item, f"{path}[{index}]", depth + 1))
    elif isinstance(value, dict):
        for key, item in value.items():
            _merge(nodes, [Node(_name(key, f"{path}, key {key!r},"), _parse(item, f"{path}.{key}", depth + 1))])
    else:
        raise _bad(path, f"must be a string, a list or a dictionary, not {_kind(value)}")
    return list(nodes.values())


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _bad(path, f"must be a string, not {_kind(value)}")
    if not value.strip():
        raise _bad(path, "must not be empty")
    return value


def _kind(value: Any) -> str:
    return _KINDS.get(type(value)) or f"{value!r}"


def _merge(nodes: dict[str, Node], new: Iterable[Node]) -> None:
    """Add nodes, joining those of one name."""
    for node in new:
        if node.name not in nodes:
            nodes[node.name] = node
            continue
        children = {child.name: child for child in nodes[node.name].children}
        _merge(children, node.children)
        nodes[node.name].children = list(children.values())


def schema_from_annotations(texts: Iterable[AnnotatedText]) -> list[str | dict[str, list[str]]]:
    """The schema that asks for every entity label and, below it, the relations that start from it.

    Needed to score a model end to end (`zoo_cli.tasks.extraction.metrics.GraphMetrics`) on annotated texts.
    """
    relations: dict[str, dict[str, None]] = {}
    for text in texts:
        labels = {entity.id: entity.label for entity in text.entities}
        for label in labels.values():
            relations.setdefault(label, {})
        for relation in text.relations:
            relations[labels[relation.head]][relation.label] = None
    return [{label: list(names)} if names else label for label, names in relations.items()]
