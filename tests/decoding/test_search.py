"""Properties of the strategies, on a toy model; parity with PaddleNLP is in `test_golden`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.decoding.engine import Request, generate
from zoo_cli.decoding.numeric import log_softmax
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.search import Generated

from .models import MarkovModel

EOS = 0
SEEDS = st.integers(0, 10_000)


def run(model: MarkovModel, prompt: list[int], **options: Any) -> list[Generated]:
    request = Request({"input_ids": np.array(prompt)}, GenerationOptions(**{"eos_token_id": EOS, **options}))
    results = generate(model, [request])[0]
    assert not model.rows
    return results


STRATEGIES: list[dict] = [
    {},
    {"decode_strategy": "sampling", "seed": 3, "num_return_sequences": 3, "top_p": 0.9},
    {"decode_strategy": "beam_search", "num_beams": 4, "num_return_sequences": 3},
    {"decode_strategy": "beam_search", "num_beams": 4, "num_return_sequences": 4, "early_stopping": True},
    {"decode_strategy": "beam_search", "num_beams": 3, "diversity_rate": 0.5},
    {"decode_strategy": "beam_search", "num_beams": 4, "num_beam_groups": 2, "diversity_rate": 0.5},
]


@given(SEEDS, st.floats(0, 2), st.integers(1, 9), st.integers(0, 4))
@settings(deadline=None)
def test_one_beam_is_greedy_search(seed: int, length_penalty: float, longest: int, shortest: int) -> None:
    model = MarkovModel(seed=seed)
    lengths = {"max_new_tokens": longest, "min_new_tokens": min(shortest, longest), "no_repeat_ngram_size": 2}
    greedy = run(model, [1, 2], **lengths)
    beam = run(model, [1, 2], decode_strategy="beam_search", num_beams=1, length_penalty=length_penalty, **lengths)
    np.testing.assert_array_equal(greedy[0].ids, beam[0].ids)
    assert greedy[0].finish_reason == beam[0].finish_reason


@given(SEEDS)
@settings(deadline=None)
def test_greedy_search_by_hand(seed: int) -> None:
    model = MarkovModel(seed=seed)
    row, chosen = [1, 2], []
    while len(row) < 2 + 8 and row[-1] != EOS:
        logits = model.logits(row)
        row.append(int(logits.argmax()))
        chosen.append(logits.max())
    found = run(model, [1, 2], max_new_tokens=8)[0]
    assert found.ids.tolist() == row[2:]
    assert found.score == pytest.approx(np.mean(chosen), abs=1e-5)
    assert found.finish_reason == ("eos" if row[-1] == EOS else "length")


@given(SEEDS, st.sampled_from([0.0, 0.6, 1.0, 1.8]))
@settings(max_examples=25, deadline=None)
def test_enough_beams_find_the_best_of_all_sequences(seed: int, length_penalty: float) -> None:
    vocab, longest = 4, 3
    model = MarkovModel(vocab, seed)
    best = []
    for count in range(longest + 1):
        for tokens in itertools.product(range(1, vocab), repeat=count):
            ids = [*tokens, EOS] if count < longest else list(tokens)
            rows = [[1, *ids[:i]] for i in range(len(ids))]
            total = sum(log_softmax(model.logits(row))[token] for row, token in zip(rows, ids, strict=True))
            best.append((total / ((count + 5) / 6) ** length_penalty, ids))
    best.sort(reverse=True)
    found = run(
        model,
        [1],
        decode_strategy="beam_search",
        num_beams=64,
        num_return_sequences=5,
        max_new_tokens=longest,
        length_penalty=length_penalty,
    )
    assert [sequence.score for sequence in found] == pytest.approx([score for score, _ in best[:5]], abs=1e-4)
    assert [sequence.ids.tolist() for sequence in found] == [ids for _, ids in best[:5]]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(seed=SEEDS, longest=st.integers(1, 10), shortest=st.integers(0, 10))
@settings(max_examples=25, deadline=None)
def test_lengths_hold(strategy: dict, seed: int, longest: int, shortest: int) -> None:
    shortest = min(shortest, longest)
    for found in run(MarkovModel(seed=seed), [3, 4], max_new_tokens=longest, min_new_tokens=shortest, **strategy):
        ended = found.finish_reason == "eos"
        assert shortest <= len(found.ids) - ended <= longest
        assert len(found.ids) <= longest
        assert ended == (found.ids[-1] == EOS)
        assert EOS not in found.ids[:-1]
        if found.finish_reason == "length":
            assert len(found.ids) == longest


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(seed=SEEDS, size=st.integers(1, 3), longest=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_no_ngram_occurs_twice(strategy: dict, seed: int, size: int, longest: int) -> None:
    """Also where a vocabulary of five leaves no token to go on with."""
    prompt = [3, 4, 2]
    found = run(MarkovModel(5, seed), prompt, max_new_tokens=longest, no_repeat_ngram_size=size, **strategy)
    assert found
    for sequence in found:
        ids = [*prompt, *sequence.ids.tolist()]
        ngrams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
        assert len(set(ngrams)) == len(ngrams)


def test_a_row_with_no_token_left_ends() -> None:
    found = run(MarkovModel(3), [0, 1], no_repeat_ngram_size=1, eos_token_id=None)[0]
    assert found.ids.tolist() == [2]
    assert found.finish_reason == "exhausted"
    beam = run(
        MarkovModel(3), [0, 1], no_repeat_ngram_size=1, eos_token_id=None, decode_strategy="beam_search", num_beams=2
    )[0]
    assert (beam.ids.tolist(), beam.finish_reason) == ([2], "exhausted")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_forced_tokens(strategy: dict) -> None:
    options = {"max_new_tokens": 5, "min_new_tokens": 5, "forced_bos_token_id": 7, "forced_eos_token_id": EOS}
    for found in run(MarkovModel(), [3], **options, **strategy):
        assert (found.ids[0], found.ids[-1], len(found.ids)) == (7, EOS, 5)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_barred_tokens_never_come(strategy: dict) -> None:
    model = MarkovModel()
    model.token_logits = {5: -1e9, 7: -1e4, EOS: -1e9}
    for found in run(model, [3], max_new_tokens=30, **strategy):
        assert not set(found.ids.tolist()) & {5, 7, EOS}


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_beams_are_distinct_and_ordered(seed: int) -> None:
    found = run(MarkovModel(seed=seed), [3], decode_strategy="beam_search", num_beams=4, num_return_sequences=4)
    assert len({tuple(sequence.ids) for sequence in found}) == 4
    assert [s.score for s in found] == sorted((s.score for s in found), reverse=True)


def test_a_large_group_penalty_drives_groups_apart_and_a_sibling_penalty_beams() -> None:
    groups = {"decode_strategy": "beam_search", "num_beams": 3, "num_beam_groups": 3, "num_return_sequences": 3}
    found = run(MarkovModel(), [3], diversity_rate=100.0, max_new_tokens=1, eos_token_id=None, **groups)
    assert len({int(sequence.ids[0]) for sequence in found}) == 3
    found = run(MarkovModel(), [3], diversity_rate=0.0, max_new_tokens=1, eos_token_id=None, **groups)
    assert len({int(sequence.ids[0]) for sequence in found}) == 1

    siblings = {"decode_strategy": "beam_search", "num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 2}
    model = MarkovModel(6)
    model.table[1, 0, 3] = [-9, 5, 4.5, -9, -9, -9]  # both first tokens are likely, and after token 1
    model.table[2, 3, 1] = [-9, -9, -9, 5, 5, -9]  # two continuations, better than any after token 2
    model.table[2, 3, 2] = [-9, 0, 0, 0, 0, 0]
    assert {int(s.ids[0]) for s in run(model, [3], **siblings)} == {1}
    assert {int(s.ids[0]) for s in run(model, [3], diversity_rate=5.0, **siblings)} == {1, 2}


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_groups_without_penalty_repeat_one_another(seed: int) -> None:
    plain = {"decode_strategy": "beam_search", "num_beams": 2, "num_return_sequences": 2, "eos_token_id": None}
    groups = {**plain, "num_beams": 4, "num_beam_groups": 2, "num_return_sequences": 4}
    one = [(s.ids.tolist(), s.score) for s in run(MarkovModel(seed=seed), [3], **plain)]
    both = [(s.ids.tolist(), s.score) for s in run(MarkovModel(seed=seed), [3], **groups)]
    assert both == [one[0], one[0], one[1], one[1]]


def test_groups_after_the_one_that_completes_the_search_are_left_out() -> None:
    model = MarkovModel(4)
    model.table[:] = np.log(1e-6)
    model.table[1, 0, 3, [1, EOS, 2]] = np.log([0.5, 0.3, 0.2])  # the first group takes 1, the second ends or takes 2
    model.table[2, 3, :, EOS] = 5.0  # then both would end, but the first completes the search
    options = {"decode_strategy": "beam_search", "num_beams": 2, "num_beam_groups": 2, "num_return_sequences": 2}
    found = run(model, [3], diversity_rate=9.0, length_penalty=4.0, early_stopping=True, **options)
    assert [sequence.ids.tolist() for sequence in found] == [[1, EOS], [EOS]]


def test_an_end_token_ranked_behind_the_number_of_beams_does_not_count() -> None:
    model = MarkovModel(6)
    model.table[:] = 0.0
    model.table[1, 0, 3] = [-9, 5, 4.9, -9, -9, -9]
    model.table[2, 3, 1] = [5, -9, -9, 4, -9, -9]  # ends (rank 0) or goes on with token 3 (rank 1)
    model.table[2, 3, 2] = [0.1, 0, 0, 0, 0, 0]  # its end token has rank 2, which is too late for two beams
    found = run(model, [3], decode_strategy="beam_search", num_beams=2, num_return_sequences=2, max_new_tokens=3)
    assert found[0].ids.tolist() == [1, EOS]
    assert found[1].ids[:2].tolist() == [1, 3]


def test_early_stopping_takes_the_first_finished_sequences() -> None:
    model = MarkovModel(6)
    model.table[:] = -9.0
    model.table[..., EOS], model.table[..., 1] = 0.0, 1.0
    options = {"decode_strategy": "beam_search", "num_beams": 2, "max_new_tokens": 12, "length_penalty": 2.0}
    early = run(model, [1], early_stopping=True, **options)[0]
    late = run(model, [1], early_stopping=False, **options)[0]
    assert len(early.ids) < len(late.ids)
    assert early.score < late.score


def test_the_same_seed_gives_the_same_tokens_and_sequences_differ() -> None:
    options = {"decode_strategy": "sampling", "num_return_sequences": 4, "max_new_tokens": 12, "eos_token_id": None}
    first = [s.ids.tolist() for s in run(MarkovModel(), [3], seed=5, **options)]
    assert first == [s.ids.tolist() for s in run(MarkovModel(), [3], seed=5, **options)]
    assert first != [s.ids.tolist() for s in run(MarkovModel(), [3], seed=6, **options)]
    assert len({tuple(ids) for ids in first}) == 4
    # a sequence does not depend on how many are asked for
    assert run(MarkovModel(), [3], seed=5, **{**options, "num_return_sequences": 1})[0].ids.tolist() == first[0]
    free = [s.ids.tolist() for s in run(MarkovModel(), [3], **options)]
    assert free != [s.ids.tolist() for s in run(MarkovModel(), [3], **options)]
