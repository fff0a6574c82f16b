"""Corpora on disk: token ids end to end, lengths of sentences, and where documents end.

Two formats are read:

* PaddleNLP's, which is also written: ``PREFIX_ids.npy`` holds the ids, and ``PREFIX_idx.npz`` the arrays ``lens``
  (tokens of each sentence) and ``docs`` (number of sentences before each document, and of all sentences at the end).
  Corpora of ERNIE-Health have no ``docs``: there each sentence is a document.
* Megatron's memory-mapped one: ``PREFIX.bin`` and ``PREFIX.idx``, which PaddleNLP writes since 2.6.

The arrays are memory-mapped, so that a corpus takes hardly any memory until it is read; only `docs` is loaded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.files import atomic_file

IDS, INDEX, REPORT = "_ids.npy", "_idx.npz", "_corpus.json"
"""Endings of a corpus's files; the last one tells how it was built and is not needed to read it."""

_BIN, _IDX = ".bin", ".idx"
_MEGATRON = b"MMIDIDX\0\0"
_MEGATRON_TYPES = {1: "<u1", 2: "<i1", 3: "<i2", 4: "<i4", 5: "<i8", 8: "<u2", 9: "<u4", 10: "<u8"}
_HEADER = 128
"""Bytes of the header of a `.npy` file with one or two axes, as numpy pads it."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Corpus:
    """An open corpus of T tokens in S sentences in D documents.

    Args:
        prefix: path without the endings.
        ids: token ids, integers [T].
        lens: number of tokens of each sentence, integers [S].
        docs: number of sentences before each document and of all sentences, integers [D + 1].
        files: its files.
    """

    prefix: str
    ids: np.ndarray
    lens: np.ndarray
    docs: np.ndarray
    files: tuple[Path, ...]

    def __post_init__(self) -> None:
        # Searched in all the time, for which a copy would be made of a mapped array that is not aligned.
        object.__setattr__(self, "docs", np.array(self.docs, np.int64))

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.docs) - 1

    def fingerprint(self) -> str:
        """A hash of sizes and of samples of the files, quick for corpora of any size."""
        digest = hashlib.sha256()
        for path in self.files:
            size = path.stat().st_size
            digest.update(f"{path.name.removeprefix(Path(self.prefix).name)}{size}".encode())
            with path.open("rb") as handle:
                for number in range(64):
                    handle.seek(max(0, size - _BLOCK) * number // 63)
                    digest.update(handle.read(_BLOCK))
        return digest.hexdigest()


def open_corpus(prefix: str | os.PathLike[str]) -> Corpus:
    """Open a corpus.

    Args:
        prefix: path without the endings; the name of one of the files does as well.

    Raises:
        DataError: there is no such corpus (`missing-corpus`), or its files are damaged or do not belong together
            (`broken-corpus`).
    """
    name = os.fspath(prefix)
    for ending in (IDS, INDEX, _BIN, _IDX):
        if name.endswith(ending) and Path(name).is_file():
            name = name.removesuffix(ending)
            break
    if Path(name + IDS).is_file() and Path(name + INDEX).is_file():
        corpus = _open_paddlenlp(name)
    elif Path(name + _BIN).is_file() and Path(name + _IDX).is_file():
        corpus = _open_megatron(name)
    else:
        raise DataError(
            "missing-corpus",
            "there is no corpus of this name",
            at=Location.of(name),
            fix="name the files without their endings _ids.npy and _idx.npz (or .bin and .idx)",
        )
    total = int(corpus.lens.sum(dtype=np.int64))
    if total != len(corpus.ids):
        raise _broken(name, "the sentences have {total} tokens, the ids are {ids}", total=total, ids=len(corpus.ids))
    docs, sentences = corpus.docs, len(corpus.lens)
    if not len(docs) or docs[0] != 0 or docs[-1] != sentences or (docs[1:] < docs[:-1]).any():
        raise _broken(name, "the ends of the documents do not fit the {sentences} sentences", sentences=sentences)
    if sentences and int(corpus.lens.min()) < 0:
        raise _broken(name, "a sentence has a negative length")
    return corpus


def _broken(prefix: str, message: str, **values: object) -> DataError:
    return DataError("broken-corpus", message, at=Location.of(prefix), fix="build the corpus again", **values)


def find_corpora(path: Path) -> list[str]:
    """Prefixes of the corpora in a folder, sorted; or the path itself if it is no folder with corpora."""
    found = {str(file).removesuffix(IDS) for file in path.glob(f"*{IDS}")}
    found |= {str(file).removesuffix(_IDX) for file in path.glob(f"*{_IDX}")}
    return sorted(found) or [str(path)]


def is_text(path: Path) -> bool:
    """Whether a path is a file or folder, and no corpus."""
    name = str(path)
    if path.is_file():
        return not name.endswith((IDS, INDEX, _BIN, _IDX))
    return path.is_dir() and find_corpora(path) == [name]


def _open_paddlenlp(prefix: str) -> Corpus:
    files = (Path(prefix + IDS), Path(prefix + INDEX))
    try:
        ids = np.load(files[0], mmap_mode="r", allow_pickle=False)
        index = {name: _map_member(files[1], name) for name in ("lens", "docs")}
    except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise _broken(prefix, "a file cannot be read: {reason}", reason=str(error)) from error
    lens, docs = index["lens"], index["docs"]
    if lens is None:
        raise _broken(prefix, "{name} has no array 'lens'", name=files[1].name)
    if docs is None:
        docs = np.arange(len(lens) + 1)
    for array in (ids, lens, docs):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise _broken(prefix, "an array is not a list of integers")
    return Corpus(prefix, ids, lens, docs, files)


def _map_member(path: Path, name: str) -> np.ndarray | None:
    """An array of an `.npz` file, memory-mapped unless it is compressed; None if there is none of that name."""
    with zipfile.ZipFile(path) as archive:
        try:
            member = archive.getinfo(f"{name}.npy")
        except KeyError:
            return None
        if member.compress_type != zipfile.ZIP_STORED:
            with np.load(path, allow_pickle=False) as loaded:
                array: np.ndarray = loaded[name]
                return array
    with path.open("rb") as handle:
        handle.seek(member.header_offset)
        local = handle.read(30)
        # A local header ends with the lengths of the name and of the extra field that stand between it and the data.
        handle.seek(sum(struct.unpack("<HH", local[26:30])), os.SEEK_CUR)
        version = npy.read_magic(handle)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read_header(handle)
        if dtype.hasobject or (fortran_order and len(shape) > 1):
            raise ValueError(f"{name} is not a plain array")
        return map_array(path, dtype, shape, handle.tell())


def map_array(path: Path, dtype: np.dtype | str, shape: tuple[int, ...], offset: int) -> np.ndarray:
    """A memory-mapped array, which may be empty."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape)


