"""Parallel corpora, and the batches of ERNIE-M."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.corpus.corpora import random_corpus, tokenizer
from zoo_cli.base.errors import DataError
from zoo_cli.data.corpus.builder import build_corpus
from zoo_cli.data.corpus.cross_lingual import (
    BTMLM,
    CAMLM,
    MLM,
    TLM,
    CrossLingualInputs,
    ParallelSamples,
    across,
)
from zoo_cli.data.corpus.draws import key
from zoo_cli.data.corpus.format import open_corpus
from zoo_cli.data.corpus.inputs import Arrays, Located
from zoo_cli.data.corpus.raw import RawPairs, join_lines
from zoo_cli.data.corpus.reading import ReadingOptions
from zoo_cli.data.corpus.samples import SentenceSamples
from zoo_cli.recipe.schema import PretrainSection

PAIRS = [("we saw a new film .", "我们看了一部新的电影。"), ("she is at school .", "她在学校。"), ("good book", "好书")]
ENGLISH, CHINESE = (list(side) for side in zip(*PAIRS, strict=True))


def section(**values: Any) -> PretrainSection:
    masking = {"whole_word": False, "max_ngrams": 1, **values.pop("masking", {})}
    return PretrainSection.model_validate(
        {"objective": "cross_lingual", "corpora": ["x"], "max_length": 40, "masking": masking, **values}
    )


def write_pairs(path: Path, *extra: str) -> Path:
    path.write_text("".join(f"{a}\t{b}\n" for a, b in PAIRS) + "".join(extra), encoding="utf-8")
    return path


def parallel(folder: Path) -> ParallelSamples:
    raw = RawPairs(str(write_pairs(folder / "pairs.tsv")), folder, tokenizer("ernie_m"), section())
    raw.build()
    return ParallelSamples(open_corpus(raw.prefix), max_tokens=36)


def load(inputs: CrossLingualInputs, rows: list[tuple[int, int]], seed: int = 0) -> Arrays:
    corpora, samples = np.array(rows).T
    return inputs.load(Located(corpora, samples, np.array([key(seed, *row) for row in rows], np.uint64)))


def test_pairs_become_documents_of_two_sentences(tmp_path: Path) -> None:
    part = parallel(tmp_path)
    assert len(part) == len(PAIRS)
    corpus, ids = part.corpus, []
    for text in (text for pair in PAIRS for text in pair):
        ids += tokenizer("ernie_m").encode_pieces([text]).ids.tolist()
    assert corpus.ids.tolist() == ids
    assert np.diff(corpus.docs).tolist() == [2, 2, 2]


def test_lines_without_a_translation_are_counted(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.tsv", "alone\n", "\tnothing before\n", "\n", "one\ttwo\tthree columns\n")
    report = build_corpus([path], tmp_path / "out", tokenizer("ernie_m"), ReadingOptions("tsv"))
    assert report["faults"] == {"no-pair": {"count": 2, "at": [f"{path}:4", f"{path}:5"]}}
    assert (report["documents"], report["sentences"]) == (4, 8)


def test_a_text_of_several_sentences_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text("One. Two. Three!\t一。二。三！\n" + "word " * 600 + "\t词\n", encoding="utf-8")
    report = build_corpus([path], tmp_path / "out", tokenizer("ernie_m"), ReadingOptions("tsv"))
    assert (report["documents"], report["sentences"], report["faults"]) == (2, 4, {})


def test_two_aligned_files_are_the_same_corpus(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("\n".join(ENGLISH), encoding="utf-8")
    (tmp_path / "a.zh").write_text("\r\n".join(CHINESE) + "\r\n", encoding="utf-8")
    raw = RawPairs(f"{tmp_path / 'a.en'}|{tmp_path / 'a.zh'}", tmp_path, tokenizer("ernie_m"), section())
    raw.build()
    assert open_corpus(raw.prefix).ids.tolist() == parallel(tmp_path).corpus.ids.tolist()


def test_files_of_unequal_length_are_not_aligned(tmp_path: Path) -> None:
    (tmp_path / "a.en").write_text("one\ntwo\n")
    (tmp_path / "a.zh").write_text("一\n")
    with pytest.raises(DataError) as caught:
        join_lines(tmp_path / "a.en", tmp_path / "a.zh", tmp_path / "both.tsv")
    assert caught.value.code == "not-aligned" and caught.value.at is not None
    assert not (tmp_path / "both.tsv").exists()


def test_documents_of_three_sentences_are_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        ParallelSamples(random_corpus(tmp_path / "mono", [[3, 4], [2, 2, 2]]), max_tokens=36)
    assert caught.value.code == "not-parallel"


@pytest.mark.parametrize("seed", range(5))
def test_a_hidden_token_is_reached_by_the_other_text_only(seed: int) -> None:
    """In any number of layers: the transitive closure of what is seen."""
    generator = np.random.default_rng(seed)
    sides = (np.arange(14) >= 6).astype(np.int64)[None]
    hidden = generator.random((1, 14)) < 0.4
    reached = across(sides, hidden)[0]
    for _ in range(4):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    for place in np.flatnonzero(hidden[0]):
        seen = np.flatnonzero(reached[place])
        others = seen[seen != place]
        assert (sides[0, others] != sides[0, place]).all() and not hidden[0, others].any()
        assert len(others) == (~hidden[0] & (sides[0] != sides[0, place])).sum()


def test_each_kind_of_row(tmp_path: Path) -> None:
    corpus = random_corpus(tmp_path / "mono", [[9], [7]], below=1500)
    mono = SentenceSamples(corpus, max_tokens=30, short_seq_prob=0.0)
    vocabulary = tokenizer("ernie_m")
    cls, sep, mask = vocabulary.cls_token_id, vocabulary.sep_token_id, vocabulary.mask_token_id
    pair = parallel(tmp_path)
    rows = [(0, 0), (0, 1), (1, 0), (1, 1)]

    def batch(**values: Any) -> Arrays:
        options = section(masking={"masked_lm_prob": 0.3}, **values)
        return load(CrossLingualInputs([mono, pair], vocabulary, options), rows)

    plain = batch(cross_attention=0.0)
    assert set(plain["kinds"].tolist()) == {MLM, TLM}
    assert "translated_ids" not in plain
    real = plain["attention_mask"][:, 0].diagonal(axis1=1, axis2=2)
    assert real.sum(axis=1).tolist() == [11, 9, *(int(sum(pair.corpus.lens[2 * n : 2 * n + 2])) + 4 for n in (0, 1))]
    assert (plain["attention_mask"][:, 0] == (real[:, :, None] & real[:, None, :])).all()

    crossed = batch(cross_attention=1.0)
    assert set(crossed["kinds"].tolist()) == {MLM, CAMLM}
    width = crossed["input_ids"].shape[1]
    for place, kind in zip(crossed["masked_positions"], crossed["kinds"], strict=True):
        row, column = divmod(int(place), width)
        if kind == CAMLM:
            assert crossed["input_ids"][row, column] == mask
            ids = crossed["input_ids"][row]
            border = int(np.flatnonzero(ids == sep)[1])
            seen = np.flatnonzero(crossed["attention_mask"][row, 0, column])
            others = seen[seen != column]
            assert ((others > border) == (column < border)).all() and len(others)

    translated = batch(back_translation=1.0, cross_attention=0.0)
    assert set(translated["kinds"].tolist()) == {BTMLM, TLM}
    asked, width = translated["translated_ids"], translated["input_ids"].shape[1]
    assert asked.shape == (2, width)
    for row, size in ((0, 9), (1, 7)):
        own = translated["masked_positions"] // width == row
        learnt = translated["masked_positions"][own] % width
        assert set(learnt.tolist()) <= set(range(1, size + 1))
        start = 1 + size + 2
        count = int((translated["translated_places"] // width == row).sum())
        assert count == len(learnt) == max(1, round((size + 2) * 0.3))
        text = corpus.ids[sum([9][:row]) : sum([9][:row]) + size].tolist()
        assert asked[row, : start + count + 1].tolist() == [cls, *text, sep, sep, *[mask] * count, sep]
        assert translated["input_ids"][row, start : start + count].tolist() == [mask] * count
        sees = translated["translated_mask"][row, 0]
        for place in range(start, start + count):  # all of the text, and nothing else but itself
            assert np.flatnonzero(sees[place]).tolist() == [*range(start), place]
        assert not sees[:start, start:].any()
    assert translated["pseudo_places"].tolist() == translated["translated_places"].tolist()


def test_no_row_is_longer_than_max_length(tmp_path: Path) -> None:
    mono = SentenceSamples(random_corpus(tmp_path / "mono", [[30, 30], [50]], below=1500), max_tokens=31)
    long = random_corpus(tmp_path / "pairs", [[40, 10], [3, 60]], below=1500)
    options = section(back_translation=0.5)
    inputs = CrossLingualInputs([mono, ParallelSamples(long, max_tokens=36)], tokenizer("ernie_m"), options)
    for seed in range(5):
        batch = load(inputs, [(0, row) for row in range(len(mono))] + [(1, 0), (1, 1)], seed)
        assert batch["input_ids"].shape[1] <= 40
