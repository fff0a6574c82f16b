"""YAML with the scalars of YAML 1.2 and a line number for everything.

PyYAML follows YAML 1.1: `3e-5` is a string there, `NO` is `False`, and the last of two equal keys wins. Here its parser
is used up to the node graph, which carries positions; values are made by the core schema of YAML 1.2
(https://yaml.org/spec/1.2.2/#103-core-schema). Equal keys, tags and keys that are no strings are errors.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from zoo_cli.base.errors import Location, UsageError, ZooError, raise_all

Path = tuple[str | int, ...]
MAX_BYTES = 1_000_000
MAX_DEPTH = 100
MAX_VALUES = 100_000  # aliases may repeat a value; this stops a file that would repeat it for ever

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE")
_FALSE = re.compile(r"false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
_NOT_A_NUMBER = re.compile(r"\.(nan|NaN|NAN)")


@dataclass
class Document:
    """A parsed file.

    Args:
        value: plain dicts, lists and scalars.
        places: path of keys and indices -> where that key (or list item) stands.
    """

    value: Any
    places: dict[Path, Location] = field(default_factory=dict)

    def place(self, path: Path) -> Location | None:
        """Where `path` stands, or the nearest thing around it that is in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return None


def scalar(text: str) -> Any:
    """The value of a plain (unquoted) scalar."""
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text):
        return True
    if _FALSE.fullmatch(text):
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITY.fullmatch(text):
        return float(text.replace(".", ""))
    if _NOT_A_NUMBER.fullmatch(text):
        return float("nan")
    return text


class _Builder:
    def __init__(self, file: str) -> None:
        self.file = file
        self.places: dict[Path, Location] = {}
        self.errors: list[ZooError] = []
        self.count = 0

    def at(self, node: yaml.Node) -> Location:
        return Location(self.file, node.start_mark.line + 1, node.start_mark.column + 1)

    def build(self, node: yaml.Node, path: Path) -> Any:
        self.count += 1
        if self.count > MAX_VALUES:
            raise UsageError("yaml-size", "the file holds too many values", at=self.at(node))
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, child in enumerate(node.value):
                self.places[(*path, index)] = self.at(child)
                items.append(self.build(child, (*path, index)))
            return items
        assert isinstance(node, yaml.ScalarNode)
        return node.value if node.style in ("'", '"', "|", ">") else scalar(node.value)

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.errors.append(UsageError("yaml-key", "a key must be a plain string", at=self.at(key_node)))
                continue
            if key in result:
                first = self.places[(*path, key)]
                self.errors.append(
                    UsageError(
                        "duplicate-key",
                        "{key!r} stands here again",
                        at=self.at(key_node),
                        fix="keep one of the two; the first is on line {line}",
                        key=key,
                        line=first.line,
                    )
                )
                continue
            self.places[(*path, key)] = self.at(key_node)
            result[key] = self.build(child, (*path, key))
        return result


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml where PyYAML has it
    """Resolves nothing: every plain scalar keeps its text, and `scalar` gives it a value."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own attribute


def _refuse(text: str, file: str) -> None:
    """Go through the file once for what must not reach the recursive composer: tags, and bottomless nesting."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        mark = event.start_mark
        assert mark is not None
        place = Location(file, mark.line + 1, mark.column + 1)
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise UsageError("yaml-tag", "tags such as {tag} are not allowed", at=place, tag=tag)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise UsageError("yaml-size", "the file nests too deeply", at=place)


def parse(text: str, file: str) -> Document:
    """Parse one YAML document.

    Args:
        text: the whole file.
        file: name for error messages.

    Raises:
        UsageError: not YAML (`yaml-syntax`), or something refused here; with line and column. Several at once come as
            an `ErrorGroup`.
    """
    if len(text.encode("utf-8", errors="replace")) > MAX_BYTES:
        raise UsageError("yaml-size", "the file is larger than a megabyte", at=Location(file))
    try:
        _refuse(text, file)
        node = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(file, mark.line + 1, mark.column + 1) if mark else Location(file)
        raise UsageError("yaml-syntax", "not valid YAML: {reason}", at=place, reason=error.problem) from error
    except yaml.reader.ReaderError as error:  # a character that YAML forbids
        before = text[: error.position].split("\n")
        place = Location(file, len(before), len(before[-1]) + 1)
        raise UsageError("yaml-syntax", "not valid YAML: {reason}", at=place, reason=error.reason) from error
    if node is None:
        return Document(None, {(): Location(file, 1, 1)})
    builder = _Builder(file)
    builder.places[()] = Location(file, 1, 1)
    try:
        value = builder.build(node, ())
    except RecursionError as error:  # an alias inside of its own anchor
        raise UsageError("yaml-size", "the file nests too deeply", at=Location(file)) from error
    raise_all(builder.errors)
    return Document(value, builder.places)


def load_yaml(text: str, file: str) -> Any:
    """The value of one YAML document; see `parse`."""
    return parse(text, file).value
