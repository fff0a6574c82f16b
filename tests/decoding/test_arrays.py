from __future__ import annotations

import numpy as np
import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.decoding.arrays import join_results, split_prompts
from zoo_cli.decoding.engine import Request, generate
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.search import Generated

from .models import CachedModel, Network
from .test_golden import CASES

IDS = np.array([[5, 6, 7, 8], [0, 0, 7, 0], [0, 6, 7, 8]])


def test_left_padding_is_cut_and_pad_tokens_elsewhere_are_kept() -> None:
    prompts = split_prompts({"input_ids": IDS, "position_ids": np.tile(np.arange(4), (3, 1))}, pad_token_id=0)
    assert [p["input_ids"].tolist() for p in prompts] == [[5, 6, 7, 8], [7, 0], [6, 7, 8]]
    assert [p["position_ids"].tolist() for p in prompts] == [[0, 1, 2, 3], [2, 3], [1, 2, 3]]
    assert [p["input_ids"].tolist() for p in split_prompts({"input_ids": IDS}, None)] == IDS.tolist()
    assert [p["input_ids"].tolist() for p in split_prompts({"input_ids": IDS}, 0, hide_padding=False)] == IDS.tolist()


def test_attention_masks() -> None:
    two = np.array([[1, 1, 1, 1], [0, 1, 1, 1], [0, 1, 0, 1]])
    prompts = split_prompts({"input_ids": IDS, "attention_mask": two}, pad_token_id=0)
    assert [p["input_ids"].tolist() for p in prompts] == [[5, 6, 7, 8], [0, 7, 0], [6, 7, 8]]
    assert "attention_mask" not in prompts[0]
    np.testing.assert_array_equal(prompts[2]["attention_mask"], [[1, 0, 1]] * 3)

    four = np.arange(3 * 16, dtype=np.float32).reshape(3, 1, 4, 4)
    prompts = split_prompts({"input_ids": IDS, "attention_mask": four}, pad_token_id=0)
    np.testing.assert_array_equal(prompts[1]["attention_mask"], four[1, 0, 2:, 2:])
    prompts = split_prompts({"input_ids": IDS, "attention_mask": four[:, :, :1]}, pad_token_id=0)
    np.testing.assert_array_equal(prompts[1]["attention_mask"], [four[1, 0, 0, 2:]] * 2)


@pytest.mark.parametrize("mask", [None, np.array([[1, 1], [0, 0]])])
def test_a_row_of_padding_is_an_error(mask: np.ndarray | None) -> None:
    batch = {"input_ids": np.array([[5, 6], [0, 0]])}
    if mask is not None:
        batch["attention_mask"] = mask
    with pytest.raises(DataError, match="row 1 of the batch"):
        split_prompts(batch, pad_token_id=0)


def test_join() -> None:
    first, second = Generated(np.array([4, 5]), 1.5, "length"), Generated(np.array([3]), -2.0, "eos")
    ids, scores = join_results([[first], [second]], pad_token_id=9)
    assert (ids.tolist(), scores.tolist()) == ([[4, 5], [3, 9]], [[1.5], [-2.0]])
    assert (ids.dtype, scores.dtype) == (np.int64, np.float32)
    ids, scores = join_results([], pad_token_id=9)
    assert (ids.shape, scores.shape) == ((0, 0), (0, 1))


def test_gpt_hides_padding_unless_told_not_to() -> None:
    network = Network(CASES / "gpt_lm")
    options = GenerationOptions(max_new_tokens=6)

    def run(ids: list[int], **how: bool) -> np.ndarray:
        prompts = split_prompts({"input_ids": np.array([ids])}, pad_token_id=0, **how)
        return generate(CachedModel(network), [Request(prompt, options) for prompt in prompts])[0][0].ids

    prompt = [51, 9, 17, 66, 75]
    np.testing.assert_array_equal(run([0, 0, 0, *prompt]), run(prompt))
    assert run([0, 0, 0, *prompt], hide_padding=False).tolist() != run(prompt).tolist()
