"""Copies of texts: how many, how often a word is replaced, and where everything else stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.data.augment.copies import CopyOptions, Edit, copies, moved, propose, rewrite
from zoo_cli.data.augment.vectors import WordVectors
from zoo_cli.data.augment.words import Word, words_of

TEXT = "great film with funny people"
WORDS = list(words_of(TEXT))
OTHERS = [["good", "fine"], ["movie"], [], ["silly", "odd", "wild"], ["folks"]]


def test_copies_are_different_and_change_something() -> None:
    found = copies(WORDS, OTHERS, CopyOptions(copies=50), np.random.default_rng(0))
    texts = [rewrite(TEXT, edits) for edits in found]
    assert len(set(texts)) == len(texts) and TEXT not in texts
    assert 15 < len(texts) <= 50
    assert all(" with " in text for text in texts)
    assert all(edit.text in OTHERS[WORDS.index(edit.word)] for edits in found for edit in edits)


def test_each_word_is_replaced_as_often_as_asked() -> None:
    """With many proposals hardly two copies are alike, so that the share can be counted."""
    many = [[f"w{number}" for number in range(1000)]] * len(WORDS)
    found = copies(WORDS, many, CopyOptions(copies=4000, probability=0.4), np.random.default_rng(1))
    empty = 4000 * 0.6 ** len(WORDS)
    for word in WORDS:
        share = sum(any(edit.word == word for edit in edits) for edits in found) / (len(found) + empty)
        assert abs(share - 0.4) < 0.04


def test_nothing_to_replace_gives_no_copy() -> None:
    assert copies(WORDS, [[]] * len(WORDS), CopyOptions(), np.random.default_rng(0)) == []
    assert copies([], [], CopyOptions(), np.random.default_rng(0)) == []


def test_the_language_model_goes_first_and_vectors_stand_in() -> None:
    vectors = WordVectors(["film", "movie", "show"], np.eye(3, dtype=np.float32))

    def masked(texts: object, words: object, count: int) -> list[list[list[str] | None]]:
        return [[["good"], None, [], None, None]]

    assert propose([TEXT], [WORDS], masked, vectors, 1) == [[["good"], ["movie"], [], [], []]]
    assert propose([TEXT], [WORDS], masked, None, 1) == [[["good"], [], [], [], []]]
    assert propose([TEXT], [WORDS], None, vectors, 2) == [[[], ["movie", "show"], [], [], []]]


@given(st.data())
def test_offsets_move_with_their_characters(data: st.DataObject) -> None:
    text = data.draw(st.text(alphabet="ab cd", min_size=1, max_size=40))
    words = [word for word in words_of(text) if data.draw(st.booleans())]
    edits = [Edit(word, data.draw(st.text(alphabet="xyz", min_size=1, max_size=6))) for word in words]
    new = rewrite(text, edits)
    inside = {place for word in words for place in range(word.start, word.end)}
    for place, character in enumerate(text):
        if place not in inside:
            assert new[moved(place, edits)] == character
    assert moved(len(text), edits) == len(new)
    for edit in edits:
        start = moved(edit.word.start, edits)
        assert new[start : start + len(edit.text)] == edit.text


def test_a_word_knows_its_place() -> None:
    assert WORDS[1] == Word(6, 10, "film")
