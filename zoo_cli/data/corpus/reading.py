"""Raw text in pieces: which part of which file is one piece of work, and the documents that begin in it.

A piece of a plain file is a range of bytes. It owns the documents whose first byte lies in the range and reads them to
their end, wherever that is, so that pieces can be read in any order, by any process, on any machine. What cannot be
read is counted and skipped.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

from zoo_cli.base.errors import DataError, Location, UsageError

Format = Literal["auto", "text", "jsonl", "tsv"]
Documents = Literal["blank-line", "line"]

_BLOCK = 1 << 20
_BOM = b"\xef\xbb\xbf"
_JSON_ENDINGS = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
_ENDINGS = (".txt", ".txt.gz", *_JSON_ENDINGS)
PLACES = 5
"""How many places of each kind of fault are kept."""

FAULTS = {
    "bad-encoding": "{count} lines are not {encoding} text and were left out",
    "long-line": "{count} lines are longer than {line_bytes} bytes and were left out",
    "broken-json": "{count} lines are not JSON and were left out",
    "no-pair": "{count} lines are not two texts with a tab between them and were left out",
    "no-text": "{count} lines have no text under the key {key!r} and were left out",
    "empty-document": "{count} documents have no tokens and were left out",
    "cut-document": "{count} documents are longer than {line_bytes} bytes and were cut into several",
    "cut-sentence": "{count} sentences are longer than {sentence_tokens} tokens and were cut into several",
    "broken-archive": "{count} compressed files are damaged and were read up to there",
}
"""Kinds of faults and what is said about them."""


class Place(NamedTuple):
    """Where a fault is: an offset in the bytes of a file, decompressed if it is compressed."""

    file: str
    offset: int


@dataclass
class Faults:
    """Faults by kind: how many, and where the first few are."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[Place]] = field(default_factory=dict)

    def add(self, kind: str, place: Place | None = None, count: int = 1) -> None:
        """Count a fault."""
        if not count:
            return
        self.counts[kind] = self.counts.get(kind, 0) + count
        if place is not None and len(self.places.setdefault(kind, [])) < PLACES:
            self.places[kind].append(place)

    def update(self, other: Faults) -> None:
        """Add those of a later piece."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
            known = self.places.setdefault(kind, [])
            known += other.places.get(kind, [])[: PLACES - len(known)]


class Piece(NamedTuple):
    """A piece of work: the documents of a file that begin between two offsets; all where `end` is None."""

    file: str
    start: int
    end: int | None


@dataclass(frozen=True)
class ReadingOptions:
    """How raw text is written.

    Args:
        format: ``text``; ``jsonl``, one object a line; ``tsv``, in each line a text, a tab and its translation, which
            become a document of two sentences, further columns being left out; ``auto`` is text or JSON lines by the
            name's ending.
        documents: what ends a document of a text file: a blank line, or each line end.
        json_key: key of the text.
        encoding: of the files; one in which a line end is the byte 10.
        line_bytes: a line, or a document that is one piece, may have this many bytes.
    """

    format: Format = "auto"
    documents: Documents = "blank-line"
    json_key: str = "text"
    encoding: str = "utf-8"
    line_bytes: int = 1 << 24

    def __post_init__(self) -> None:
        try:
            known = "a\n".encode(self.encoding) == b"a\n"
        except LookupError:
            known = False
        if not known:
            raise UsageError(
                "bad-encoding-name",
                "{encoding!r} is not an encoding that text can be read in",
                fix="for example utf-8 or gb18030; convert UTF-16 files with iconv",
                encoding=self.encoding,
            )


def find_files(inputs: Sequence[Path]) -> tuple[list[Path], int]:
    """The files of a list of files and folders.

    Args:
        inputs: files, in any form; folders, of which all `.txt`, `.jsonl` and `.json` files are taken, packed by gzip
            or not, in the order of their paths.

    Returns:
        The files and how many others the folders have.

    Raises:
        DataError: an input does not exist (`missing-file`), or there are no files (`no-data`).
    """
    files: list[Path] = []
    others = 0
    for path in inputs:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
            text = [file for file in inside if file.name.lower().endswith(_ENDINGS)]
            files += text
            others += len(inside) - len(text)
        elif path.is_file():
            files.append(path)
        else:
            raise DataError("missing-file", "there is no such file or folder", at=Location.of(path))
    if not files:
        raise DataError(
            "no-data",
            "there are no text files",
            at=Location.of(inputs[0]) if inputs else None,
            fix="add .txt or .jsonl",
        )
    return files, others


def is_packed(path: Path) -> bool:
    """Whether a file is compressed by gzip."""
    with path.open("rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def plan_pieces(files: Sequence[Path], size: int) -> list[Piece]:
    """Cut files into pieces of about `size` bytes; a compressed file is one piece."""
    pieces = []
    for path in files:
        total = path.stat().st_size
        if is_packed(path):
            pieces.append(Piece(str(path), 0, None))
        else:
            pieces += [Piece(str(path), start, min(start + size, total)) for start in range(0, total, size)]
    return pieces


def read_piece(piece: Piece, options: ReadingOptions, faults: Faults) -> Iterator[str | None]:
    """Texts of a piece: parts of a document, then None at its end.

    A document of a text file comes line by line, one of a JSON lines file as one part, a translated pair as two.
    """
    try:
        with _open(piece) as handle:
            yield from _Reader(piece, options, faults, handle).documents()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        faults.add("broken-archive", Place(piece.file, 0))
        yield None


def _open(piece: Piece) -> BinaryIO:
    path = Path(piece.file)
    return cast(BinaryIO, gzip.open(path, "rb")) if piece.end is None else path.open("rb")


class _Reader:
    """Reads one piece from an open file."""

    def __init__(self, piece: Piece, options: ReadingOptions, faults: Faults, handle: BinaryIO) -> None:
        self._piece, self._options, self._faults, self._handle = piece, options, faults, handle

    def documents(self) -> Iterator[str | None]:
        options, piece = self._options, self._piece
        is_json = options.format == "jsonl" or (options.format == "auto" and piece.file.lower().endswith(_JSON_ENDINGS))
        start = self._first_line()
        if not is_json and options.format != "tsv" and options.documents == "blank-line":
            yield from self._blank_line_documents(start)
            return
        for offset, line in self._lines(start):
            if piece.end is not None and offset >= piece.end:
                return
            if line is None:
                continue
            if options.format == "tsv":
                yield from self._pair(offset, line)
                continue
            text = self._json_text(offset, line) if is_json else self._decode(offset, line)
            if text is not None:
                yield text
                yield None

    def _first_line(self) -> int:
        """Offset of the first line that begins in the piece; the file is left there."""
        start = self._piece.start
        if start == 0:
            return 0
        self._handle.seek(start - 1)
        offset = start - 1
        while block := self._handle.readline(_BLOCK):
            offset += len(block)
            if block.endswith(b"\n"):
                break
        return offset

    def _lines(self, offset: int) -> Iterator[tuple[int, bytes | None]]:
        """Offset and bytes of each line from here on, without its end; None for one that is too long."""
        limit = self._options.line_bytes
        while line := self._handle.readline(limit + 2):
            begin, fits = offset, True
            offset += len(line)
            ended = line.endswith(b"\n")
            while not ended and (more := self._handle.readline(_BLOCK)):
                fits = False
                offset += len(more)
                ended = more.endswith(b"\n")
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            if fits and len(text) <= limit:
                yield begin, text if begin else text.removeprefix(_BOM)
            else:
                self._faults.add("long-line", Place(self._piece.file, begin))
                yield begin, None

    def _blank_line_documents(self, start: int) -> Iterator[str | None]:
        end = self._piece.end
        foreign = start > 0 and not self._is_after_blank_line(start)  # the document of an earlier piece goes on
        inside = False
        for offset, line in self._lines(start):
            if not inside and end is not None and offset >= end:
                return
            if line is not None and not line.strip():
                if inside:
                    yield None
                inside = foreign = False
            elif not foreign:
                inside = True
                text = None if line is None else self._decode(offset, line)
                if text is not None:
                    yield text
        if inside:
            yield None

    def _is_after_blank_line(self, start: int) -> bool:
        """Whether the line before the one at `start` has nothing but white space; the file is left at `start`."""
        stop, blank = start - 1, True
        while stop > 0:
            begin = max(0, stop - 4096)
            self._handle.seek(begin)
            block = self._handle.read(stop - begin)
            cut = block.rfind(b"\n")
            if block[cut + 1 :].strip():
                blank = False
                break
            if cut >= 0:
                break
            stop = begin
        self._handle.seek(start)
        return blank

    def _pair(self, offset: int, line: bytes) -> Iterator[str | None]:
        """Both texts of a line, then the end of their document; nothing of a line that has not both."""
        text = self._decode(offset, line)
        if text is None or not text.strip():
            return
        columns = [column.strip() for column in text.split("\t")[:2]]
        if len(columns) == 2 and all(columns):
            yield from columns
            yield None
        else:
            self._faults.add("no-pair", Place(self._piece.file, offset))

    def _decode(self, offset: int, line: bytes) -> str | None:
        try:
            return line.decode(self._options.encoding)
        except UnicodeDecodeError:
            self._faults.add("bad-encoding", Place(self._piece.file, offset))
            return None

    def _json_text(self, offset: int, line: bytes) -> str | None:
        decoded = self._decode(offset, line)
        if decoded is None or not decoded.strip():
            return None
        place = Place(self._piece.file, offset)
        try:
            value = json.loads(decoded)
        except (ValueError, RecursionError):
            self._faults.add("broken-json", place)
            return None
        text = value.get(self._options.json_key) if isinstance(value, dict) else None
        if not isinstance(text, str):
            self._faults.add("no-text", place)
            return None
        try:
            text.encode()
        except UnicodeEncodeError:  # half of a surrogate pair, which JSON can spell
            self._faults.add("bad-encoding", place)
            return None
        return text


def line_number(place: Place) -> int:
    """Number of the line at a place, from 1."""
    path = Path(place.file)
    left, number = place.offset, 1
    with cast(BinaryIO, gzip.open(path, "rb")) if is_packed(path) else path.open("rb") as handle:
        while left and (block := handle.read(min(left, _BLOCK))):
            number += block.count(b"\n")
            left -= len(block)
    return number
