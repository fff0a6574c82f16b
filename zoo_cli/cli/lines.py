"""Inputs and answers of prediction, one a line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zoo_cli.base.console import emit_json
from zoo_cli.base.errors import DataError, Location, UsageError, ZooError
from zoo_cli.base.files import atomic_file


def parse_schema_option(text: str) -> Any:
    """`--schema`: JSON, or a single name.

    Raises:
        UsageError: it starts like JSON and is none.
    """
    if not text.lstrip().startswith(("[", "{", '"')):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(
            "bad-schema",
            "--schema is not valid JSON: {reason}",
            fix='for example \'["人物", "地点"]\'',
            reason=str(error),
        ) from error


def read_requests(source: str | None, text: str | None) -> Iterator[tuple[Location, Any]]:
    """Requests with their places: each line a text, or a JSON object or string.

    Args:
        source: a file, or ``-`` for standard input.
        text: a single text instead.

    Raises:
        DataError: a line is not UTF-8, or starts like a JSON object and is none; with its line.
        UsageError: neither is given, or the file cannot be read.
    """
    if text is not None:
        yield Location("--text"), text
        return
    if source is None:
        raise UsageError(
            "no-input", "there is nothing to answer", fix="name a file with --input, or - for standard input"
        )
    name = "standard input" if source == "-" else source
    with _open(source) as lines:
        for number, raw in enumerate(lines, 1):
            place = Location(name, number)
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r\n")
            except UnicodeDecodeError as error:
                raise DataError("encoding", "the line is not UTF-8", at=place) from error
            if not line.strip():
                yield place, ""
            elif line.lstrip().startswith("{"):
                try:
                    yield place, json.loads(line)
                except json.JSONDecodeError as error:
                    raise DataError("broken-json", "not valid JSON: {reason}", at=place, reason=error.msg) from error
            else:
                yield place, line


@contextmanager
def _open(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        stream = Path(source).open("rb")  # noqa: SIM115  only what opening raises is about the file
    except OSError as error:
        raise DataError(
            "unreadable-file", "cannot be read: {reason}", at=Location(source), reason=error.strerror or str(error)
        ) from error
    with stream:
        yield stream


@contextmanager
def _target(output: str) -> Iterator[IO[str]]:
    if output == "-":
        yield sys.stdout
        return
    with atomic_file(Path(output)) as partial, partial.open("w", encoding="utf-8") as stream:
        yield stream


def write_answers(
    pipeline: Any,
    requests: Iterator[tuple[Location, Any]],
    parameters: dict[str, Any],
    output: str,
    write: Callable[[Any, IO[str]], None] = emit_json,
) -> None:
    """Answer requests in order, each written by `write`: by default one line of JSON.

    A file appears only when all is answered; standard output gets each answer as soon as it is there.

    Raises:
        DataError: a request is wrong, with its line; answers to the lines before it are written to standard output.
    """
    places: list[Location] = []

    def values() -> Iterator[Any]:
        for place, value in requests:
            places[:] = [place]
            yield value

    # Interactive input is answered line by line.
    window = 1 if output == "-" and sys.stdin.isatty() else 256
    with _target(output) as stream:
        try:
            for answer in pipeline.stream(values(), window=window, **parameters):
                write(answer, stream)
        except ZooError as error:
            if error.at is None and places:
                error.at = places[0]
            raise
