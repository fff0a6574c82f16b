"""Generation: one token at a time equals reading all at once, whatever else is in the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from tests.models.support import VOCABULARY, tiny
from zoo_cli import models
from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.decoding.engine import Prompt
from zoo_cli.models.generation import RunningBatch, generate
from zoo_cli.models.language_model import LanguageModel

PRUNED = {"head_dim": 8, "layer_num_heads": [2, 4], "layer_intermediate_sizes": [24, 40]}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt": ("GPTForCausalLM", {}),
    "gpt-fused-postnorm": (
        "GPTForCausalLM",
        {"fuse_attention_qkv": True, "normalize_before": False, "scale_qk_coeff": 3.0},
    ),
    "gpt-pruned": ("GPTForCausalLM", PRUNED),
    "unimo": ("UNIMOLMHeadModel", {}),
    "unimo-prenorm": ("UNIMOLMHeadModel", {"normalize_before": True}),
    "plato": ("UnifiedTransformerLMHeadModel", {}),
    "plato-roles-postnorm": ("UnifiedTransformerLMHeadModel", {"role_type_size": 3, "normalize_before": False}),
    "plato-pruned": ("UnifiedTransformerLMHeadModel", PRUNED),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    architecture, changes = MODELS[request.param]
    return tiny(architecture, **changes)


def prompt(length: int, seed: int, model: LanguageModel) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    made = {"input_ids": rng.integers(5, VOCABULARY, length)}
    if "token_type_ids" in model.token_inputs:
        made["token_type_ids"] = rng.integers(0, 2, length)
    if "role_ids" in model.token_inputs and seed % 2:
        made["role_ids"] = rng.integers(0, 3, length)
    return made


def grown(row: Prompt, tokens: list[int]) -> dict[str, np.ndarray]:
    """A prompt and the tokens after it, with the inputs that PaddleNLP would give them."""
    full = {name: np.pad(row[name], (0, len(tokens)), "edge") for name in row if name != "attention_mask"}
    full["input_ids"][len(row["input_ids"]) :] = tokens
    return full


def reference(model: LanguageModel, row: Prompt, tokens: list[int]) -> np.ndarray:
    """Logits after the tokens, from the whole text alone."""
    full = grown(row, tokens)
    start, length = len(row["input_ids"]), len(full["input_ids"])
    mask = np.tri(length, dtype=np.int64)
    mask[:, :start] = 1  # everybody sees the prompt ...
    if "attention_mask" in row:  # ... or what its last token sees
        mask[:start, :start] = row["attention_mask"]
        mask[start:, :start] = row["attention_mask"][-1]
    tensors = {name: paddle.to_tensor(values[None]) for name, values in full.items()}
    with paddle.no_grad():
        output = model(**tensors, attention_mask=paddle.to_tensor(mask[None, None]))
    return output.logits.numpy()[0, -1]


def test_a_step_calls_no_linear_module(model: LanguageModel) -> None:
    """The calls of modules would take longer than the products of a single token."""
    batch = RunningBatch(model)
    batch.prefill([prompt(4, 0, model)])
    called: list[str] = []
    for layer in model.backbone.stack.sublayers():
        if isinstance(layer, paddle.nn.Linear):
            layer.register_forward_pre_hook(lambda own, _: called.append(own.full_name()))
    batch.step(np.array([5]))
    assert not called
    batch.prefill([prompt(4, 1, model)])
    assert called


def test_steps_equal_reading_everything(model: LanguageModel) -> None:
    """Rows of several lengths that join, move, double and leave, some with a mask of their own."""
    rng = np.random.default_rng(3)
    batch = RunningBatch(model)
    rows: list[tuple[dict[str, np.ndarray], list[int]]] = []

    def check(logits: np.ndarray, of: list[tuple[dict[str, np.ndarray], list[int]]]) -> None:
        expected = np.stack([reference(model, *row) for row in of])
        np.testing.assert_allclose(logits, expected, atol=2e-4)

    def join(lengths: list[int], masked: bool = False) -> None:
        new = [prompt(length, len(rows) + i, model) for i, length in enumerate(lengths)]
        if masked:
            new[0]["attention_mask"] = np.tri(lengths[0], dtype=np.int64)
            new[0]["attention_mask"][1:, 0] = 0
        check(batch.prefill(new), [(row, []) for row in new])
        rows.extend((row, []) for row in new)

    def step(times: int = 1) -> None:
        for _ in range(times):
            tokens = rng.integers(5, VOCABULARY, len(rows))
            for (_, own), token in zip(rows, tokens, strict=True):
                own.append(int(token))
            logits = batch.step(tokens)
        check(logits, rows)

    def select(order: list[int]) -> None:
        batch.select(np.array(order, dtype=np.int64))
        rows[:] = [(rows[i][0], list(rows[i][1])) for i in order]

    join([7, 3])
    step(2)
    join([61, 2], masked=True)
    step(5)  # the longest row passes the end of a block
    select([3, 3, 1, 2])
    step(2)
    select([1, 0, 2])
    join([4])
    step(1)
    select([2])
    step(2)
    select([])
    join([5, 5])
    step(1)


@pytest.mark.parametrize("strategy", ["greedy_search", "beam_search", "sampling"])
def test_padding_order_and_company_change_nothing(model: LanguageModel, strategy: str) -> None:
    rng = np.random.default_rng(0)
    lengths = [9, 4, 6]
    pad = model.config.pad_token_id
    texts = [rng.integers(5, VOCABULARY, length) for length in lengths]
    options = {
        "decode_strategy": strategy,
        "num_beams": 3,
        "max_new_tokens": 7,
        "top_p": 0.8,
        "seed": 4,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
    }
    padded = np.stack([np.append(np.full(9 - len(text), pad), text) for text in texts])
    ids, scores = generate(model, padded, **options)
    mask = (padded != pad).astype(np.int64)
    for other in (
        generate(model, np.concatenate([np.full((3, 4), pad), padded], axis=1), **options),
        generate(model, padded, attention_mask=mask, **options),
        generate(model, paddle.to_tensor(padded), max_rows=3, **options),
        tuple(part[[2, 1, 0]] for part in generate(model, padded[::-1], **options)),
    ):
        assert width_independent(other[0], pad) == width_independent(ids, pad)
        np.testing.assert_allclose(np.asarray(other[1]), scores.numpy(), atol=1e-4)
    for row, text in enumerate(texts):
        alone, score = generate(model, text[None], **options)
        assert width_independent(alone, pad)[0] == width_independent(ids, pad)[row]
        np.testing.assert_allclose(score.numpy()[0], scores.numpy()[row], atol=1e-4)


def width_independent(ids: Any, pad: int) -> list[list[int]]:
    """Rows without the padding on the right."""
    rows = np.asarray(ids).tolist()
    return [row[: max((i + 1 for i, token in enumerate(row) if token != pad), default=0)] for row in rows]


def test_only_gpt_reads_padding_as_upstream_does() -> None:
    for architecture, seen in (("GPTForCausalLM", True), ("UNIMOLMHeadModel", False)):
        model = tiny(architecture)
        text = np.random.default_rng(1).integers(5, VOCABULARY, (1, 5))
        padded = np.concatenate([np.zeros((1, 4), np.int64), text], axis=1)
        options = {"max_new_tokens": 8, "eos_token_id": None}
        _, alone = generate(model, text, **options)
        _, hidden = generate(model, padded, **options)
        _, upstream = generate(model, padded, upstream_padding=True, **options)
        np.testing.assert_allclose(hidden.numpy(), alone.numpy(), atol=1e-5)
        assert (abs(float(upstream) - float(alone)) > 1e-3) is seen


def test_a_begin_token_that_is_also_the_padding_is_kept() -> None:
    """GPT-2 has one special token for everything."""
    model = tiny("GPTForCausalLM", pad_token_id=2, bos_token_id=2, eos_token_id=2)
    text = np.array([[2, 2, 9, 10]])
    options = {"max_new_tokens": 4, "min_new_tokens": 4}
    _, with_begin = generate(model, text, **options)
    _, masked = generate(model, text, attention_mask=np.array([[0, 0, 1, 1]]), **options)
    _, without = generate(model, text[:, 2:], **options)
    assert abs(float(with_begin) - float(without)) > 1e-3
    np.testing.assert_allclose(masked.numpy(), without.numpy(), atol=1e-5)


class Recorder:
    """Notes what a model is asked to score."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shapes: list[list[int]] = []
        score = model.score
        monkeypatch.setattr(model, "score", lambda hidden: (self.shapes.append(list(hidden.shape)), score(hidden))[1])


