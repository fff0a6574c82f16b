import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.data.batching import epoch_batches, pad, plan_batches, unpad
from zoo_cli.data.dataset import FeatureStore

LENGTHS = st.lists(st.integers(0, 60), max_size=200)
LIMITS = st.one_of(
    st.tuples(st.integers(1, 9), st.none()),
    st.tuples(st.none(), st.integers(1, 200)),
    st.tuples(st.integers(1, 9), st.integers(1, 200)),
)


def _feature(length, seed=0, label=1.5):
    generator = np.random.default_rng(seed)
    return {
        "input_ids": generator.integers(1, 40_000, length),
        "scores": generator.normal(size=length).astype(np.float32),
        "grid": generator.integers(1, 5, (2, length, length)),
        "label": np.float64(label),
        "classes": np.asarray([0.0, 1.0, 0.0]),
    }


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.integers(1, 8), st.booleans())
def test_unpad_gives_back_what_pad_was_given(lengths, multiple_of, left):
    features = [_feature(length, seed) for seed, length in enumerate(lengths)]
    batch = pad(features, {"input_ids": 7}, multiple_of, square={"grid"}, fixed={"classes"}, left=left)
    width = batch["input_ids"].shape[1]
    assert width % multiple_of == 0 and width - max(lengths) < multiple_of
    assert batch["grid"].shape == (len(lengths), 2, width, width)
    assert batch["classes"].shape == (len(lengths), 3) and batch["label"].shape == (len(lengths),)
    assert batch["input_ids"].dtype == np.int64
    assert {batch[name].dtype for name in ("scores", "label", "classes")} == {np.dtype(np.float32)}
    rows = unpad(batch, lengths, {"input_ids", "scores"}, square={"grid"}, left=left)
    for row, feature in zip(rows, features, strict=True):
        for name in ("input_ids", "scores", "grid", "classes"):
            np.testing.assert_array_equal(row[name], feature[name])


@pytest.mark.parametrize("left", [False, True])
def test_padding_has_the_asked_value_on_the_asked_side(left):
    batch = pad([{"a": np.array([1, 2])}, {"a": np.array([3])}], {"a": -100}, left=left)
    assert batch["a"].tolist() == ([[1, 2], [-100, 3]] if left else [[1, 2], [3, -100]])


@pytest.mark.parametrize("left", [False, True])
def test_choices_are_filled_up_on_both_axes(left):
    features = [{"a": np.ones((2, 3), np.int64)}, {"a": np.full((1, 5), 2)}]
    batch = pad(features, {"a": 9}, multiple_of=4, left=left)["a"]
    assert batch.shape == (2, 2, 8)
    length = slice(5, 8) if left else slice(3)
    assert (batch[0, :, length] == 1).all() and (batch[0] == 9).sum() == 10
    assert (batch[1, 0] == 2).sum() == 5 and (batch[1, 1] == 9).all()


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 60)), max_size=60), st.integers(1, 300))
def test_budgets_count_all_choices(shapes, batch_tokens):
    for batches in (plan_batches(shapes, batch_tokens=batch_tokens), epoch_batches(shapes, 0, 0, None, batch_tokens)):
        assert sorted(index for batch in batches for index in batch) == list(range(len(shapes)))
        for batch in batches:
            padded = np.array([shapes[index] for index in batch]).max(axis=0).prod() * len(batch)
            assert len(batch) == 1 or padded <= batch_tokens


def test_batches_need_features_of_one_kind():
    with pytest.raises(ValueError, match="at least one"):
        pad([])
    with pytest.raises(ValueError, match="names"):
        pad([{"a": np.array([1])}, {"b": np.array([1])}])
    with pytest.raises(ValueError, match="batch_size"):
        plan_batches([1, 2])
    with pytest.raises(ValueError, match="at least 1"):
        epoch_batches([1, 2], 0, 0, batch_size=0)


def _within(batch, lengths, batch_size, batch_tokens):
    assert len(batch) >= 1
    if batch_size is not None:
        assert len(batch) <= batch_size
    if batch_tokens is not None and len(batch) > 1:
        assert max(lengths[index] for index in batch) * len(batch) <= batch_tokens


@given(LENGTHS, LIMITS)
def test_planned_batches_hold_each_index_once_and_keep_the_limits(lengths, limits):
    batches = plan_batches(lengths, *limits)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        _within(batch, lengths, *limits)
    widths = [lengths[index] for batch in batches for index in batch]
    assert widths == sorted(widths, reverse=True)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=7), st.integers(1, 200))
