"""Entities and their scores agree with seqeval's on random tags."""

from __future__ import annotations

import warnings
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_reference
from seqeval.scheme import IOB2, IOBES

from zoo_cli.tasks.features import cover
from zoo_cli.tasks.token_classification.tags import (
    ChunkCounts,
    canonical,
    chunks,
    complete_tags,
    make_tags,
    split_text,
)

TYPES = ["PER", "LOC", "A-B"]


def sequences(prefixes: str) -> st.SearchStrategy[list[tuple[list[str], list[str]]]]:
    tags = st.sampled_from(complete_tags(TYPES, prefixes))
    pair = st.integers(1, 12).flatmap(lambda n: st.tuples(*[st.lists(tags, min_size=n, max_size=n)] * 2))
    return st.lists(pair, min_size=1, max_size=6)


def scores(rows: list[tuple[list[str], list[str]]], strict: Any) -> dict[str, Any]:
    counts = ChunkCounts()
    for gold, predicted in rows:
        counts.add(chunks(gold, strict), chunks(predicted, strict))
    return counts.result()


def agree(result: dict[str, Any], reference: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        micro, macro, each = (reference(average=average) for average in ("micro", "macro", None))
    names = ("precision", "recall", "f1")
    assert [result[name] for name in names] == pytest.approx(micro[:3])
    if result["labels"]:
        assert [result[f"macro_{name}"] for name in names] == pytest.approx(macro[:3])
    for column, name in enumerate((*names, "support")):
        assert [row[name] for row in result["labels"].values()] == pytest.approx(list(each[column]))


@given(sequences("BIES"))
def test_entities_are_seqevals(rows: list[tuple[list[str], list[str]]]) -> None:
    for tags, _ in rows:
        assert chunks(tags) == [(label, start, last + 1) for label, start, last in get_entities(tags)]


@given(sequences("BIES"))
def test_scores_are_seqevals(rows: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    agree(scores(rows, None), lambda average: precision_recall_fscore_support(gold, predicted, average=average))


@given(sequences("BI"))
def test_strict_bio(rows: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    agree(scores(rows, "bio"), lambda average: strict_reference(gold, predicted, average=average, scheme=IOB2))


@given(sequences("BIES"))
def test_strict_bioes(rows: list[tuple[list[str], list[str]]]) -> None:
    gold, predicted = map(list, zip(*rows, strict=True))
    agree(scores(rows, "bioes"), lambda average: strict_reference(gold, predicted, average=average, scheme=IOBES))


def test_nothing_to_count() -> None:
    assert ChunkCounts().result() == {
        **dict.fromkeys(["precision", "recall", "f1", "macro_precision", "macro_recall", "macro_f1"], 0.0),
        "labels": {},
    }


@pytest.mark.parametrize(
    ("tag", "expected"), [("M-X", "I-X"), ("L-X", "E-X"), ("U-X", "S-X"), ("O", "O"), ("B-X-Y", "B-X-Y")]
)
def test_canonical(tag: str, expected: str) -> None:
    assert canonical(tag) == expected


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.sampled_from(TYPES)), max_size=4), st.booleans())
def test_tags_spell_the_entities_they_were_made_from(found: list[tuple[int, int, str]], bioes: bool) -> None:
    spans = [(label, start, start + size) for start, size, label in found]
    scheme = "bioes" if bioes else "bio"
    spelt = chunks(make_tags(12, spans, scheme), scheme)
    assert set(spelt) <= set(spans)
    taken = {index for _, start, end in spelt for index in range(start, end)}
    for label, start, end in spans:
        if (label, start, end) not in spelt:
            longest = max((e - s for _, s, e in spelt if s < end and start < e), default=0)
            assert taken & set(range(start, end)) and longest >= end - start


@given(st.text(alphabet="中国 ab12_，.\t\n𠀀é", max_size=30))
def test_split_keeps_everything_but_white_space(text: str) -> None:
    for how in ("characters", "words"):
        spans = split_text(text, how)  # type: ignore[arg-type]
        assert "".join(text[start:end] for start, end in spans) == "".join(text.split())
        assert all(left[1] <= right[0] for left, right in pairwise(spans))


def test_words() -> None:
    text = "在iPhone12上，_x don't"
    assert [text[start:end] for start, end in split_text(text, "words")] == [
        *["在", "iPhone", "12", "上", "，", "_", "x", "don", "'", "t"]
    ]


def test_cover() -> None:
    offsets = np.array([[0, 2], [3, 5], [5, 6]])
    assert cover(offsets, 0, 2) == (0, 1)
    assert cover(offsets, 1, 4) == (0, 2)
    assert cover(offsets, 5, 6) == (2, 3)
    first, stop = cover(offsets, 2, 3)
    assert first >= stop
