import json
import os
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.readers import read
from zoo_cli.data.splits import allot, assign, split_file


@given(st.integers(0, 10_000), st.lists(st.integers(1, 100), min_size=1, max_size=6))
def test_shares_lose_no_row_and_miss_their_due_by_less_than_one(count, weights):
    shares = [weight / sum(weights) for weight in weights]
    sizes = allot(count, shares)
    assert sum(sizes) == count
    for size, weight in zip(sizes, weights, strict=True):
        assert abs(size - Fraction(weight * count, sum(weights))) < 1 + 1e-6


@pytest.mark.parametrize(
    ("count", "sizes", "rows"),
    [
        (10, [0.8, 0.1, 0.1], [8, 1, 1]),
        (9, [0.8, 0.1, 0.1], [7, 1, 1]),
        (11, [0.8, 0.1, 0.1], [9, 1, 1]),
        (5, [0.5, 0.5], [3, 2]),
        (7, [None, 2], [5, 2]),
        (7, [5, 2], [5, 2]),
        (0, [0.8, 0.2], [0, 0]),
        (7, [1.0, 0], [7, 0]),
    ],
)
def test_sizes(count, sizes, rows):
    assert allot(count, sizes) == rows


@pytest.mark.parametrize("sizes", [[], [0.8, 0.1], [-1, 8], [5, 1], [5, 3], [None, None, 1], [0.5, None], [9, None]])
def test_sizes_that_do_not_add_up_are_refused(sizes):
    with pytest.raises(UsageError) as caught:
        allot(7, sizes)
    assert caught.value.code == "bad-split" and str(caught.value)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 5), st.booleans(), st.data())
def test_each_row_is_in_one_part(sizes, seed, stratify, data):
    count = sum(sizes)
    labels = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count)) if stratify else None
    parts = assign(sizes, seed, labels)
    assert [len(part) for part in parts] == sizes
    assert sorted(row for part in parts for row in part) == list(range(count))
    assert assign(sizes, seed, labels) == parts


def test_rows_are_those_of_paddlenlp_and_depend_on_the_seed():
    expected = np.random.RandomState(1000).permutation(50)
    train, dev, test = assign([40, 5, 5], 1000)
    assert (train, dev, test) == (sorted(expected[:40]), sorted(expected[40:45]), sorted(expected[45:]))
    assert assign([40, 5, 5], 1) != [train, dev, test]


def test_labels_are_shared_out_evenly():
    labels = ["a"] * 100 + ["b"] * 50 + ["c"] * 10
    for part, share in zip(assign([80, 40, 40], 7, labels), (0.5, 0.25, 0.25), strict=True):
        found = Counter(labels[row] for row in part)
        for label, count in Counter(labels).items():
            assert abs(found[label] - share * count) <= 2


def _split(tmp_path, content, format, parts, **keywords):
    source = tmp_path / "all.data"
    source.write_bytes(content)
    counts = split_file(source, format, tmp_path / "parts", parts, **keywords)
    return counts, {name: (tmp_path / "parts" / f"{name}.data").read_bytes() for name in parts}


ROWS = st.lists(st.text(st.sampled_from('a甲"\u3000\u2028 '), min_size=1, max_size=5), min_size=1, max_size=25)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(0, 9))
def test_lines_are_copied_byte_for_byte(tmp_path, texts, ending, closed, seed):
    lines = [f"{text}\t{index}".encode() for index, text in enumerate(texts)]
    content = ending.join(lines) + (ending if closed else b"")
    options = {"columns": {"text": 0, "label": 1}}
    parts = {"train": 0.6, "dev": 0.4}
    counts, files = _split(tmp_path, content, "tsv", parts, seed=seed, options=options)
    assert sum(counts.values()) == len(lines)
    found = [line for data in files.values() for line in data.split(b"\n")]
    assert sorted(line.removesuffix(b"\r") for line in found if line) == sorted(lines)
    index = json.loads((tmp_path / "parts" / "sample_index.json").read_text())
    assert [lines[row] for row in index["dev_ids"]] == files["dev"].replace(b"\r\n", b"\n").split(b"\n")[:-1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from("甲乙a "), min_size=1, max_size=4), min_size=1, max_size=12),
    st.integers(1, 3),
    st.integers(0, 1),
    st.integers(0, 9),
)
def test_sentences_stay_whole(tmp_path, sentences, gap, closed, seed):
    blocks = ["".join(f"{token}\tO\n" for token in sentence) for sentence in sentences]
    content = ("\n" * gap).join(blocks) if closed else ("\n" * gap).join(blocks)[:-1]
    _, files = _split(tmp_path, content.encode(), "bio", {"a": 0.5, "b": 0.3, "c": 0.2}, seed=seed)
    found = []
    for name, data in files.items():
        if data:
            found += [example.tokens for example in read(tmp_path / "parts" / f"{name}.data", "bio")]
    assert sorted(found) == sorted(sentences)


def test_headers_go_to_every_part_and_records_may_span_lines(tmp_path):
    content = '\ufefftext,label\n"a\nb",x\nc,y\n\n"d\n\ne",x\nf,y'.encode()
    counts, files = _split(tmp_path, content, "csv", {"train": 2, "dev": None}, stratify=True)
    assert counts == {"train": 2, "dev": 2}
    texts = []
    for name, data in files.items():
        assert data.startswith(b"text,label\n")
        part = list(read(tmp_path / "parts" / f"{name}.data", "csv"))
        assert {example.label for example in part} == {"x", "y"}
        texts += [example.text for example in part]
    assert sorted(texts) == ["a\nb", "c", "d\n\ne", "f"]


def test_json_lists_are_split_by_item(tmp_path):
    items = [{"id": number, "data": {"text": f"第{number}"}, "extra": [number]} for number in range(5)]
    _, files = _split(tmp_path, json.dumps(items).encode(), "label_studio", {"train": 0.6, "dev": 0.4})
    found = [item for data in files.values() for item in json.loads(data)]
    assert sorted(found, key=lambda item: item["id"]) == items


def test_wrong_requests_write_nothing(tmp_path):
    source = tmp_path / "train.tsv"
    source.write_text("a\tb\n")
    options = {"columns": {"text": 0, "label": 1}}
    with pytest.raises(UsageError, match="overwrite"):
        split_file(source, "tsv", tmp_path, {"train": 1}, options=options)
    with pytest.raises(UsageError, match="no class"):
        split_file(source, "bio", tmp_path / "out", {"x": 1}, stratify=True)
    source.write_text("")
    with pytest.raises(DataError, match="no example"):
        split_file(source, "tsv", tmp_path / "out", {"x": 1.0}, options=options)
    assert not (tmp_path / "out").exists() and source.read_text() == ""


@pytest.mark.skipif("ZOO_DATA" not in os.environ, reason="ZOO_DATA names no folder of public data")
def test_public_data_are_split_without_loss(tmp_path):
    source = Path(os.environ["ZOO_DATA"]) / "msra" / "dev.txt"
    counts = split_file(source, "bio", tmp_path, {"train": 0.8, "dev": 0.1, "test": 0.1})
    assert sum(counts.values()) == 3043
    whole = Counter("".join(example.tokens) for example in read(source, "bio"))
    for name in counts:
        whole.subtract("".join(example.tokens) for example in read(tmp_path / f"{name}.txt", "bio"))
    assert not any(whole.values())
