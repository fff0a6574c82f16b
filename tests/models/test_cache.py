"""The cache on the device against a list of separate rows."""

from __future__ import annotations

import numpy as np
import paddle
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.models.cache import BLOCK, DecodingCache

HEADS, DIM = [3, 2], 4

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("rows"), st.lists(st.integers(1, 90), min_size=1, max_size=4)),
        st.tuples(st.just("tokens"), st.integers(1, 40)),
        st.tuples(st.just("select"), st.lists(st.integers(0, 100), max_size=8)),
    ),
    max_size=7,
)
Row = tuple[list[np.ndarray], np.ndarray]  # keys [A, length, d] of each layer, visible [length]


@given(OPERATIONS, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_rows_keep_their_tokens(operations: list[tuple], seed: int) -> None:
    rng = np.random.default_rng(seed)
    cache = DecodingCache(HEADS, DIM)
    rows: list[Row] = []

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    def add_rows(lengths: list[int]) -> None:
        width = max(lengths)
        keys = [numbers(len(lengths), heads, width, DIM) for heads in HEADS]
        visible = rng.random((len(lengths), width)) < 0.8
        for i, length in enumerate(lengths):
            visible[i, length:] = False
            rows.append(([part[i, :, :length] for part in keys], visible[i, :length]))
        pairs = [(paddle.to_tensor(part), paddle.to_tensor(-part)) for part in keys]
        cache.add_rows(pairs, np.array(lengths), visible)

    def add_token() -> None:
        cache.open_step()
        new = [numbers(len(rows), heads, DIM) for heads in HEADS]
        rows[:] = [
            ([np.concatenate([old, part[i][:, None]], axis=1) for old, part in zip(keys, new, strict=True)],
             np.append(seen, True))
            for i, (keys, seen) in enumerate(rows)
        ]  # fmt: skip
        for layer, part in enumerate(new):
            flat = paddle.to_tensor(part.reshape(len(rows), -1))
            held, values, bias = (tensor.numpy() for tensor in cache.write(layer, flat, -flat))
            assert held.shape == (len(rows), HEADS[layer], cache.room, DIM)
            for i, (keys, seen) in enumerate(rows):
                np.testing.assert_array_equal(held[i, :, : len(seen)], keys[layer])
                np.testing.assert_array_equal(values[i, :, : len(seen)], -keys[layer])
                hidden = np.append(~seen, [True] * (cache.room - len(seen)))
                np.testing.assert_array_equal(bias[i], np.broadcast_to(hidden * -1e4, (HEADS[layer], 1, cache.room)))
            assert np.isfinite(held).all()

    for name, argument in operations:
        if name == "rows":
            add_rows(argument)
        elif name == "tokens":
            for _ in range(argument if rows else 0):
                add_token()
        else:
            chosen = np.array([i % len(rows) for i in argument] if rows else [], dtype=np.int64)
            cache.select(chosen)
            rows = [rows[i] for i in chosen]
        assert cache.rows == len(rows)
        assert cache.room % BLOCK == 0
        if rows:
            add_token()


def test_buffers_are_written_in_place_and_shrink() -> None:
    cache = DecodingCache([2], DIM)
    keys = paddle.zeros([3, 2, 100, DIM])
    cache.add_rows([(keys, keys + 1)], np.array([100, 5, 7]), np.ones((3, 100), dtype=bool))
    token = paddle.ones([3, 2 * DIM])
    cache.open_step()
    place = cache.write(0, token, token)[0].data_ptr()
    for _ in range(10):
        cache.select(np.array([1, 0, 0]))
        cache.open_step()
        assert cache.write(0, token, token)[0].data_ptr() == place
    cache.select(np.array([0, 1]))
    assert cache.room == 2 * BLOCK
    cache.select(np.array([1]))
    assert cache.room == BLOCK
