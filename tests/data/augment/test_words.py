from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.data.augment.words import is_replaceable, words_of


def cut(text: str) -> list[str]:
    return [word.text for word in words_of(text)]


def test_runs_of_letters_are_words() -> None:
    assert cut("A state-of-the-art 3D film, isn't it?") == [
        *("A", "state", "of", "the", "art", "D", "film", "isn", "t", "it")
    ]


def test_chinese_is_cut_by_jieba_and_apart_from_latin() -> None:
    pytest.importorskip("jieba")
    assert cut("我喜欢iPhone手机，2024年买的") == ["我", "喜欢", "iPhone", "手机", "年", "买", "的"]


@given(st.text(alphabet="ab Ä9,，中文字𠀀ß-", max_size=30))
def test_words_stand_where_they_say(text: str) -> None:
    pytest.importorskip("jieba")
    end = 0
    for word in words_of(text):
        assert word.start >= end and text[word.start : word.end] == word.text != ""
        assert word.text.isalpha()
        end = word.end


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        *(("film", True), ("The", False), ("not", False), ("t", False), ("3d", False), ("##ing", False)),
        *(("[MASK]", False), ("好", True), ("不", False), ("手机", True), ("没有", False)),
    ],
)
def test_grammar_and_negation_stay(word: str, expected: bool) -> None:
    assert is_replaceable(word) is expected
