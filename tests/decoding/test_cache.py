from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.decoding.cache import KeyValueCache

LAYERS, HEADS, DIM = 2, 3, 4

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.lists(st.integers(1, 90), min_size=1, max_size=5)),
        st.tuples(st.just("tokens"), st.integers(1, 70)),
        st.tuples(st.just("select"), st.lists(st.integers(0, 100), max_size=12)),
    ),
    max_size=8,
)


@given(OPERATIONS, st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_rows_keep_their_tokens(operations: list[tuple], seed: int) -> None:
    """Against a list of separate rows."""
    rng = np.random.default_rng(seed)
    cache = KeyValueCache(LAYERS, HEADS, DIM)
    rows: list[tuple[np.ndarray, np.ndarray]] = []  # keys [layers, heads, length, dim], visible [length]

    def numbers(count: int, width: int) -> np.ndarray:
        return rng.normal(size=(LAYERS, count, HEADS, width, DIM)).astype(np.float32)

    for name, argument in operations:
        if name == "rows":
            width = max(argument)
            keys = numbers(len(argument), width)
            visible = rng.random((len(argument), width)) < 0.8
            for i, length in enumerate(argument):
                visible[i, length - 1] = True
                visible[i, length:] = False
                rows.append((keys[:, i, :, :length], visible[i, :length]))
            cache.add_rows(keys, -keys, visible)
        elif name == "tokens":
            for _ in range(argument):
                keys = numbers(len(rows), 1)
                cache.add_tokens(keys, -keys)
                rows = [
                    (np.concatenate([old, keys[:, i]], axis=2), np.append(seen, True))
                    for i, (old, seen) in enumerate(rows)
                ]
        else:
            chosen = np.array([i % len(rows) for i in argument] if rows else [], dtype=np.int64)
            cache.select(chosen)
            rows = [rows[i] for i in chosen]
        assert len(cache) == len(rows)
        mask = cache.mask()
        for i, (keys, seen) in enumerate(rows):
            length = len(seen)
            assert cache.lengths[i] == length
            np.testing.assert_array_equal(mask[i], [*seen, *[False] * (mask.shape[1] - 1 - length), True])
            for layer in range(LAYERS):
                held, values = cache.layer(layer)
                np.testing.assert_array_equal(held[i, :, :length], keys[layer])
                np.testing.assert_array_equal(values[i, :, :length], -keys[layer])


def test_a_layer_is_contiguous_and_room_is_given_back() -> None:
    cache = KeyValueCache(LAYERS, HEADS, DIM)
    keys = np.zeros((LAYERS, 5, HEADS, 1000, DIM), dtype=np.float32)
    cache.add_rows(keys, keys, np.ones((5, 1000), dtype=bool))
    assert cache.layer(1)[0].flags.c_contiguous
    assert cache.layer(1)[0].shape[2] == 1024
    cache.select(np.zeros(0, dtype=np.int64))
    cache.add_rows(keys[:, :1, :, :3], keys[:, :1, :, :3], np.ones((1, 3), dtype=bool))
    assert cache.layer(1)[0].shape == (1, HEADS, 64, DIM)


def test_the_last_of_many_rows_survives_alone() -> None:
    cache = KeyValueCache(LAYERS, HEADS, DIM)
    keys = np.arange(LAYERS * 40 * HEADS * DIM, dtype=np.float32).reshape(LAYERS, 40, HEADS, 1, DIM)
    cache.add_rows(keys, -keys, np.ones((40, 1), dtype=bool))
    cache.select(np.array([39]))
    np.testing.assert_array_equal(cache.layer(1)[0][:, :, :1], keys[1, 39:])


def test_buffers_are_not_replaced_at_each_token() -> None:
    cache = KeyValueCache(LAYERS, HEADS, DIM)
    keys = np.zeros((LAYERS, 4, HEADS, 1, DIM), dtype=np.float32)
    cache.add_rows(keys, keys, np.ones((4, 1), dtype=bool))
    before = cache.layer(0)[0]
    for _ in range(50):
        cache.add_tokens(keys, keys)
        cache.select(np.array([1, 0, 3, 3]))
    assert np.shares_memory(before, cache.layer(0)[0])
