"""The files that a recipe's `data` section names, as one stream of examples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from zoo_cli.base.errors import DataError
from zoo_cli.base.resources import locate
from zoo_cli.data.examples import AnnotatedText, TaggedTokens, TextExample
from zoo_cli.data.readers import read
from zoo_cli.recipe.schema import DataSection


def read_examples(paths: Sequence[str], section: DataSection) -> Iterator[Any]:
    """Examples of all files, one file after another, with labels renamed.

    Args:
        paths: files; ``sample:NAME`` is one that comes with the package.
        section: says how they are written.

    Raises:
        DataError: a file is missing, empty or broken; with file and line.
    """
    if section.format is None:
        raise DataError("no-format", "nothing says how the files are written", fix="set data.format")
    for path in paths:
        examples: Iterable[Any] = read(locate(path), section.format, section.options)
        for example in islice(examples, section.limit):
            yield renamed(example, section.labels) if section.labels else example


def _tag(tag: str, names: Mapping[str, str]) -> str:
    prefix, dash, label = tag.partition("-")
    return f"{prefix}{dash}{names.get(label, label)}" if dash else names.get(tag, tag)


def renamed(example: Any, names: Mapping[str, str]) -> Any:
    """A copy of an example whose labels have the names that the recipe gives them."""
    match example:
        case AnnotatedText():
            entities = [replace(entity, label=names.get(entity.label, entity.label)) for entity in example.entities]
            relations = [replace(each, label=names.get(each.label, each.label)) for each in example.relations]
            classes = [names.get(label, label) for label in example.classes]
            return replace(example, entities=entities, relations=relations, classes=classes)
        case TaggedTokens(tags=list() as tags):
            return replace(example, tags=[_tag(tag, names) for tag in tags])
        case TextExample(label=str() as label):
            return replace(example, label=names.get(label, label))
        case TextExample(label=list() as labels):
            return replace(example, label=[names.get(label, label) for label in labels])
    return example