def test_no_other_cut_of_the_sorted_lengths_costs_less(lengths, batch_tokens):
    def cost(batches):
        return sum(max(batch) * len(batch) + 32 for batch in batches)

    def cuts(rows):
        for stop in range(1, len(rows) + 1):
            if stop == 1 or rows[0] * stop <= batch_tokens:
                yield from ([rows[:stop], *rest] for rest in (cuts(rows[stop:]) if rows[stop:] else [[]]))

    planned = [[lengths[index] for index in batch] for batch in plan_batches(lengths, batch_tokens=batch_tokens)]
    assert cost(planned) == min(map(cost, cuts(sorted(lengths, reverse=True))))


@settings(max_examples=60)
@given(LENGTHS, LIMITS, st.booleans(), st.integers(1, 8), st.integers(0, 3))
def test_an_epoch_holds_each_index_once_and_keeps_the_limits(lengths, limits, shuffle, bucket, epoch):
    batches = epoch_batches(lengths, 3, epoch, *limits, shuffle=shuffle, bucket=bucket)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(len(lengths)))
    for batch in batches:
        _within(batch, lengths, *limits)
    again = epoch_batches(lengths, 3, epoch, *limits, shuffle=shuffle, bucket=bucket)
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_epochs_and_seeds_differ_and_an_unshuffled_epoch_keeps_the_order():
    lengths = np.random.default_rng(0).integers(5, 50, 1000)
    orders = {tuple(np.concatenate(epoch_batches(lengths, *key, batch_size=8))) for key in [(0, 0), (0, 1), (1, 0)]}
    assert len(orders) == 3
    plain = epoch_batches(lengths, 0, 0, batch_size=8, shuffle=False)
    assert np.concatenate(plain).tolist() == list(range(1000))


def test_buckets_save_padding_and_fill_batches():
    lengths = np.random.default_rng(0).integers(5, 100, 10_000)

    def padded(bucket):
        batches = epoch_batches(lengths, 0, 0, batch_size=16, bucket=bucket)
        assert len(batches) == 625
        return sum(lengths[batch].max() * len(batch) for batch in batches)

    assert padded(64) < 1.05 * lengths.sum() < 1.5 * lengths.sum() < padded(1)


@given(st.lists(st.integers(0, 9), max_size=12))
def test_a_store_gives_features_back(lengths):
    features = [_feature(length, seed, label=seed / 3) for seed, length in enumerate(lengths)]
    store = FeatureStore(iter(features))
    assert len(store) == len(features)
    assert store.shapes().tolist() == [[length] for length in lengths]
    for stored, feature in zip(store.take(range(len(features))), features, strict=True):
        assert stored.keys() == feature.keys()
        for name, array in feature.items():
            np.testing.assert_array_equal(stored[name], np.asarray(array).astype(stored[name].dtype))
            assert stored[name].shape == np.shape(array)
        assert stored["input_ids"].dtype == np.int64 and stored["label"].dtype == np.float32


def test_a_store_is_small_and_refuses_mixed_features():
    features = [
        {"input_ids": np.arange(50) + 39_000, "attention_mask": np.ones(50, np.int64), "start": np.eye(1, 50)[0]}
        for _ in range(5000)
    ]
    store = FeatureStore(features)
    assert store.nbytes < 5000 * 50 * 6 + 5000 * 3 * 16
    with pytest.raises(ValueError, match="names"):
        FeatureStore([{"a": np.zeros(2)}, {"b": np.zeros(2)}])
    with pytest.raises(ValueError, match="axes"):
        FeatureStore([{"a": np.zeros(2)}, {"a": np.zeros((2, 2))}])
    with pytest.raises(IndexError):
        store[5000]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.5, 300.0, 2.0**40])
def test_a_store_keeps_unusual_floats(value):
    stored = FeatureStore([{"a": np.array([1.0, value])}])[0]["a"]
    np.testing.assert_array_equal(stored, np.array([1.0, value], np.float32))


@pytest.mark.parametrize("value", [-129, 40_000, 250_001, 2**40])
def test_a_store_keeps_large_integers(value):
    assert FeatureStore([{"a": np.array([1, value])}])[0]["a"].tolist() == [1, value]
