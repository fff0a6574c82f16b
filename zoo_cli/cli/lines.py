"""Inputs and answers of prediction, one a line."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
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


@dataclass(frozen=True)
class Shard:
    """One of several parts of a file, each of the lines that follow those of the part before.

    Args:
        number: of the part, from 1.
        count: of parts.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``"2/8"``.

        Raises:
            UsageError: this is no part (`bad-shard`).
        """
        number, _, count = text.partition("/")
        if number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise UsageError(
            "bad-shard", "--shard {text!r} names no part", fix="1/8 is the first of eight, 8/8 the last", text=text
        )

    def lines(self, total: int) -> range:
        """Numbers of its lines, from 0, of so many."""
        return range(total * (self.number - 1) // self.count, total * self.number // self.count)


def read_requests(source: str | None, text: str | None, shard: Shard | None = None) -> Iterator[tuple[Location, Any]]:
    """Requests with their places: each line a text, or a JSON object or string.

    Args:
        source: a file, or ``-`` for standard input.
        text: a single text instead.
        shard: the part of the file that is read; the others are not looked at.

    Raises:
        DataError: a line is not UTF-8, or starts like a JSON object and is none; with its line.
        UsageError: neither is given, the file cannot be read, or there is no file to take a part of (`bad-shard`).
    """
    if shard is not None and source in (None, "-"):
        raise UsageError("bad-shard", "--shard takes a part of a file", fix="name a file with --input")
    if text is not None:
        yield Location("--text"), text
        return
    if source is None:
        raise UsageError(
            "no-input", "there is nothing to answer", fix="name a file with --input, or - for standard input"
        )
    name = "standard input" if source == "-" else source
    chosen = None if shard is None else shard.lines(_count_lines(source))
    with _open(source) as stream:
        lines = enumerate(stream, 1)
        for number, raw in lines if chosen is None else islice(lines, chosen.start, chosen.stop):
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


def _count_lines(source: str) -> int:
    count, last = 0, b"\n"
    with _open(source) as stream:
        while block := stream.read(1 << 20):
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


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
    places: deque[Location] = deque()  # of what has no answer yet, which is what an error is about

    def values() -> Iterator[Any]:
        for place, value in requests:
            places.append(place)
            yield value

    # Interactive input is answered line by line.
    window = 1 if output == "-" and sys.stdin.isatty() else 256
    with _target(output) as stream:
        try:
            for answer in pipeline.stream(values(), window=window, **parameters):
                write(answer, stream)
                places.popleft()
        except ZooError as error:
            if error.at is None and places:
                error.at = places[0]
            raise
