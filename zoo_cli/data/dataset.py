"""Encoded features of a whole training set in little memory, with quick access to any of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

_INTEGERS = (np.int8, np.int16, np.int32)
_CHUNK = 4096


def _compact(values: np.ndarray) -> np.ndarray:
    """The same numbers in the narrowest type that holds them exactly (0/1 float labels become one byte each)."""
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
        with np.errstate(invalid="ignore"):
            small = values.astype(np.int8)
        return small if np.array_equal(small, values) else values
    values = values.astype(np.int64)
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for integer in _INTEGERS:
        limits = np.iinfo(integer)
        if limits.min <= low and high <= limits.max:
            return values.astype(integer)
    return values


class _Column:
    """All arrays of one name, end to end."""

    def __init__(self, ndim: int) -> None:
        self.ndim = ndim
        self.dtype: type[np.float32 | np.int64] = np.int64
        self._pending: list[np.ndarray] = []
        self._parts: list[np.ndarray] = []
        self._shapes: list[tuple[int, ...]] = []
        self.values = np.empty(0, np.int8)
        self.shapes = np.empty((0, ndim), np.int32)
        self.offsets = np.zeros(1, np.int64)

    def add(self, array: np.ndarray) -> None:
        if array.dtype.kind == "f":
            self.dtype = np.float32
        self._pending.append(array.ravel())
        self._shapes.append(array.shape)
        if len(self._pending) == _CHUNK:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._parts.append(_compact(np.concatenate(self._pending)))
            self._pending = []

    def close(self) -> None:
        self._flush()
        if self._parts:
            self.values = np.concatenate(self._parts)
        self.shapes = np.asarray(self._shapes, np.int32).reshape(len(self._shapes), self.ndim)
        sizes = self.shapes.prod(axis=1, dtype=np.int64)
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        self._parts, self._shapes = [], []

    def __getitem__(self, index: int) -> np.ndarray:
        values = self.values[self.offsets[index] : self.offsets[index + 1]]
        return values.astype(self.dtype).reshape(self.shapes[index])

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.shapes.nbytes + self.offsets.nbytes


class FeatureStore:
    """Features (`zoo_cli.tasks.base.Feature`) held as one array for each name.

    A feature comes back as it went in: integers as int64, floats as float32.

    Args:
        features: features of the same names; an array of one name has the same number of axes in all of them. They
            are consumed one at a time.

    Raises:
        ValueError: features differ in names or in a name's number of axes.
    """

    def __init__(self, features: Iterable[Mapping[str, np.ndarray]]) -> None:
        columns: dict[str, _Column] = {}
        count = 0
        for feature in features:
            if not count:
                columns = {name: _Column(np.ndim(array)) for name, array in feature.items()}
            if feature.keys() != columns.keys():
                raise ValueError(f"feature {count} has the names {sorted(feature)}, the first has {sorted(columns)}")
            for name, array in feature.items():
                if np.ndim(array) != columns[name].ndim:
                    raise ValueError(f"{name} of feature {count} has another number of axes than that of the first")
                columns[name].add(np.asarray(array))
            count += 1
        for column in columns.values():
            column.close()
        self._columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        if not -self._count <= index < self._count:
            raise IndexError(index)
        index %= self._count
        return {name: column[index] for name, column in self._columns.items()}

    def take(self, indices: Iterable[int]) -> list[dict[str, np.ndarray]]:
        """The features of these indices, e.g. a batch of `zoo_cli.data.batching.epoch_batches`."""
        return [self[int(index)] for index in indices]

    def shapes(self, name: str = "input_ids") -> np.ndarray:
        """Shape of `name` in each feature, int64 [N, axes]: the `lengths` of `zoo_cli.data.batching`."""
        if not self._count:
            return np.zeros((0, 1), np.int64)
        return self._columns[name].shapes.astype(np.int64)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(column.nbytes for column in self._columns.values())
