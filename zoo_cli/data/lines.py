"""Text and JSON files read piece by piece, each piece with its line; every fault is a located `DataError`."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, cast

from zoo_cli.base.errors import DataError, Location

_GZIP = b"\x1f\x8b"
_SPACE = re.compile(r"[ \t\n\r]*")


def byte_lines(path: Path) -> Iterator[bytes]:
    """Lines of a plain or gzip-compressed file as bytes, line ends kept, a byte order mark removed.

    Raises:
        DataError: there is no such file, it is a folder, cannot be opened, or its compressed data are damaged.
    """
    path = Path(path)
    number = 0
    if path.is_dir():
        raise DataError("not-a-file", "this is a folder", at=Location.of(path), fix="name a file in it")
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == _GZIP
            plain.seek(0)
            # GzipFile finds its lines in Python; a buffer around it finds them three times as fast.
            unpacked = BufferedReader(cast(RawIOBase, gzip.GzipFile(fileobj=plain))) if packed else plain
            with unpacked as handle:
                for number, line in enumerate(handle, 1):
                    yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except FileNotFoundError as error:
        from zoo_cli.data.datasets import dataset_names

        name = path.parent.name
        fix = "`zoo data fetch {name}` downloads it" if name in dataset_names() else None
        raise DataError("missing-file", "there is no such file", at=Location.of(path), fix=fix, name=name) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            "broken-archive", "the compressed data are damaged after this line", at=Location.of(path, number or 1)
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            "unreadable-file", "the file cannot be read: {reason}", at=Location.of(path), reason=reason
        ) from error


def decode(path: Path, number: int, line: bytes, offset: int) -> str:
    """The text of one line.

    Args:
        path: file that it is from.
        number: of the line, from 1.
        line: its bytes.
        offset: of the line in the file, in bytes.

    Raises:
        DataError: the bytes are not UTF-8 (`bad-encoding`).
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            "bad-encoding",
            "the byte 0x{value:02x} at offset {byte} of the file is not UTF-8",
            at=Location.of(path, number, len(line[: error.start].decode("utf-8")) + 1),
            fix="save the file as UTF-8, e.g. `iconv -f UTF-16 -t UTF-8`"
            if offset == 0 and line.startswith((b"\xff\xfe", b"\xfe\xff"))
            else "save the file as UTF-8, e.g. `iconv -f GB18030 -t UTF-8`",
            byte=offset + error.start,
            value=line[error.start],
        ) from error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines of a UTF-8 file without their line ends (LF or CRLF).

    Raises:
        DataError: as `byte_lines`, or the bytes are not UTF-8.
    """
    offset = 0
    for number, line in enumerate(byte_lines(path), 1):
        text = decode(path, number, line, offset)
        yield number, text.removesuffix("\n").removesuffix("\r")
        offset += len(line)


def _check_characters(text: str, at: Location) -> None:
    """Refuse halves of surrogate pairs, which JSON can spell and nothing can write."""
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                "bad-character",
                "half of a surrogate pair ({found}) is no character",
                at=at,
                found=f"\\u{ord(error.object[error.start]):04x}",
            ) from error


def _broken(error: Exception, path: Path, line: int, column: int | None = None) -> DataError:
    if isinstance(error, json.JSONDecodeError):
        return DataError(
            "broken-json", "not valid JSON: {reason}", at=Location.of(path, line, column), reason=error.msg
        )
    reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    return DataError("broken-json", "not valid JSON: {reason}", at=Location.of(path, line), reason=reason)


def json_objects(path: Path) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The objects of a JSON lines file; blank lines are skipped.

    Raises:
        DataError: as `text_lines`, or a line is not a JSON object.
    """
    for number, line in text_lines(path):
        if not line.strip():
            continue
        at = Location.of(path, number)
        try:
            value = json.loads(line)
            _check_characters(line, at)
        except (ValueError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else None
            raise _broken(error, path, number, column) from error
        if not isinstance(value, dict):
            raise DataError(
                "not-an-object",
                "the line is {kind}, not a JSON object",
                at=at,
                fix="write one object in braces a line"
                if not line.lstrip().startswith("[")
                else "the file may be one JSON list",
                kind=kind(value),
            )
        yield at, value


class _Json:
    """A JSON file that is decoded value by value, so that each has its line.

    Args:
        path: the file.

    Raises:
        DataError: as `text_lines`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = "\n".join(line for _, line in text_lines(path))
        self._decoder = json.JSONDecoder()
        self._line, self._counted = 1, 0
        self._position = self._after_space(0)

    def _after_space(self, position: int) -> int:
        match = _SPACE.match(self._text, position)
        assert match is not None  # the pattern matches the empty string
        return match.end()

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return self._position == len(self._text)

    def sees(self, character: str) -> bool:
        """Whether this is the next character."""
        return self._text.startswith(character, self._position)

    def take(self, character: str) -> bool:
        """Pass over the next character if it is this one."""
        if not self.sees(character):
            return False
        self._position = self._after_space(self._position + 1)
        return True

    def place(self, position: int | None = None) -> Location:
        """Line and column of a position, by default the present one; positions may only grow."""
        position = self._position if position is None else position
        self._line += self._text.count("\n", self._counted, position)
        self._counted = position
        return Location.of(self._path, self._line, position - (self._text.rfind("\n", 0, position) + 1) + 1)

    def fail(self, reason: str, position: int | None = None) -> DataError:
        """The error of a fault at a position, by default the present one."""
        return DataError("broken-json", "not valid JSON: {reason}", at=self.place(position), reason=reason)

    def value(self) -> tuple[Location, Any]:
        """The next value, and the line it begins on."""
        at = Location.of(self._path, self.place().line)
        try:
            value, end = self._decoder.raw_decode(self._text, self._position)
            _check_characters(self._text[self._position : end], at)
        except json.JSONDecodeError as error:
            raise self.fail(error.msg, max(error.pos, self._position)) from error
        except (ValueError, RecursionError) as error:
            raise _broken(error, self._path, at.line or 1) from error
        self._position = self._after_space(end)
        return at, value

    def separate(self, close: str) -> None:
        """Pass over the comma between two members of a list or object, if this is not its end."""
        if self.take(","):
            if self.sees(close):
                raise self.fail("Illegal trailing comma before end of " + ("array" if close == "]" else "object"))
        elif not self.sees(close):
            raise self.fail("Expecting ',' delimiter")

    def items(self) -> Iterator[tuple[Location, Any]]:
        """The items of a list whose bracket is passed over already."""
        while not self.take("]"):
            yield self.value()
            self.separate("]")

    def end(self) -> None:
        """Refuse whatever follows."""
        if not self.ended:
            raise self.fail("Extra data")


def json_items(path: Path) -> Iterator[tuple[Location, Any]]:
    """The items of a file that is one JSON list, each with the line it begins on.

    Raises:
        DataError: as `text_lines`, or the file is not a JSON list.
    """
    file = _Json(path)
    if file.ended:
        return
    if not file.sees("["):
        raise DataError(
            "not-a-list",
            "the file is not a JSON list",
            at=file.place(),
            fix="export it as JSON: one list of all items",
        )
    file.take("[")
    yield from file.items()
    file.end()


def json_member(path: Path, key: str) -> Iterator[tuple[Location, Any]]:
    """The items of the list that is member `key` of a file with one JSON object, each with the line it begins on.

    Raises:
        DataError: as `text_lines`, or the file is not an object with such a list.
    """
    file = _Json(path)
    if file.ended:
        return
    at, found = file.place(), False
    if not file.take("{"):
        raise DataError("not-an-object", "the file is not a JSON object with the list {key!r}", at=at, key=key)
    while not file.take("}"):
        place, name = file.value()
        if not isinstance(name, str) or not file.take(":"):
            raise DataError("broken-json", "not valid JSON: {reason}", at=place, reason="Expecting a name and ':'")
        if name == key and file.take("["):
            found = True
            yield from file.items()
        else:
            file.value()
        file.separate("}")
    file.end()
    if not found:
        raise DataError("missing-field", "the object has no list {key!r}", at=at, key=key)


def json_rows(path: Path) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The objects of a JSON lines file, or of a file that is one JSON list.

    Raises:
        DataError: as `json_objects` and `json_items`, or an item of the list is not a JSON object.
    """
    if not is_json_list(path):
        yield from json_objects(path)
        return
    for at, row in json_items(path):
        if not isinstance(row, dict):
            raise DataError("not-an-object", "the item is {found}, not a JSON object", at=at, found=kind(row))
        yield at, row


def is_json_list(path: Path) -> bool:
    """Whether a JSON file is one list, and not an object on each line."""
    first = next((line for _, line in text_lines(path) if line.strip()), "")
    return first.lstrip().startswith("[")


def kind(value: Any) -> str:
    """What a JSON value is, for messages."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def field(value: Any, key: str, types: type | tuple[type, ...], at: Location | None, default: Any = None) -> Any:
    """Member `key` of a JSON object, of one of the given types.

    Args:
        value: what should be the object.
        key: name of the member.
        types: accepted Python types; `int` does not accept booleans.
        at: place for errors.
        default: taken when the member is missing; None makes it required.

    Raises:
        DataError: `value` is no object, or the member is missing or of another type.
    """
    if not isinstance(value, dict):
        raise DataError(
            "wrong-type", "expected an object with {key!r}, found {found}", at=at, key=key, found=kind(value)
        )
    if key not in value:
        if default is not None:
            return default
        raise DataError("missing-field", "the object has no {key!r}", at=at, key=key)
    member = value[key]
    accepted = types if isinstance(types, tuple) else (types,)
    if not isinstance(member, accepted) or (isinstance(member, bool) and bool not in accepted):
        expected = " or ".join(kind(accepted_type()) for accepted_type in accepted)
        raise DataError(
            "wrong-type", "{key!r} is {found}, not {expected}", at=at, key=key, found=kind(member), expected=expected
        )
    return member
