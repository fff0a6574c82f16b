"""Truncation and assembly."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.tokenizers.pieces import Frame, Pieces, assemble, longest_first, ranges

sizes = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=8)


@given(sizes, st.integers(0, 26))
def test_longest_first_removes_one_token_at_a_time(pairs: list[tuple[int, int]], room: int) -> None:
    expected = []
    for first, second in pairs:
        while first + second > room:
            if first > second:
                first -= 1
            else:
                second -= 1
        expected.append((first, second))
    kept = longest_first(*np.array(pairs, np.int64).T, room)
    assert list(zip(*(part.tolist() for part in kept), strict=True)) == expected


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=6))
def test_ranges(spans: list[tuple[int, int]]) -> None:
    starts = np.array([start for start, _ in spans], np.int64)
    counts = np.array([count for _, count in spans], np.int64)
    assert ranges(starts, counts).tolist() == [start + i for start, count in spans for i in range(count)]


def _pieces(*texts: list[int]) -> Pieces:
    return Pieces.of(texts, [np.array([[i, i + 1] for i in range(len(text))]).reshape(-1, 2) for text in texts])


def test_assemble_pairs() -> None:
    first, second = _pieces([10, 11, 12], []), _pieces([20, 21], [22])
    (one, two), source = assemble(first, second, Frame([1], [2, 2], [2]), max_length=8)
    assert one.ids.tolist() == [1, 10, 11, 2, 2, 20, 21, 2]
    assert one.type_ids.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert one.offsets.tolist() == [[0, 0], [0, 1], [1, 2], [0, 0], [0, 0], [0, 1], [1, 2], [0, 0]]
    assert two.ids.tolist() == [1, 2, 2, 22, 2]
    assert two.sequence_ids.tolist() == [-1, -1, -1, 1, -1]
    assert source.tolist() == [-1, 0, 1, -1, -1, 3, 4, -1, -1, -1, -1, 5, -1]
