"""Which tokens make up a sample, and in which order samples come."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.corpus.corpora import random_corpus
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.corpus import samples as samples_module
from zoo_cli.data.corpus.blend import Blend, parse_blend
from zoo_cli.data.corpus.draws import hashes, integers, key, permute, uniforms
from zoo_cli.data.corpus.samples import SentenceSamples, TokenSamples, split_documents

DOCUMENTS = st.lists(st.lists(st.integers(1, 40), max_size=12), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 5000), st.integers(0, 2**40))
def test_permutations_are_permutations(size: int, seed: int) -> None:
    assert sorted(permute(np.arange(size), size, key(seed)).tolist()) == list(range(size))


def test_permutations_look_random() -> None:
    size = 7
    counts = np.zeros((size, size))
    for seed in range(3000):
        counts[np.arange(size), permute(np.arange(size), size, key(seed))] += 1
    expected = 3000 / size
    assert ((counts - expected) ** 2 / expected).sum() < 80  # chi-square, 36 degrees of freedom, p < 0.0001


def test_draws_are_uniform_and_do_not_depend_on_company() -> None:
    keys = hashes(key(1, 2), np.arange(200))
    drawn = uniforms(keys[:, None], np.arange(500))
    assert 0 <= drawn.min() < drawn.max() < 1
    counts = np.histogram(drawn, 50, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 95
    assert abs(np.corrcoef(drawn[:, :-1].ravel(), drawn[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 0.01
    assert uniforms(keys[7], 3) == drawn[7, 3]
    assert set(integers(keys, 0, 3).tolist()) == {0, 1, 2}
    assert int(key(1, 2)) != int(key(2, 1))


def splitmix(value: int) -> int:
    """The published finaliser, in plain integers."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return value ^ value >> 31


def test_draws_stay_what_they_are() -> None:
    """Resumed runs rely on these values."""
    for own in (0, 1, 2**64 - 1, int(key(42, 7))):
        expected = [splitmix((splitmix(own) + (number + 1) * 0x9E3779B97F4A7C15) % 2**64) for number in (0, 1, 2**40)]
        assert hashes(np.uint64(own), np.array([0, 1, 2**40])).tolist() == expected
    assert int(key(42)) == splitmix((splitmix(0) + 43 * 0x9E3779B97F4A7C15) % 2**64)


def by_hand(lens: list[list[int]], targets: dict[tuple[int, int], int], least: int) -> list[tuple[int, int]]:
    """PaddleNLP's loop over sentences; `targets` are those of the n-th sample of each document."""
    found = []
    first = 0
    for document, own in enumerate(lens):
        if len(own) >= least:
            begin, total, taken, number = first, 0, 0, 0
            for at, length in enumerate(own):
                total, taken, remain = total + length, taken + 1, len(own) - at - 1
                full = total >= targets[document, number] and remain > 1 and taken >= least
                if full or remain == 0:
                    found.append((begin, first + at + 1))
                    begin, total, taken, number = first + at + 1, 0, 0, number + 1
        first += len(own)
    return found


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS, st.integers(4, 60), st.sampled_from([1, 2]), st.sampled_from([0.0, 0.5, 1.0]))
def test_samples_follow_the_rule_of_paddlenlp(
    tmp_path_factory: pytest.TempPathFactory, lens: list[list[int]], max_tokens: int, least: int, short: float
) -> None:
    corpus = random_corpus(tmp_path_factory.mktemp("samples") / "c", lens)
    how = {"max_tokens": max_tokens, "min_sentences": least, "short_seq_prob": short, "seed": 3}
    if not any(len(document) >= least for document in lens):
        with pytest.raises(DataError):
            SentenceSamples(corpus, **how)  # type: ignore[arg-type]
        return
    table = SentenceSamples(corpus, **how).table  # type: ignore[arg-type]
    targets = {}
    for first, target in table[:, [0, 3]].tolist():
        document = int(np.searchsorted(corpus.docs, first, side="right")) - 1
        targets[document, sum(1 for known, _ in targets if known == document)] = target
    assert list(map(tuple, table[:, :2].tolist())) == by_hand(lens, targets, least)
    tokens = np.cumsum([0, *corpus.lens])
    assert table[:, 2].tolist() == tokens[table[:, 0]].tolist()
    assert ((table[:, 3] >= 2) & (table[:, 3] <= max_tokens)).all()
    if short == 0.0:
        assert (table[:, 3] == max_tokens).all()


def test_the_share_of_short_samples(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "c", [[10] * 20] * 3000)
    target = SentenceSamples(corpus, max_tokens=100, short_seq_prob=0.1).table[:, 3]
    short = target[target < 100]
    assert len(short) / len(target) == pytest.approx(0.1 * 98 / 99, abs=0.02)
    assert np.histogram(short, 7, (2, 100))[0].min() > len(short) / 7 * 0.7


