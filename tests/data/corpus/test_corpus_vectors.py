"""Vectors of tokens from their neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.corpus.corpora import tokenizer
from zoo_cli.data.corpus import vectors as vectors_module
from zoo_cli.data.corpus.format import IDS, Corpus, open_corpus, write_index
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.vectors import token_vectors

TOPICS = np.arange(40).reshape(4, 10)


def corpus(prefix: Path, ids: np.ndarray, documents: int = 1) -> Corpus:
    """Documents of one sentence each."""
    np.save(f"{prefix}{IDS}", ids.astype(np.uint16))
    lens = np.full(documents, len(ids) // documents)
    lens[-1] += len(ids) % documents
    write_index(str(prefix), lens, np.arange(documents + 1))
    return open_corpus(prefix)


def talk(count: int, seed: int = 0) -> np.ndarray:
    """Token ids, eight at a time about one of four topics, whose ids have nothing in common."""
    draws = np.random.default_rng(seed)
    return TOPICS[draws.integers(0, 4, count), :][np.arange(count)[:, None], draws.integers(0, 10, (count, 8))].ravel()


def similarity(vectors: np.ndarray) -> np.ndarray:
    """Cosines of all pairs."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return directions @ directions.T


def test_tokens_of_a_topic_are_neighbours(tmp_path: Path) -> None:
    known = corpus(tmp_path / "c", talk(2000))
    ids, vectors = token_vectors([(known, (0, 1))], np.arange(50), 8)
    assert ids.tolist() == list(range(40))
    assert vectors.dtype == np.float32 and vectors.shape == (40, 8)
    np.testing.assert_allclose((vectors**2).mean(axis=1), 1.0, rtol=1e-5)
    alike = similarity(vectors)
    same = np.kron(np.eye(4, dtype=bool), np.ones((10, 10), bool))
    assert alike[same].mean() > 0.5 > 0.1 > alike[~same].mean()


def test_the_same_texts_give_the_same_vectors(tmp_path: Path) -> None:
    known = corpus(tmp_path / "c", talk(300))
    one, other = (token_vectors([(known, (0, 1))], np.arange(50), 8) for _ in range(2))
    assert (one[0] == other[0]).all() and (one[1] == other[1]).all()


def test_only_the_named_documents_are_read(tmp_path: Path) -> None:
    known = corpus(tmp_path / "c", np.concatenate([talk(300) % 20, 20 + talk(300) % 20]), documents=2)
    for first in (0, 1):
        ids, _ = token_vectors([(known, (first, first + 1))], np.arange(50), 8)
        assert set(ids) == set(range(20 * first, 20 * first + 20))


def test_rare_tokens_have_none_and_many_tokens_are_not_all_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = np.concatenate([talk(300), [45] * 4, [46] * 5])
    known = corpus(tmp_path / "c", ids)
    assert set(token_vectors([(known, (0, 1))], np.arange(50), 8)[0]) == {*range(40), 46}
    monkeypatch.setattr(vectors_module, "_AT_ONCE", 100)
    pieces = token_vectors([(known, (0, 1))], np.arange(50), 8)
    assert set(pieces[0]) == {*range(40), 46}
    monkeypatch.setattr(vectors_module, "_MOST_TOKENS", 2400)
    assert set(token_vectors([(known, (0, 1))], np.arange(50), 8)[0]) == set(range(40))


def test_too_little_text_has_no_vectors(tmp_path: Path) -> None:
    for ids in ([], [1] * 50, [1, 2] * 3, [1, 2, 3]):
        known = corpus(tmp_path / "c", np.array(ids, np.int64))
        found, vectors = token_vectors([(known, (0, 1))], np.arange(50), 8)
        assert len(found) == len(vectors) == 0


def test_marked_characters_are_counted_as_plain_ones(tmp_path: Path) -> None:
    forms = word_forms(tokenizer())
    characters = np.flatnonzero(forms.form >= 0)[:40]
    plain = characters[talk(300)]
    marked = np.where(np.arange(len(plain)) % 2, forms.form[plain], plain)
    one, other = (
        token_vectors([(corpus(tmp_path / name, ids), (0, 1))], forms.plain, 8)
        for name, ids in (("plain", plain), ("marked", marked))
    )
    assert (one[0] == other[0]).all() and (one[1] == other[1]).all()
