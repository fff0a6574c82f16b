"""Masking: shares, whole words, lengths of n-grams, and what stands in the place of a token."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from zoo_cli.data.corpus.draws import hashes, key
from zoo_cli.data.corpus.masking import Words, budgets, choose_spans, find_words, mask
from zoo_cli.recipe.schema import MaskingSection, PretrainSection

CLS, SEP, PAD, MASK = 1, 2, 0, 3
VOCABULARY = np.arange(3000)
stats = pytest.importorskip("scipy.stats")


class Text:
    """Random rows [CLS] words [SEP] words [SEP] with words of one to four tokens."""

    def __init__(self, rows: int, length: int, seed: int = 0, shortest: int | None = None) -> None:
        generator = np.random.default_rng(seed)
        self.lengths = generator.integers(shortest or length, length + 1, rows)
        self.ids = generator.integers(10, 3000, (rows, length))
        self.continues = generator.random((rows, length)) < 0.4
        column = np.arange(length)
        self.ids[:, 0] = CLS
        self.ids[np.arange(rows), self.lengths // 2] = SEP
        self.ids[np.arange(rows), self.lengths - 1] = SEP
        self.ids[column >= self.lengths[:, None]] = PAD
        self.maskable = (self.ids != CLS) & (self.ids != SEP) & (column < self.lengths[:, None])
        self.keys = hashes(key(seed, 5), np.arange(rows))

    def mask(self, **options: object) -> tuple[np.ndarray, np.ndarray]:
        return mask(
            self.ids,
            self.continues,
            self.maskable,
            self.lengths,
            self.keys,
            MaskingSection(**options),
            MASK,
            VOCABULARY,
        )

    def words(self) -> Words:
        return find_words(self.continues, self.maskable)

    def word_numbers(self) -> np.ndarray:
        """Number of the word of each token [B, S], spelt out; -1 for specials and padding."""
        numbers = np.full(self.ids.shape, -1)
        word = -1
        for row in range(len(self.ids)):
            previous = False
            for column in range(self.ids.shape[1]):
                if self.maskable[row, column]:
                    word += not (previous and self.continues[row, column])
                    numbers[row, column] = word
                previous = bool(self.maskable[row, column])
        return numbers


def is_whole(text: Text, chosen: np.ndarray) -> bool:
    numbers = text.word_numbers()
    return not set(numbers[chosen & text.maskable].tolist()) & set(numbers[~chosen & text.maskable].tolist())


def test_words_are_what_the_rule_says() -> None:
    text = Text(20, 60, shortest=5)
    words, numbers = text.words(), text.word_numbers()
    assert len(words.rows) == numbers.max() + 1
    assert np.diff(words.first).tolist() == np.bincount(numbers[numbers >= 0]).tolist()
    for row in range(20):
        own = np.unique(numbers[row][numbers[row] >= 0])
        assert words.bounds[row + 1] - words.bounds[row] == len(own)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(4, 80),
    st.sampled_from([0.05, 0.15, 0.5]),
    st.sampled_from([1, 3, 5]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 1, 4]),
)
def test_whole_words_never_more_than_wanted(
    seed: int, length: int, share: float, ngrams: int, longer: bool, geometric: bool, most: int | None
) -> None:
    text = Text(8, length, seed, shortest=4)
    how = {"masked_lm_prob": share, "max_ngrams": ngrams, "favor_longer_ngram": longer, "geometric": geometric}
    seen, chosen = text.mask(**how, max_predictions=most)
    wanted = [max(1, round(length * share)) for length in text.lengths.tolist()]  # Python rounds as PaddleNLP does
    wanted = [min(count, most or count) for count in wanted]
    assert (chosen.sum(1) <= wanted).all()
    assert not (chosen & ~text.maskable).any()
    assert (seen[~chosen] == text.ids[~chosen]).all()
    assert is_whole(text, chosen)
    if ngrams > 1:
        return  # a word whose n-gram met a masked one is not tried again
    # Fewer only where every word that is left is too long for what is left.
    numbers, sizes = text.word_numbers(), np.bincount(text.word_numbers()[text.maskable])
    for row in range(8):
        free = numbers[row][text.maskable[row] & ~chosen[row]]
        if len(free):
            assert sizes[free].min() > wanted[row] - chosen[row].sum()


def test_the_share_of_masked_tokens() -> None:
    text = Text(200, 512)
    _, chosen = text.mask()
    assert chosen.sum() == 200 * 77  # 512 * 0.15 = 76.8
    _, chosen = text.mask(max_predictions=20)
    assert (chosen.sum(1) == 20).all()
    assert not text.mask(masked_lm_prob=0.0)[1].any()
    assert budgets(np.array([3, 10, 128, 512]), MaskingSection()).tolist() == [1, 2, 19, 77]


def test_four_fifths_a_tenth_and_a_tenth() -> None:
    text = Text(400, 512)
    seen, chosen = text.mask()
    count = int(chosen.sum())
    masked = int((seen[chosen] == MASK).sum())
    kept = int((seen[chosen] == text.ids[chosen]).sum())
    observed = [masked, kept, count - masked - kept]
    assert stats.chisquare(observed, np.array([0.8, 0.1, 0.1]) * count).pvalue > 1e-4
    random = seen[chosen & (seen != MASK) & (seen != text.ids)]
    assert stats.chisquare(np.histogram(random, 30, (0, 3000))[0]).pvalue > 1e-4


def test_random_tokens_of_the_same_text() -> None:
    text = Text(100, 512)
    seen, chosen = text.mask(random_from="sequence")
    rows, columns = np.nonzero(chosen & (seen != MASK))
    assert all(seen[row, column] in text.ids[row] for row, column in zip(rows, columns, strict=True))
    assert (seen[rows, columns] != text.ids[rows, columns]).mean() == pytest.approx(0.5, abs=0.05)


def test_t5_masks_all() -> None:
    text = Text(10, 128)
    seen, chosen = text.mask(style="t5")
    assert (seen[chosen] == MASK).all()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [6 / 11, 3 / 11, 2 / 11]),
        ({"favor_longer_ngram": True}, [2 / 11, 3 / 11, 6 / 11]),
        ({"geometric": True}, [0.2, 0.16, 0.64]),
        ({"max_ngrams": 5}, [60 / 137, 30 / 137, 20 / 137, 15 / 137, 12 / 137]),
        ({"max_ngrams": 1}, [1.0]),
    ],
)
def test_lengths_of_ngrams(options: dict[str, object], expected: list[float]) -> None:
    text = Text(4000, 512)
    text.continues[:] = False
    # Few tokens of long rows, so that hardly an n-gram is refused for the words or the room that it would take.
    spans = choose_spans(text.words(), text.keys, np.full(4000, 6), MaskingSection(**options))
    words = text.words()
    _, first = np.unique(words.rows[spans[:, 0]], return_index=True)
    sizes = spans[first, 1] - spans[first, 0]
    at_end = words.bounds[words.rows[spans[first, 0]] + 1] == spans[first, 1]
    sizes = sizes[~at_end]  # where a row ends, n-grams are shorter
    observed = np.bincount(sizes, minlength=len(expected) + 1)[1:]
    if len(expected) == 1:
        assert observed.tolist() == [len(sizes)]
    else:
        assert stats.chisquare(observed, np.array(expected) * observed.sum()).pvalue > 1e-4


def test_every_word_is_as_likely_as_any_other() -> None:
    text = Text(1, 60)
    text.continues[:] = False
    counts = np.zeros(text.ids.shape[1])
    for seed in range(4000):
        text.keys = hashes(key(seed), np.arange(1))
        counts += text.mask(max_ngrams=1)[1][0]
    inner = counts[text.maskable[0]]
    assert stats.chisquare(inner).pvalue > 1e-4


def test_independent_masking() -> None:
    text = Text(300, 512)
    seen, chosen = text.mask(independent=True)
    assert is_whole(text, chosen)
    words = text.words()
    first_tokens = chosen[words.token_rows[words.first[:-1]], words.token_columns[words.first[:-1]]]
    assert stats.binomtest(int(first_tokens.sum()), len(first_tokens), 0.15).pvalue > 1e-4
    assert chosen.sum(1).std() > 0  # unlike n-grams, which are counted
    _, tokens = text.mask(independent=True, whole_word=False)
    assert not is_whole(text, tokens)
    assert (seen[~chosen] == text.ids[~chosen]).all()


def test_without_whole_words_each_token_counts_by_itself() -> None:
    text = Text(50, 200)
    _, chosen = text.mask(whole_word=False)
    assert (chosen.sum(1) == 30).all()
    assert not is_whole(text, chosen)


def test_permutation_exchanges_other_tokens() -> None:
    text = Text(50, 200)
    plain_seen, plain = text.mask()
    seen, chosen = text.mask(permutation=True)
    assert chosen[plain].all()
    assert (seen[plain] == plain_seen[plain]).all()
    moved = chosen & ~plain
    assert 25 < moved.sum(1).mean() <= 30
    for row in range(50):
        assert sorted(seen[row][moved[row]]) == sorted(text.ids[row][moved[row]])
    assert (seen[moved] != text.ids[moved]).mean() > 0.8
    with pytest.raises(ValidationError, match="permutation"):
        MaskingSection(permutation=True, independent=True)


@pytest.mark.parametrize("options", [{}, {"independent": True}, {"permutation": True}, {"random_from": "sequence"}])
def test_a_row_does_not_depend_on_its_batch(options: dict[str, object]) -> None:
    text = Text(12, 90, shortest=20)
    seen, chosen = text.mask(**options)
    again = Text(12, 90, shortest=20)
    for name in ("ids", "continues", "maskable", "lengths", "keys"):
        setattr(again, name, getattr(text, name)[[7, 3]])
    width = int(again.lengths.max())
    for name in ("ids", "continues", "maskable"):
        setattr(again, name, getattr(again, name)[:, :width])
    seen_again, chosen_again = again.mask(**options)
    assert (seen_again == seen[[7, 3], :width]).all()
    assert (chosen_again == chosen[[7, 3], :width]).all()
    text.keys = hashes(text.keys, 1)
    assert (text.mask(**options)[1] != chosen).any()


def test_pairs_belong_to_masked_language_models() -> None:
    with pytest.raises(ValidationError, match="pair"):
        PretrainSection(objective="rtd", pair="sop", corpora=["c"])
