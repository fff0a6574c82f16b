"""Pairing of starts and ends, windows, and merging, without a model."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.tasks.extraction.postprocess import merge_windows, pair, vote
from zoo_cli.tasks.extraction.preprocess import covering_tokens, overlapping_windows, training_windows

Spans = list[tuple[int, int]]


def marks(length: int, places: list[int]) -> np.ndarray:
    values = np.zeros(length, np.float32)
    values[places] = 0.9
    return values


def spans_of(pairs: object) -> Spans:
    return list(zip(pairs.first.tolist(), pairs.last.tolist(), strict=True))  # type: ignore[attr-defined]


def two_pointers(starts: list[int], ends: list[int]) -> Spans:
    """The rule as the published pipeline words it: walk both sorted lists at once."""
    found: dict[int, int] = {}
    start, end = 0, 0
    while start < len(starts) and end < len(ends):
        if starts[start] <= ends[end]:
            found[ends[end]] = starts[start]
            if starts[start] == ends[end]:
                end += 1
            start += 1
        else:
            end += 1
    return [(begin, stop) for stop, begin in found.items()]


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_pairing_is_that_of_two_pointers(tokens: list[tuple[bool, bool]]) -> None:
    starts = [index for index, (start, _) in enumerate(tokens) if start]
    ends = [index for index, (_, end) in enumerate(tokens) if end]
    pairs = pair(marks(len(tokens), starts), marks(len(tokens), ends), 0.5)
    assert spans_of(pairs) == sorted(two_pointers(starts, ends))


@pytest.mark.parametrize(
    ("starts", "ends", "expected"),
    [
        ([1, 3], [4], [(3, 4)]),
        ([1], [2, 5], [(1, 2)]),
        ([2], [2], [(2, 2)]),
        ([3], [1], []),
        ([0, 4], [2, 4], [(0, 2), (4, 4)]),
        ([], [1], []),
    ],
)
def test_pairing_examples(starts: list[int], ends: list[int], expected: Spans) -> None:
    assert spans_of(pair(marks(6, starts), marks(6, ends), 0.5)) == expected


def test_probability_is_the_product_and_the_limit_is_exclusive() -> None:
    pairs = pair(np.float32([0.6, 0.5, 0.7]), np.float32([0.5, 0.8, 0.9]), 0.5)
    assert spans_of(pairs) == [(0, 1), (2, 2)]
    assert pairs.probability == pytest.approx([0.48, 0.63])
    # The nearest float32 to 0.3 is greater than 0.3, and PaddleNLP compares in double precision.
    third = np.float32([0.3])
    assert spans_of(pair(third, third, 0.3)) == [(0, 0)]


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 600), st.integers(0, 200), st.data())
def test_windows_hold_every_span_up_to_the_overlap(length: int, room: int, overlap: int, data: st.DataObject) -> None:
    windows = overlapping_windows(length, room, overlap)
    assert windows[0][0] == 0 and windows[-1][1] == length
    assert all(0 < end - start <= room for start, end in windows)
    assert all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(windows))
    size = data.draw(st.integers(1, max(1, min(overlap, room // 2, length))))
    first = data.draw(st.integers(0, length - size))
    assert any(start <= first and first + size <= end for start, end in windows)


def test_windows_are_no_more_and_no_longer_than_needed() -> None:
    assert overlapping_windows(100, 100, 64) == [(0, 100)]
    assert overlapping_windows(101, 100, 20) == [(0, 61), (41, 101)]
    assert overlapping_windows(0, 10, 4) == [(0, 0)]


@settings(deadline=None)
@given(st.integers(1, 400), st.integers(1, 60), st.lists(st.tuples(st.integers(0, 399), st.integers(0, 80))))
def test_training_windows_cut_no_span_that_fits(length: int, room: int, drawn: Spans) -> None:
    spans = [(first, min(first + size, length - 1)) for first, size in drawn if first < length]
    windows = training_windows(length, room, spans)
    assert [start for start, _ in windows] == [0, *(end for _, end in windows[:-1])] and windows[-1][1] == length
    assert all(0 < end - start <= room for start, end in windows)
    # Spans that chain into something longer than a window cannot all be kept whole.
    chained = any(
        first < other <= last for first, last in spans for other, far in spans if far > last and far - first >= room
    )
    if not chained and all(last - first < room for first, last in spans):
        nested_or_apart = all(not (first < other <= last < far) for first, last in spans for other, far in spans)
        if nested_or_apart:
            assert all(any(start <= first and last < end for start, end in windows) for first, last in spans)


def test_training_border_moves_to_the_start_of_a_span() -> None:
    assert training_windows(20, 10, [(8, 12)]) == [(0, 8), (8, 18), (18, 20)]
    assert training_windows(20, 10, [(8, 12), (6, 9)]) == [(0, 6), (6, 16), (16, 20)]
    assert training_windows(20, 10, [(0, 15)]) == [(0, 10), (10, 20)]


def read_windows(length: int, windows: Spans, gold: Spans) -> Spans:
    """What is found when each window marks the gold spans that lie whole in it."""
    starts, ends = [], []
    for begin, stop in windows:
        inside = [(a - begin, b - begin) for a, b in gold if begin <= a and b < stop]
        starts.append(marks(stop - begin, [a for a, _ in inside]))
        ends.append(marks(stop - begin, [b for _, b in inside]))
    return spans_of(merge_windows(windows, starts, ends, 0.5))


@settings(deadline=None)
@given(st.integers(1, 200), st.integers(2, 60), st.integers(0, 40), st.data())
def test_merging_finds_every_span_up_to_the_overlap_once(
    length: int, room: int, overlap: int, data: st.DataObject
) -> None:
    gold, place = [], 0
    while place < length:
        place += data.draw(st.integers(0, 20))
        last = place + data.draw(st.integers(1, max(1, min(overlap, room // 2)))) - 1
        if last < length:
            gold.append((place, last))
        place = last + 1
    windows = overlapping_windows(length, room, overlap)
    if overlap or len(windows) == 1:
        assert read_windows(length, windows, gold) == gold


def test_merging_drops_torn_pieces_and_keeps_long_spans() -> None:
    windows = [(0, 10), (6, 16), (12, 22)]
    # Every position is marked in every window that has it: the first window sees an entity end at its border.
    starts = [marks(10, [8]), marks(10, [2]), marks(10, [])]
    ends = [marks(10, [9]), marks(10, [5]), marks(10, [])]
    assert spans_of(merge_windows(windows, starts, ends, 0.5)) == [(8, 11)]
    # 5 to 17 lies whole in no window: its start is seen by the first one only, its end by the last one only.
    starts, ends = [marks(10, [5]), marks(10, []), marks(10, [])], [marks(10, []), marks(10, []), marks(10, [5])]
    assert spans_of(merge_windows(windows, starts, ends, 0.5)) == [(5, 17)]


def test_merging_settles_overlaps_by_probability() -> None:
    windows = [(0, 10), (4, 14)]
    low, high = np.float32(0.6), np.float32(0.9)
    starts, ends = [marks(10, []), marks(10, [])], [marks(10, []), marks(10, [])]
    starts[0][4], ends[0][6] = low, low  # 4 to 6 has more text around it in the first window
    starts[1][2], ends[1][4] = high, high  # 6 to 8 has more in the second
    merged = merge_windows(windows, starts, ends, 0.5)
    assert spans_of(merged) == [(6, 8)]
    assert merged.probability == pytest.approx([0.81])


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=1, max_size=40))
def test_one_window_is_plain_pairing(tokens: list[tuple[float, float]]) -> None:
    starts, ends = (np.float32(column) for column in zip(*tokens, strict=True))
    merged, plain = merge_windows([(0, len(tokens))], [starts], [ends], 0.5), pair(starts, ends, 0.5)
    assert spans_of(merged) == spans_of(plain)
    assert merged.probability.tolist() == plain.probability.tolist()


def test_votes() -> None:
    assert vote([]) == []
    assert vote([("a", 0.9), ("b", 0.5), ("b", 0.7)]) == [{"text": "b", "probability": pytest.approx(0.6)}]
    assert vote([("a", 0.5), ("b", 0.7)]) == [{"text": "b", "probability": pytest.approx(0.7)}]


def test_covering_tokens() -> None:
    offsets = np.array([[0, 1], [1, 4], [5, 6], [6, 9]])
    assert covering_tokens(offsets, 0, 1) == (0, 0)
    assert covering_tokens(offsets, 2, 6) == (1, 2)
    assert covering_tokens(offsets, 4, 5) is None
    assert covering_tokens(offsets, 4, 7) == (2, 3)
    assert covering_tokens(offsets, 8, 9) == (3, 3)
    assert covering_tokens(offsets[:0], 0, 1) is None
