"""Answers are compared as the scripts of CMRC 2018 and SQuAD do."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.tasks.question_answering.metrics import (
    answer_scores,
    best_null_threshold,
    chinese_segments,
    english_tokens,
    longest_common_run,
)

items = st.lists(st.sampled_from("abcd"), max_size=30)


@given(items, items)
def test_longest_common_run(first: list[str], second: list[str]) -> None:
    match = SequenceMatcher(None, first, second, autojunk=False).find_longest_match()
    assert longest_common_run(first, second) == longest_common_run(second, first) == match.size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("《战国无双3》是由光荣", ["战", "国", "无", "双", "3", "是", "由", "光", "荣"]),
        (" 2V2、4V4随机 ", ["2v24v4", "随", "机"]),  # punctuation goes before words are cut
        ("It's 1,000.5 (about) $3, ok?", ["it", "'s", "1,000.5", "(", "about", ")", "$", "3", ",", "ok", "?"]),
        ("等等……", ["等", "等", "……"]),
        ("don't cannot", ["do", "n't", "can", "not"]),
        ("the end.", ["the", "end", "."]),
        ("U.S.", ["u.s", "."]),
        ("，。！", []),
    ],
)
def test_chinese_segments(text: str, expected: list[str]) -> None:
    assert chinese_segments(text) == expected


# Values of the official scripts.
@pytest.mark.parametrize(
    ("answers", "prediction", "exact", "f1"),
    [
        (["光荣和ω-force"], "光荣和ω-force", 1, 1.0),
        (["光荣和ω-force"], "光荣", 0, 2 / 3),
        (["1963年"], "1963", 0, 2 / 3),
        (["《战国》"], "战国。", 1, 1.0),
        (["ABC"], "abc ", 1, 1.0),
        (["北京市海淀区"], "海淀区北京市", 0, 0.5),  # a common run of 3 of 6 characters
        (["错", "2010年"], "2010年", 1, 1.0),
        (["，"], "。", 1, 0.0),  # nothing is left to share
        (["甲乙"], "丙", 0, 0.0),
        (["甲乙"], "", 0, 0.0),
        ([], "", 1, 1.0),
        ([], "甲", 0, 0.0),
    ],
)
def test_chinese_scores(answers: list[str], prediction: str, exact: int, f1: float) -> None:
    assert answer_scores(answers, prediction, "zh") == (exact, pytest.approx(f1))


@pytest.mark.parametrize(
    ("answers", "prediction", "exact", "f1"),
    [
        (["the Normans"], "Normans!", 1, 1.0),
        (["Denver Broncos"], "The Denver Broncos team", 0, 0.8),
        (["in the 10th century", "10th"], "10th century", 0, 0.8),
        (["cat cat dog"], "cat dog dog", 0, 2 / 3),
        (["a b"], "b a", 1, 1.0),  # "a" is an article
        (["x y"], "y x", 0, 1.0),
        ([], "", 1, 1.0),
        ([], "the", 1, 1.0),
        (["..."], "", 1, 1.0),
        (["x"], "", 0, 0.0),
    ],
)
def test_english_scores(answers: list[str], prediction: str, exact: int, f1: float) -> None:
    assert answer_scores(answers, prediction, "en") == (exact, pytest.approx(f1))


def test_english_tokens() -> None:
    assert english_tokens("The U.S.A.'s  an-other\tone") == ["usas", "another", "one"]


@given(
    st.lists(
        st.tuples(st.integers(-6, 6), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0])),
        min_size=1,
        max_size=12,
    )
)
def test_best_null_threshold(rows: list[tuple[int, float, float]]) -> None:
    margins, answered, unanswered = np.array(rows, np.float64).T

    def total(threshold: float) -> float:
        return float(np.where(margins > threshold, unanswered, answered).mean())

    found = best_null_threshold(margins, answered, unanswered, 0.25)
    assert total(found) == pytest.approx(max(total(threshold) for threshold in np.arange(-8, 8, 0.5)))
    if total(0.25) == pytest.approx(total(found)):
        assert found == 0.25
    assert best_null_threshold(margins[:0], answered[:0], unanswered[:0], 0.25) == 0.25
