"""One door to all readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.names import closest
from zoo_cli.data.annotations import verify
from zoo_cli.data.examples import AnnotatedText, Example, PromptExample
from zoo_cli.data.formats import FORMATS, Format
from zoo_cli.recipe.schema import Section
from zoo_cli.registry import resolve


def find_format(name: str) -> Format:
    """The format of that name.

    Raises:
        UsageError: there is none (`unknown-format`).
    """
    if name not in FORMATS:
        near = closest(name, FORMATS)
        raise UsageError(
            "unknown-format",
            "there is no data format {name!r}",
            fix="did you mean {near}?" if near else "choose one of: {names}",
            name=name,
            near=near,
            names=", ".join(FORMATS),
        )
    return FORMATS[name]


def parse_options(name: str, options: Mapping[str, Any] | Section | None) -> Section:
    """Options of a format from a mapping.

    Raises:
        UsageError: there is no such format, or no such option, or a value is of the wrong type.
    """
    expected = find_format(name).options
    if isinstance(options, expected):
        return options
    try:
        return expected.model_validate(options.model_dump() if isinstance(options, Section) else dict(options or {}))
    except ValidationError as error:
        detail = error.errors()[0]
        raise UsageError(
            "bad-option",
            "option {key!r} of the format {format}: {reason}",
            fix="its options are {names}" if expected.model_fields else None,
            key=".".join(map(str, detail["loc"])),
            format=name,
            reason=detail["msg"],
            names=", ".join(expected.model_fields),
        ) from error


def read(
    path: str | Path, format: str, options: Mapping[str, Any] | Section | None = None, *, strict: bool = True
) -> Iterator[Example]:
    """Read a file of labelled data one example at a time.

    Args:
        path: UTF-8 text with or without byte order mark, LF or CRLF, plain or gzip-compressed.
        format: name in `zoo_cli.data.formats.FORMATS`.
        options: of the format: a mapping as in a recipe, or an instance of its option class.
        strict: check offsets too; False yields spans as the file states them (for `zoo_cli.data.checks`).

    Yields:
        Examples of the class that the format names, each with its place in the file.

    Raises:
        UsageError: there is no such format or option.
        DataError: the file is missing, broken or empty, or (strict) an offset does not fit its text; all with file
            and line.
    """
    entry = find_format(format)
    return _read(Path(path), entry, parse_options(format, options), strict)


def _read(path: Path, entry: Format, options: Section, strict: bool) -> Iterator[Example]:
    found = False
    for example in resolve(entry.reader)(path, options):
        found = True
        if strict and isinstance(example, AnnotatedText | PromptExample):
            verify(example)
        yield example
    if not found:
        raise DataError(
            "empty-data",
            "there is no example in the file",
            at=Location.of(path, 1),
            fix="is it of the format {format}?",
            format=entry.name,
        )