def test_ended_rows_leave_and_prompts_are_scored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("GPTForCausalLM")
    texts = np.random.default_rng(2).integers(5, VOCABULARY, (4, 6))
    free, _ = generate(model, texts, max_new_tokens=12, eos_token_id=None)
    eos = int(free[1, 3])  # so that row 1 ends after at most four tokens
    recorder = Recorder(model, monkeypatch)
    ids, _ = generate(model, texts, max_new_tokens=12, eos_token_id=eos, pad_token_id=0)
    expected = [row[: row.index(eos) + 1] + [0] * (11 - row.index(eos)) if eos in row else row for row in free.tolist()]
    assert [row + [0] * (12 - len(row)) for row in ids.tolist()] == expected
    lengths = [row.index(eos) + 1 if eos in row else 12 for row in free.tolist()]
    assert recorder.shapes == [[sum(length > step for length in lengths), 32] for step in range(max(lengths))]


def test_the_model_is_as_it_was() -> None:
    model = tiny("UNIMOLMHeadModel", hidden_dropout_prob=0.5)
    text = np.array([[1, 8, 9, 1]])
    expected, _ = generate(model, text, max_new_tokens=6)
    model.train()
    ids, scores = generate(model, text, max_new_tokens=6)
    assert model.training and model.lm_head.training
    assert ids.tolist() == expected.tolist()
    assert ids.stop_gradient and scores.stop_gradient


