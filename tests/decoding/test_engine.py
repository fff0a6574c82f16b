"""The running batch: joining, leaving, streaming."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import ArtifactError, DataError
from zoo_cli.decoding.engine import Decoder, Request, generate, stream
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.search import Generated

from .models import CachedModel, MarkovModel, Network, NumpyModel
from .test_golden import CASES
from .test_search import EOS, STRATEGIES


def request(seed: int) -> Request:
    """A prompt and options that depend on the seed alone, of any strategy."""
    rng = random.Random(seed)
    options = {**rng.choice(STRATEGIES), "eos_token_id": EOS, "max_new_tokens": rng.randint(1, 12)}
    if options.get("decode_strategy") == "sampling":
        options["seed"] = seed
    options["repetition_penalty"] = rng.choice([1.0, 1.3])
    return Request({"input_ids": np.array(rng.choices(range(12), k=rng.randint(1, 6)))}, GenerationOptions(**options))


def as_lists(sequences: list[Generated]) -> list[tuple[list[int], float, str]]:
    return [(s.ids.tolist(), s.score, s.finish_reason) for s in sequences]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=8), st.one_of(st.none(), st.integers(1, 12)))
@settings(max_examples=60, deadline=None)
def test_company_changes_nothing(seeds: list[int], max_rows: int | None) -> None:
    """Rows that join, end and are dropped leave the others as they would be alone."""
    alone = [as_lists(generate(MarkovModel(), [request(seed)])[0]) for seed in seeds]
    model = MarkovModel()
    together = generate(model, [request(seed) for seed in seeds], max_rows)
    assert [as_lists(sequences) for sequences in together] == alone
    assert not model.rows
    if max_rows is not None:
        assert model.most_rows <= max(max_rows, 4)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 6), st.booleans()), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_requests_join_and_leave_between_steps(plan: list[tuple[int, int, bool]]) -> None:
    """Each request joins at its own step; some are cancelled two steps later."""
    model = MarkovModel()
    decoder = Decoder(model)
    requests = [request(seed) for seed, _, _ in plan]
    results: dict[int, list[Generated]] = {}
    streamed: dict[int, list[tuple[int, int]]] = {i: [] for i in range(len(plan))}
    for now in range(30):
        joining = [r for r, (_, start, _) in zip(requests, plan, strict=True) if start == now]
        for update in [*decoder.step(), *decoder.add(joining)]:
            number = next(i for i, r in enumerate(requests) if r is update.request)
            streamed[number] += update.tokens
            if update.sequences is not None:
                results[number] = update.sequences
        for r, (_, start, leaves) in zip(requests, plan, strict=True):
            if leaves and start + 2 == now:
                decoder.cancel(r)
        assert len(model.rows) == decoder.rows
    assert decoder.rows == 0
    for number, (seed, _, leaves) in enumerate(plan):
        if number not in results:
            assert leaves
            continue
        assert as_lists(results[number]) == as_lists(generate(MarkovModel(), [request(seed)])[0])
        for index, sequence in enumerate(results[number]):
            assert [token for i, token in streamed[number] if i == index] == sequence.ids.tolist()


def test_tokens_stream_one_by_one() -> None:
    options = GenerationOptions(max_new_tokens=5)
    prompts = [{"input_ids": np.array([i])} for i in (1, 2)]
    requests = [Request(prompt, options) for prompt in prompts]
    updates = list(stream(MarkovModel(), requests))
    assert [len(update.tokens) for update in updates] == [1] * 10
    assert [update.request for update in updates] == requests * 5
    assert [update.sequences is not None for update in updates] == [False] * 8 + [True] * 2


def test_a_closed_stream_leaves_the_model_empty() -> None:
    model = MarkovModel()
    updates = stream(model, [Request({"input_ids": np.array([1])}, GenerationOptions())])
    next(updates)
    assert model.rows
    updates.close()  # type: ignore[attr-defined]
    assert not model.rows


def test_one_request_object_several_times() -> None:
    options = GenerationOptions(decode_strategy="sampling", max_new_tokens=20)
    found = generate(MarkovModel(), [Request({"input_ids": np.array([1])}, options)] * 3)
    assert len({tuple(sequences[0].ids) for sequences in found}) == 3  # no seed: each draws its own


def test_nothing_to_do() -> None:
    decoder = Decoder(MarkovModel())
    assert decoder.step() == []
    assert decoder.add([]) == []
    assert generate(MarkovModel(), []) == []


def test_the_begin_token_stands_in_for_a_prompt() -> None:
    options = GenerationOptions(bos_token_id=4, max_new_tokens=3)
    found = generate(MarkovModel(), [Request(None, options), Request({"input_ids": np.array([4])}, options)])
    assert as_lists(found[0]) == as_lists(found[1])


def test_history_is_what_counts_as_seen() -> None:
    prompt, options = {"input_ids": np.array([1])}, GenerationOptions(max_new_tokens=1, no_repeat_ngram_size=1)
    best = int(generate(MarkovModel(), [Request(prompt, options)])[0][0].ids[0])
    found = generate(MarkovModel(), [Request(prompt, options, history=np.array([best, 1]))])[0][0]
    assert found.ids[0] != best


def test_prompts_that_do_not_fit_are_refused_before_anything_runs() -> None:
    model = MarkovModel()
    decoder = Decoder(model)
    fits = Request({"input_ids": np.array([1])}, GenerationOptions())
    with pytest.raises(DataError, match="after which the model has room for 10 more, not for 20") as caught:
        decoder.add([fits, Request({"input_ids": np.zeros(90, dtype=np.int64)}, GenerationOptions())])
    assert caught.value.code == "prompt-too-long"
    for prompt in (None, {"input_ids": np.zeros(0, dtype=np.int64)}):
        with pytest.raises(DataError) as caught:
            decoder.add([fits, Request(prompt, GenerationOptions())])
        assert caught.value.code == "empty-prompt"
    assert not model.rows
    assert decoder.rows == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_an_error(value: float) -> None:
    model = MarkovModel()
    model.table[:, :, 1, 3] = value
    with pytest.raises(ArtifactError, match="not finite"):
        generate(model, [Request({"input_ids": np.array([1])}, GenerationOptions())])
    assert not model.rows


@pytest.mark.parametrize("case", ["unimo_eos0_lm", "unified_transformer_lm", "gpt_lm"])
def test_cached_rows_of_many_lengths_agree_with_rows_computed_alone(case: str) -> None:
    """Continuous batching over preallocated caches, with beams that reorder rows, on real layers."""
    network = Network(CASES / case)
    rng = np.random.default_rng(0)
    requests = []
    for i in range(9):
        strategy = {**STRATEGIES[i % len(STRATEGIES)], "eos_token_id": network.config["eos_token_id"]}
        prompt = {"input_ids": rng.integers(8, 90, 2 + 2 * i)}
        requests.append(Request(prompt, GenerationOptions(max_new_tokens=3 + i, **strategy)))
    alone = [generate(NumpyModel(network), [r])[0] for r in requests]
    together = generate(CachedModel(network), requests, max_rows=7)
    for one, other in zip(alone, together, strict=True):
        assert [s.ids.tolist() for s in one] == [s.ids.tolist() for s in other]
        np.testing.assert_allclose([s.score for s in one], [s.score for s in other], atol=1e-4)