def _open_megatron(prefix: str) -> Corpus:
    files = (Path(prefix + _BIN), Path(prefix + _IDX))
    with files[1].open("rb") as handle:
        head = handle.read(34)
    if len(head) < 34 or head[:9] != _MEGATRON:
        raise _broken(prefix, "{name} is not an index of Megatron's memory-mapped format", name=files[1].name)
    version, code, sentences, boundaries = struct.unpack("<QBQQ", head[9:])
    dtype = _MEGATRON_TYPES.get(code)
    if version != 1 or dtype is None:
        raise _broken(prefix, "version {version} with type {code} is not supported", version=version, code=code)
    if files[1].stat().st_size < 34 + 12 * sentences + 8 * boundaries:
        raise _broken(prefix, "{name} is cut short", name=files[1].name)
    lens = map_array(files[1], "<i4", (sentences,), 34)
    pointers = map_array(files[1], "<i8", (sentences,), 34 + 4 * sentences)
    docs = map_array(files[1], "<i8", (boundaries,), 34 + 12 * sentences)
    width = np.dtype(dtype).itemsize
    if sentences and (pointers[0] != 0 or ((pointers[1:] - pointers[:-1]) != lens[:-1].astype(np.int64) * width).any()):
        raise _broken(prefix, "the sentences do not follow each other")
    ids = map_array(files[0], dtype, (files[0].stat().st_size // width,), 0)
    return Corpus(prefix, ids, lens, docs, files)


def _write_header(handle: BinaryIO, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """Write the header that `np.save` writes."""
    npy.write_array_header_1_0(handle, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    if handle.tell() != _HEADER:
        raise AssertionError(f"a .npy header of {handle.tell()} bytes")


class ArrayWriter:
    """A `.npy` file that grows row by row, in constant memory.

    Args:
        path: the file; it is a valid array only after `close`.
        dtype: of the array.
        columns: length of the second axis, or None if there is only one.
        rows: rows that are already there and stay; what is behind them is cut off.
    """

    def __init__(self, path: Path, dtype: np.dtype, columns: int | None = None, rows: int = 0) -> None:
        self.rows = rows
        self._columns, self._dtype = columns, dtype
        self._width = dtype.itemsize * (columns or 1)
        self._handle = path.open("r+b" if rows else "w+b")
        self._handle.truncate(_HEADER + rows * self._width)
        self._handle.seek(0, os.SEEK_END)

    def append(self, rows: np.ndarray) -> None:
        """Add rows [N] or [N, columns]."""
        self._handle.write(np.ascontiguousarray(rows, self._dtype).data)
        self.rows += len(rows)

    def append_file(self, path: Path) -> None:
        """Add rows from a file that holds nothing but their bytes."""
        self.rows += path.stat().st_size // self._width
        with path.open("rb") as source:
            shutil.copyfileobj(source, self._handle, 1 << 20)

    def sync(self) -> None:
        """See to it that all rows are on the disk."""
        self._handle.flush()
        os.fsync(self._handle.fileno())

    def close(self, complete: bool = True) -> None:
        """Close the file; write the header if it is complete."""
        if complete:
            self._handle.seek(0)
            shape = (self.rows,) if self._columns is None else (self.rows, self._columns)
            _write_header(self._handle, self._dtype, shape)
            self.sync()
        self._handle.close()


@contextmanager
def array_writer(path: Path, dtype: np.dtype, columns: int | None = None) -> Iterator[ArrayWriter]:
    """Write a `.npy` file in pieces; it appears under its name when all of it is written."""
    with atomic_file(path) as partial:
        writer = ArrayWriter(partial, dtype, columns)
        try:
            yield writer
        except BaseException:
            writer.close(complete=False)
            raise
        writer.close()


def write_index(prefix: str, lens: np.ndarray, docs: np.ndarray) -> None:
    """Write `PREFIX_idx.npz`; the same arrays always give the same bytes."""
    with atomic_file(Path(prefix + INDEX)) as partial, partial.open("wb") as handle:
        np.savez(handle, lens=np.asarray(lens, np.int32), docs=np.asarray(docs, np.int64))


def id_type(vocab_size: int) -> np.dtype:
    """Type of the ids: 16 bits if all ids fit into them."""
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<i4")