def test_what_is_returned() -> None:
    model = tiny("GPTForCausalLM")
    text = np.array([[8, 9], [10, 11]])
    ids, scores = models.generate(model, text, decode_strategy="sampling", num_return_sequences=3, max_length=5, seed=1)
    assert ids.shape[0] == 6 and scores.shape == [6, 1]
    assert (ids.dtype, scores.dtype) == (paddle.int64, paddle.float32)
    kept, _ = generate(
        model, text, decode_strategy="sampling", num_return_sequences=3, max_length=5, seed=1, trunc_input=False
    )
    assert kept[:, :2].tolist() == text.repeat(3, axis=0).tolist()
    assert kept[:, 2:].tolist() == ids.tolist()
    begin, _ = generate(model, max_new_tokens=3)
    assert begin.tolist() == generate(model, np.array([[model.config.bos_token_id]]), max_new_tokens=3)[0].tolist()


def test_barred_tokens_are_not_generated() -> None:
    for architecture in ("UNIMOLMHeadModel", "UnifiedTransformerLMHeadModel"):
        model = tiny(architecture)
        barred = model.config.token_logits
        assert len(barred) == 3
        text = np.random.default_rng(3).integers(5, VOCABULARY, (4, 3))
        ids, _ = generate(model, text, decode_strategy="sampling", temperature=9.0, max_new_tokens=30, seed=0)
        assert not np.isin(ids.numpy(), [token for token in barred if token != model.config.pad_token_id]).any()


def test_errors() -> None:
    gpt, plato = tiny("GPTForCausalLM"), tiny("UnifiedTransformerLMHeadModel")
    text = np.full((1, 120), 9)
    with pytest.raises(UsageError, match="top_k") as caught:
        generate(gpt, text, top_k=-1)
    assert caught.value.code == "bad-option"
    with pytest.raises(UsageError, match="beam_sice"):
        generate(gpt, text, beam_sice=2)
    with pytest.raises(UsageError) as caught:
        generate(plato, text, role_ids=text * 0)
    assert caught.value.code == "no-roles"
    with pytest.raises(DataError) as caught_data:
        generate(gpt, text, max_new_tokens=10)
    assert caught_data.value.code == "prompt-too-long"
    ids, _ = generate(gpt, text, max_new_tokens=9, eos_token_id=None)  # the last token is not read
    assert ids.shape == [1, 9]
    with pytest.raises(DataError) as caught_data:
        generate(gpt, np.zeros((1, 3), np.int64))
    assert caught_data.value.code == "empty-prompt"


def test_positions_of_the_prompt_go_on() -> None:
    model = tiny("UNIMOLMHeadModel")
    text = np.array([[1, 8, 9, 1]])
    plain = generate(model, text, max_new_tokens=5, eos_token_id=None)
    given = generate(model, text, position_ids=np.arange(4)[None], max_new_tokens=5, eos_token_id=None)
    moved = generate(model, text, position_ids=np.array([[0, 1, 2, 0]]), max_new_tokens=5, eos_token_id=None)
    assert float(plain[1]) == float(given[1])
    assert abs(float(plain[1]) - float(moved[1])) > 1e-3
