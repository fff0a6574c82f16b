"""Keys and values of a running batch in buffers allocated ahead, for back ends whose tensors are numpy arrays."""

from __future__ import annotations

import numpy as np

_BLOCK = 64


class KeyValueCache:
    """A buffer for the keys and one for the values of each layer, with room for more rows and tokens than there are.

    A row's tokens lie at its positions 0, 1, ...; what lies behind them is hidden by `mask`. So rows of any lengths
    share the buffers without left padding, and each buffer is one contiguous block, read without copying. Buffers are
    replaced one at a time, so that there is never a second copy of the whole.

    Args:
        layers: number of layers.
        heads: attention heads.
        head_dim: size of one head.
        dtype: of keys and values.
    """

    def __init__(self, layers: int, heads: int, head_dim: int, dtype: np.dtype | type = np.float32) -> None:
        self._keys = [np.zeros((0, heads, 0, head_dim), dtype=dtype) for _ in range(layers)]
        self._values = [np.zeros((0, heads, 0, head_dim), dtype=dtype) for _ in range(layers)]
        self._visible = np.zeros((0, 0), dtype=bool)
        self._lengths = np.zeros(0, dtype=np.int64)

    def __len__(self) -> int:
        """Rows in the batch."""
        return len(self._lengths)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, int64 [n]."""
        return self._lengths

    def layer(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of one layer: views [n, heads, room, head_dim]; room is at least the longest row."""
        return self._keys[index][: len(self)], self._values[index][: len(self)]

    def mask(self) -> np.ndarray:
        """What the next token of each row sees: int64 [n, room + 1], the last column being that token itself."""
        seen = np.ones((len(self), self._visible.shape[1] + 1), dtype=np.int64)
        seen[:, :-1] = self._visible[: len(self)]
        return seen

    def add_rows(self, keys: np.ndarray, values: np.ndarray, visible: np.ndarray) -> None:
        """Add rows behind the present ones.

        Args:
            keys: [layers, m, heads, S, head_dim].
            values: the same shape.
            visible: bool [m, S]: what the next token sees; a row ends at its last true value.
        """
        count, width = visible.shape
        lengths = width - np.argmax(visible[:, ::-1], axis=1)
        start, longest = len(self), int(lengths.max(initial=0))
        self._lengths = np.concatenate([self._lengths, lengths])
        self._fit(len(self))
        rows = slice(start, start + count)
        for buffers, new in ((self._keys, keys), (self._values, values)):
            for buffer, own in zip(buffers, new, strict=True):
                buffer[rows, :, :longest] = own[:, :, :longest]
        self._visible[rows] = False
        self._visible[rows, :longest] = visible[:, :longest]

    def add_tokens(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Add one token to each row; keys and values [layers, n, heads, 1, head_dim]."""
        self._lengths = self._lengths + 1
        self._fit(len(self))
        rows, places = np.arange(len(self)), self._lengths - 1
        for buffers, new in ((self._keys, keys), (self._values, values)):
            for buffer, own in zip(buffers, new, strict=True):
                buffer[rows, :, places] = own[:, :, 0]
        self._visible[rows, places] = True

    def select(self, rows: np.ndarray) -> None:
        """Replace the batch by these of its rows, int64 [m]: reordered, repeated, dropped."""
        present = len(self)
        self._lengths = self._lengths[rows]
        self._fit(max(len(rows), present))
        moved = np.flatnonzero(rows != np.arange(len(rows)))
        used = int(self._lengths.max(initial=0))
        for buffer in (*self._keys, *self._values):
            buffer[moved, :, :used] = buffer[rows[moved], :, :used]
        self._visible[moved] = self._visible[rows[moved]]

    def _fit(self, rows: int) -> None:
        """Make room for so many rows and the longest one; give room back when little of it is used."""
        length = int(self._lengths.max(initial=0))
        held_rows, held_length = self._visible.shape
        new_rows = _room(rows, held_rows, 8)
        new_length = _room(length, held_length, _BLOCK)
        if (new_rows, new_length) == (held_rows, held_length):
            return
        kept_rows, kept_length = min(new_rows, held_rows), min(new_length, held_length)
        for buffers in (self._keys, self._values):
            for index, old in enumerate(buffers):
                new = np.zeros((new_rows, old.shape[1], new_length, old.shape[3]), dtype=old.dtype)
                new[:kept_rows, :, :kept_length] = old[:kept_rows, :, :kept_length]
                buffers[index] = new
        visible = np.zeros((new_rows, new_length), dtype=bool)
        visible[:kept_rows, :kept_length] = self._visible[:kept_rows, :kept_length]
        self._visible = visible


def _room(needed: int, held: int, block: int) -> int:
    """What to hold: the present size while it fits and a quarter of it is used, else the next multiple of the block."""
    fitting = -(-needed // block) * block
    return held if fitting <= held <= 4 * max(fitting, block) else fitting
