"""Corpora on disk: written here, by PaddleNLP, by Megatron, and damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.corpus.corpora import random_corpus, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.corpus.format import ArrayWriter, array_writer, find_corpora, open_corpus
from zoo_cli.data.corpus.marks import word_forms
from zoo_cli.data.corpus.statistics import corpus_statistics

LENS = [[3, 4], [1], [], [5, 0, 2]]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 2**16 - 1), max_size=400), st.integers(1, 50))
def test_arrays_grow_to_the_bytes_that_numpy_writes(
    tmp_path_factory: pytest.TempPathFactory, ids: list[int], step: int
) -> None:
    folder = tmp_path_factory.mktemp("arrays")
    array = np.array(ids, "<u2")
    np.save(folder / "numpy.npy", array)
    with array_writer(folder / "ours.npy", array.dtype) as writer:
        for start in range(0, len(array), step):
            writer.append(array[start : start + step])
    assert (folder / "ours.npy").read_bytes() == (folder / "numpy.npy").read_bytes()


def test_a_writer_goes_on_behind_the_rows_that_count(tmp_path: Path) -> None:
    writer = ArrayWriter(tmp_path / "a.npy", np.dtype("<i4"))
    writer.append(np.arange(10))
    writer.close(complete=False)
    writer = ArrayWriter(tmp_path / "a.npy", np.dtype("<i4"), rows=4)
    writer.append(np.array([7]))
    writer.close()
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3, 7]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "c", LENS)
    assert corpus.lens.tolist() == [3, 4, 1, 5, 0, 2]
    assert corpus.docs.tolist() == [0, 2, 3, 3, 6]
    assert corpus.documents == 4
    assert isinstance(corpus.ids, np.memmap)
    assert isinstance(corpus.lens, np.memmap)
    assert open_corpus(tmp_path / "c_ids.npy").prefix == str(tmp_path / "c")
    with np.load(tmp_path / "c_idx.npz") as index:  # as PaddleNLP reads it
        assert index["lens"].dtype == np.int32
        assert index["docs"].dtype == np.int64


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_corpora_of_paddlenlp(tmp_path: Path, save) -> None:
    np.save(tmp_path / "p_ids.npy", np.arange(8, dtype=np.int32))
    save(tmp_path / "p_idx.npz", lens=np.array([3, 5], np.int32), sents=np.array([0, 3, 8]), docs=np.array([0, 2]))
    corpus = open_corpus(tmp_path / "p")
    assert (corpus.ids.tolist(), corpus.lens.tolist(), corpus.docs.tolist()) == (list(range(8)), [3, 5], [0, 2])


def test_corpora_of_ernie_health_have_no_documents(tmp_path: Path) -> None:
    np.save(tmp_path / "h_ids.npy", np.arange(8, dtype=np.uint16))
    np.savez(tmp_path / "h_idx.npz", lens=np.array([3, 5], np.int32))
    assert open_corpus(tmp_path / "h").docs.tolist() == [0, 1, 2]


def write_megatron(prefix: Path, ids: np.ndarray, lens: list[int], docs: list[int], code: int) -> None:
    pointers = np.cumsum([0, *lens[:-1]]) * ids.itemsize
    head = b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, code, len(lens), len(docs))
    parts = [np.array(lens, "<i4"), pointers.astype("<i8"), np.array(docs, "<i8")]
    Path(f"{prefix}.idx").write_bytes(head + b"".join(part.tobytes() for part in parts))
    Path(f"{prefix}.bin").write_bytes(ids.tobytes())


@pytest.mark.parametrize(("dtype", "code"), [("<u2", 8), ("<i4", 4), ("<i8", 5)])
def test_corpora_of_megatron(tmp_path: Path, dtype: str, code: int) -> None:
    ids = np.random.default_rng(0).integers(0, 30_000, 8).astype(dtype)
    write_megatron(tmp_path / "m", ids, [3, 1, 4], [0, 1, 3], code)
    corpus = open_corpus(tmp_path / "m")
    assert corpus.ids.tolist() == ids.tolist()
    assert (corpus.lens.tolist(), corpus.docs.tolist()) == ([3, 1, 4], [0, 1, 3])


def test_fingerprints_tell_corpora_apart(tmp_path: Path) -> None:
    one = random_corpus(tmp_path / "a", LENS)
    same = random_corpus(tmp_path / "b", LENS)
    other = random_corpus(tmp_path / "c", LENS, seed=1)
    assert one.fingerprint() == same.fingerprint() != other.fingerprint()


def damage_ids(folder: Path) -> None:
    (folder / "c_ids.npy").write_bytes((folder / "c_ids.npy").read_bytes()[:-4])


def damage_index(folder: Path) -> None:
    (folder / "c_idx.npz").write_bytes(b"PK" + bytes(50))


def other_lengths(folder: Path) -> None:
    np.savez(folder / "c_idx.npz", lens=np.array([1, 2]), docs=np.array([0, 2]))


def other_documents(folder: Path) -> None:
    np.savez(folder / "c_idx.npz", lens=np.array([15]), docs=np.array([0, 3]))


def no_lengths(folder: Path) -> None:
    np.savez(folder / "c_idx.npz", docs=np.array([0, 3]))


def fractions(folder: Path) -> None:
    np.savez(folder / "c_idx.npz", lens=np.array([15.0]), docs=np.array([0, 1]))


@pytest.mark.parametrize(
    "damage",
    [damage_ids, damage_index, other_lengths, other_documents, no_lengths, fractions],
    ids=lambda f: f.__name__,
)
def test_damaged_corpora_are_refused(tmp_path: Path, damage) -> None:
    random_corpus(tmp_path / "c", LENS)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        open_corpus(tmp_path / "c")
    assert caught.value.code == "broken-corpus"
    assert str(tmp_path / "c") in str(caught.value)


@pytest.mark.parametrize("cut", [10, 40, 60])
def test_damaged_megatron_indexes_are_refused(tmp_path: Path, cut: int) -> None:
    write_megatron(tmp_path / "m", np.arange(8, dtype="<u2"), [3, 1, 4], [0, 1, 3], 8)
    (tmp_path / "m.idx").write_bytes((tmp_path / "m.idx").read_bytes()[:cut])
    with pytest.raises(DataError):
        open_corpus(tmp_path / "m")


def test_missing_corpora(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_corpus(tmp_path / "nothing")
    assert caught.value.code == "missing-corpus"
    assert find_corpora(tmp_path) == [str(tmp_path)]


def test_a_folder_stands_for_its_corpora(tmp_path: Path) -> None:
    for name in ("b", "a"):
        random_corpus(tmp_path / name, LENS)
    assert find_corpora(tmp_path) == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_statistics(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    lens = [generator.integers(0, 60, generator.integers(1, 30)).tolist() for _ in range(200)]
    corpus = random_corpus(tmp_path / "c", lens)
    forms = word_forms(tokenizer())
    figures = corpus_statistics(corpus, forms, unknown_id=20)
    flat, whole = np.concatenate(lens), np.array([sum(document) for document in lens])
    assert figures.tokens == flat.sum() == len(corpus.ids)
    for found, lengths in ((figures.sentences, flat), (figures.documents, whole)):
        assert found.count == len(lengths)
        assert found.maximum == lengths.max()
        assert found.mean == pytest.approx(lengths.mean(), abs=0.01)
        assert found.percentiles["50"] == np.percentile(lengths, 50, method="inverted_cdf")
        assert found.percentiles["99"] == np.percentile(lengths, 99, method="inverted_cdf")
    assert figures.unknown == pytest.approx((corpus.ids == 20).mean())
    assert figures.continuing == pytest.approx(forms.continues[corpus.ids].mean())
    assert figures.distinct == len(np.unique(corpus.ids))


def test_statistics_of_documents_over_several_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_cli.data.corpus.statistics._BLOCK", 7)
    lens = [[1] * 20, [2] * 3, [], [4] * 15, [5]]
    figures = corpus_statistics(random_corpus(tmp_path / "c", lens))
    assert figures.documents.count == 5
    assert figures.documents.maximum == 60
    assert figures.documents.mean == pytest.approx(np.mean([20, 6, 0, 60, 5]), abs=0.01)
