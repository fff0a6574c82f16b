"""Tensors in weight files, read when they are asked for, and then no more of them than is asked for. No paddle.

A model folder may have its weights in several files, with an index that says which tensor is where, as transformers and
PaddleNLP write them. A process that holds a part of a model reads that part of each tensor only, so that neither it nor
the others ever hold the whole.
"""

from __future__ import annotations

import json
import math
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors

from zoo_cli.base.errors import ArtifactError, Location
from zoo_cli.base.files import read_json

Part = tuple[slice, ...]
"""Which part of a tensor: a slice of each of its first axes, with start and stop."""

_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}
_BLOCK = 16 * 2**20
"""Bytes that are read at a time where only some columns are wanted."""


class StoredTensor(ABC):
    """A tensor in a file.

    Attributes:
        shape: of the whole.
    """

    shape: tuple[int, ...]

    @abstractmethod
    def read(self, part: Part = ()) -> np.ndarray:
        """The tensor, or that part of it; half precision as float32."""


def widen(value: np.ndarray) -> np.ndarray:
    """float16 and bfloat16 (which PaddlePaddle hands to numpy as uint16) as float32; other types unchanged."""
    if value.dtype == np.uint16:
        return (value.astype(np.uint32) << 16).view(np.float32)
    return value.astype(np.float32) if value.dtype in (np.float16, np.float64) else value


def read_part(value: StoredTensor | np.ndarray, part: Part = ()) -> np.ndarray:
    """A part of a tensor, be it in a file or in memory."""
    return value.read(part) if isinstance(value, StoredTensor) else value[part]


def broken(path: Path, error: Exception) -> ArtifactError:
    """The error for weights that cannot be read."""
    return ArtifactError(
        "broken-weights",
        "the weights cannot be read: {reason}",
        at=Location.of(path),
        reason=str(error) or type(error).__name__,
    )


class _InSafetensors(StoredTensor):
    """A tensor of a safetensors file: its bytes lie row by row at a known place."""

    def __init__(self, path: Path, kind: str, shape: tuple[int, ...], start: int) -> None:
        self.shape = shape
        self._path, self._type, self._start = path, np.dtype(_TYPES[kind]), start

    def read(self, part: Part = ()) -> np.ndarray:
        if not self.shape or not part:
            return widen(self._rows(0, self.shape[0] if self.shape else 1).reshape(self.shape))
        first, *others = part
        start, stop = first.start or 0, self.shape[0] if first.stop is None else first.stop
        if not others:
            return widen(self._rows(start, stop))
        row = math.prod(self.shape[1:]) * self._type.itemsize
        step = max(1, _BLOCK // max(1, row))
        pieces = [
            self._rows(at, min(stop, at + step))[(slice(None), *others)].copy() for at in range(start, stop, step)
        ]
        return widen(np.concatenate(pieces))

    def _rows(self, start: int, stop: int) -> np.ndarray:
        inner = self.shape[1:]
        count = math.prod(inner)
        with self._path.open("rb") as file:
            file.seek(self._start + start * count * self._type.itemsize)
            values = np.fromfile(file, self._type, (stop - start) * count)
        return values.reshape((stop - start, *inner))


def safetensors_tensors(path: Path) -> dict[str, StoredTensor]:
    """The tensors of a safetensors file by name; reads its header only.

    Raises:
        ArtifactError: the file is damaged (`broken-weights`).
    """
    path = Path(path)
    try:
        with safetensors.safe_open(path, framework="numpy") as file:  # checks that header and length fit each other
            names = list(file.keys())
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        entries = {name: header[name] for name in names}
        return {
            name: _InSafetensors(path, entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
            for name, entry in entries.items()
        }
    except (safetensors.SafetensorError, KeyError) as error:
        raise broken(path, error) from error


class _Pickles:
    """Pickled files, of which the one read last is kept: such a file can only be read as a whole."""

    def __init__(self, load: Callable[[Path], Mapping[str, np.ndarray]]) -> None:
        self._load = load
        self._path: Path | None = None
        self._tensors: Mapping[str, np.ndarray] = {}

    def tensors(self, path: Path) -> Mapping[str, np.ndarray]:
        if self._path != path:
            self._path, self._tensors = None, {}  # the last one goes before the next one comes
            self._path, self._tensors = path, self._load(path)
        return self._tensors


class _InPickle(StoredTensor):
    """A tensor of a pickled file."""

    def __init__(self, pickles: _Pickles, path: Path, name: str) -> None:
        self._pickles, self._path, self._name = pickles, path, name

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return self._value().shape

    def read(self, part: Part = ()) -> np.ndarray:
        return self._value()[part]

    def _value(self) -> np.ndarray:
        tensors = self._pickles.tensors(self._path)
        if self._name not in tensors:
            raise broken(self._path, ValueError(f"the index says that {self._name!r} is here, which it is not"))
        return tensors[self._name]


def pickled_tensors(
    names: Mapping[str, Path] | Path, load: Callable[[Path], Mapping[str, np.ndarray]]
) -> dict[str, StoredTensor]:
    """Tensors of pickled files, those of one file next to each other.

    Args:
        names: name -> file, or the only file.
        load: reads a file.
    """
    pickles = _Pickles(load)
    if isinstance(names, Path):
        names = dict.fromkeys(pickles.tensors(names), names)
    return {name: _InPickle(pickles, path, name) for name, path in sorted(names.items(), key=lambda item: str(item[1]))}


class Converted(StoredTensor):
    """A tensor that is made of another one by renaming, transposing or cutting.

    Args:
        source: the other one.
        shape: of the result.
        make: makes it.
    """

    def __init__(self, source: StoredTensor, shape: tuple[int, ...], make: Callable[[np.ndarray], np.ndarray]) -> None:
        self.shape = shape
        self._source, self._make = source, make

    def read(self, part: Part = ()) -> np.ndarray:
        return self._make(self._source.read())[part]


def read_index(path: Path) -> dict[str, Path]:
    """Name of each tensor -> its file, as an index file says.

    Raises:
        ArtifactError: the index is broken (`broken-index`), or a file that it names is missing (`missing-part`).
    """
    value: Any = read_json(path)
    places = value.get("weight_map") if isinstance(value, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise ArtifactError("broken-index", "the index has no weight_map of file names", at=Location.of(path))
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise ArtifactError("broken-index", "{name!r} is no file of this folder", at=Location.of(path), name=name)
        if not (path.parent / name).is_file():
            raise ArtifactError(
                "missing-part",
                "the part {name} is missing",
                at=Location.of(path.parent),
                fix="copy all parts that {index} names into the folder",
                name=name,
                index=path.name,
            )
    return {name: path.parent / place for name, place in places.items()}