def test_tables_depend_neither_on_blocks_nor_on_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lens = [[5, 9, 30, 2][: 1 + number % 4] * 3 for number in range(50)]
    corpus = random_corpus(tmp_path / "c", lens)
    whole = SentenceSamples(corpus, (3, 47), max_tokens=40, seed=1).table
    monkeypatch.setattr(samples_module, "_DOCUMENTS_AT_ONCE", 4)
    cached = SentenceSamples(corpus, (3, 47), max_tokens=40, seed=1, cache=tmp_path / "cache")
    assert isinstance(cached.table, np.memmap)
    assert (cached.table == whole).all()
    assert whole[0, 0] == corpus.docs[3]
    assert whole[-1, 1] == corpus.docs[47]
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1
    SentenceSamples(corpus, (3, 47), max_tokens=41, seed=1, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_documents_without_a_pair_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    corpus = random_corpus(tmp_path / "c", [[5], [5, 5], [5], [5, 5, 5]])
    assert len(SentenceSamples(corpus, max_tokens=50, min_sentences=2)) == 2
    assert "2 of 4 documents have fewer than 2 sentences" in caplog.text


def test_other_documents_are_other_documents(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "c", [[5] * n for n in (2, 9, 4, 30, 1)])
    samples = SentenceSamples(corpus, max_tokens=8, short_seq_prob=0.0)
    document = np.searchsorted(corpus.docs, samples.table[:, 0], side="right") - 1
    found: Counter[int] = Counter()
    for seed in range(400):
        keys = hashes(key(seed), np.arange(len(samples)))
        other = samples.of_other_documents(np.arange(len(samples)), keys, 0)
        assert (document[other] != document).all()
        found.update(other.tolist())
    assert set(found) == set(range(len(samples)))
    with pytest.raises(DataError, match="one document"):
        SentenceSamples(corpus, (3, 4), max_tokens=8).of_other_documents(np.array([0]), keys[:1], 0)


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ("949,50,1", {"train": (0, 949), "dev": (949, 999), "test": (999, 1000)}),
        ("1", {"train": (0, 1000), "dev": (1000, 1000), "test": (1000, 1000)}),
        ("8/1/1", {"train": (0, 800), "dev": (800, 900), "test": (900, 1000)}),
        ("0,0.5,0.5", {"train": (0, 0), "dev": (0, 500), "test": (500, 1000)}),
    ],
)
def test_splits(split: str, parts: dict[str, tuple[int, int]]) -> None:
    assert split_documents(1000, split) == parts


@pytest.mark.parametrize("split", ["", "a,b", "1,2,3,4", "-1,2", "0,0", "nan"])
def test_splits_that_are_none(split: str) -> None:
    with pytest.raises(UsageError, match="weights"):
        split_documents(10, split)


def test_windows_of_tokens(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "c", [[10], [7, 8], [20]])
    samples = TokenSamples(corpus, (1, 3), length=6)
    assert (len(samples), samples.start) == ((35 - 1) // 6, 10)
    with pytest.raises(DataError, match="10 tokens"):
        TokenSamples(corpus, (0, 1), length=10)
    assert len(TokenSamples(corpus, (0, 1), length=9)) == 1


def test_blends_are_written_as_in_paddlenlp(tmp_path: Path) -> None:
    random_corpus(tmp_path / "a", [[1]])
    random_corpus(tmp_path / "b", [[1]])
    one, two = str(tmp_path / "a"), str(tmp_path / "b")
    assert parse_blend([f"5.0 {one} 7 {two}"]) == [(one, 5.0), (two, 7.0)]
    assert parse_blend([f"1 {one}", f"2 {two}"]) == [(one, 1.0), (two, 2.0)]
    assert parse_blend([one, two]) == [(one, None), (two, None)]
    assert parse_blend([str(tmp_path)]) == [(one, None), (two, None)]
    for wrong in ([], [f"1 {one}", two], [f"0 {one} 0 {two}"], [f"1 {one} {two}"]):
        with pytest.raises(UsageError):
            parse_blend(wrong)


@pytest.fixture
def blend_parts(tmp_path: Path) -> list[TokenSamples]:
    return [
        TokenSamples(random_corpus(tmp_path / name, [[tokens]]), length=10) for name, tokens in (("a", 301), ("b", 701))
    ]


def test_without_weights_an_epoch_has_every_sample_once(blend_parts: list[TokenSamples]) -> None:
    blend = Blend(blend_parts, seed=1)
    everything = {(corpus, sample) for corpus, size in ((0, 30), (1, 70)) for sample in range(size)}
    orders = []
    for epoch in range(3):
        rows = blend.order(epoch, np.arange(len(blend)))
        corpora, samples, keys = blend.locate(epoch, rows)
        orders.append(list(zip(corpora.tolist(), samples.tolist(), strict=True)))
        assert set(orders[-1]) == everything
        assert len(set(keys.tolist())) == 100
    assert orders[0] != orders[1] != orders[2]


def test_weights_are_shares_and_no_sample_comes_again_before_all_others(blend_parts: list[TokenSamples]) -> None:
    blend = Blend(blend_parts, [3.0, 1.0], seed=1)
    assert blend.counts.tolist() == [75, 25]
    seen: Counter[tuple[int, int]] = Counter()
    all_keys: set[int] = set()
    for epoch in range(5):
        corpora, samples, keys = blend.locate(epoch, np.arange(len(blend)))
        assert np.bincount(corpora).tolist() == [75, 25]
        seen.update(zip(corpora.tolist(), samples.tolist(), strict=True))
        all_keys.update(keys.tolist())
    assert len(all_keys) == 500  # each time a sample comes, it is masked in another way
    counts = [[seen[corpus, sample] for sample in range(size)] for corpus, size in ((0, 30), (1, 70))]
    assert set(counts[0]) == {12, 13}  # 375 rows over 30 samples
    assert set(counts[1]) == {1, 2}


def test_rows_do_not_depend_on_company(blend_parts: list[TokenSamples]) -> None:
    blend = Blend(blend_parts, [1.0, 1.0], seed=1)
    rows = np.arange(len(blend))
    together = blend.locate(2, rows)
    alone = [blend.locate(2, row[None]) for row in rows]
    for whole, parts in zip(together, zip(*alone, strict=True), strict=True):
        assert whole.tolist() == np.concatenate(parts).tolist()
    assert blend.order(2, rows[::-1]).tolist() == blend.order(2, rows)[::-1].tolist()
