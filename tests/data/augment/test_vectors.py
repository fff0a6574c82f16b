"""Word vectors: files in both text formats, neighbours by hand, and vectors of words that are used alike."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.data.augment.vectors import WordVectors, read_vectors, train_vectors

GLOVE = "cat 1 0\ndog 0.9 0.1\ncar -1 0.2\n猫 1 0\nthe 1 0\nbus -0.9 0\n"


@pytest.mark.parametrize("head", ["", "6 2\n"])
def test_both_text_formats(tmp_path: Path, head: str) -> None:
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress((head + GLOVE).encode()))
    found = read_vectors(tmp_path / "v.txt.gz")
    assert found.words == ["cat", "dog", "car", "猫", "the", "bus"]
    np.testing.assert_allclose(found.vectors[1], [0.9, 0.1], rtol=1e-6)
    assert read_vectors(tmp_path / "v.txt.gz", most=2).words == ["cat", "dog"]


def test_neighbours_are_the_nearest_of_the_same_script(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text(GLOVE)
    found = read_vectors(tmp_path / "v.txt")
    assert found.neighbours("cat", 2) == ["dog", "car"] or found.neighbours("cat", 2) == ["dog", "bus"]
    assert found.neighbours("Cat", 9) == ["dog", "car", "bus"]  # neither itself, nor grammar, nor Chinese
    assert found.neighbours("bus", 1) == ["car"]
    assert found.neighbours("猫", 5) == []
    assert found.neighbours("horse", 5) == []


def test_neighbours_equal_a_plain_computation() -> None:
    draw = np.random.default_rng(0)
    names = [f"word{chr(97 + index // 26)}{chr(97 + index % 26)}" for index in range(60)]
    vectors = draw.normal(size=(60, 5)).astype(np.float32)
    found = WordVectors(names, vectors)
    for index in (0, 7, 59):
        cosine = vectors @ vectors[index] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[index])
        expected = [names[other] for other in np.argsort(-cosine) if other != index][:15]
        assert found.neighbours(names[index], 15) == expected


@pytest.mark.parametrize(
    ("text", "line"), [("cat 1 0\ndog 1\n", 2), ("cat 1 x\n", 1), ("cat\n", 1), ("cat 1 nan\n", 1), ("", 1)]
)
def test_broken_files_are_located(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(DataError) as caught:
        read_vectors(tmp_path / "v.txt")
    assert caught.value.at is not None and caught.value.at.line == line


def sentences(count: int = 300) -> list[str]:
    draw = np.random.default_rng(0)
    animals, machines = ["cat", "dog", "horse"], ["car", "bus", "train"]
    return [
        f"the {draw.choice(animals)} eats food" if draw.random() < 0.5 else f"the {draw.choice(machines)} needs fuel"
        for _ in range(count)
    ]


def test_words_of_the_same_contexts_are_near() -> None:
    pytest.importorskip("scipy")
    found = train_vectors(sentences(), dimensions=4)
    assert set(found.neighbours("cat", 2)) == {"dog", "horse"}
    assert set(found.neighbours("bus", 2)) == {"car", "train"}


def test_training_is_a_function_of_the_texts(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    one, other = (train_vectors(sentences(), dimensions=4) for _ in range(2))
    np.testing.assert_array_equal(one.vectors, other.vectors)
    one.save(tmp_path / "v.txt")
    again = read_vectors(tmp_path / "v.txt")
    assert again.words == one.words
    np.testing.assert_allclose(again.vectors, one.vectors, rtol=1e-4)


def test_too_few_words_are_refused() -> None:
    pytest.importorskip("scipy")
    with pytest.raises(DataError) as caught:
        train_vectors(["one sentence"], min_count=5)
    assert caught.value.code == "few-words"
