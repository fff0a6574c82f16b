from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from zoo_cli.decoding.options import GenerationOptions


def test_defaults_are_paddlenlps() -> None:
    options = GenerationOptions()
    assert (options.decode_strategy, options.max_new_tokens, options.min_new_tokens) == ("greedy_search", 20, 0)
    assert (options.temperature, options.top_k, options.top_p, options.num_beams) == (1.0, 0, 1.0, 1)
    assert (options.length_penalty, options.repetition_penalty, options.diversity_rate) == (1.0, 1.0, 0.0)


def test_old_length_names() -> None:
    options = GenerationOptions(max_length=9, min_length=3)
    assert (options.max_new_tokens, options.min_new_tokens) == (9, 3)
    with pytest.raises(ValidationError, match="two names of one option; keep max_new_tokens"):
        GenerationOptions(max_length=9, max_new_tokens=9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min_new_tokens": 9, "max_new_tokens": 8}, r"min_new_tokens \(9\) is larger than max_new_tokens \(8\)"),
        ({"min_length": 21}, r"min_new_tokens \(21\) is larger"),
        ({"num_beams": 4, "num_beam_groups": 3}, r"num_beams \(4\) is not a multiple of num_beam_groups \(3\)"),
        ({"num_beam_groups": 2}, "not a multiple"),
        ({"num_return_sequences": 2}, "greedy_search has one result"),
        (
            {"decode_strategy": "beam_search", "num_beams": 2, "num_return_sequences": 3},
            r"num_return_sequences \(3\) is larger than num_beams \(2\)",
        ),
        ({"decode_strategy": "beam"}, "beam_search"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"temperature": math.inf}, "finite"),
        ({"top_p": 0.0}, "greater than 0"),
        ({"top_p": 1.5}, "less than or equal to 1"),
        ({"top_k": -1}, "greater than or equal to 0"),
        ({"repetition_penalty": 0}, "greater than 0"),
        ({"max_new_tokens": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"num_beam": 2}, "Extra inputs"),
    ],
)
def test_contradictions_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GenerationOptions(**given)


def test_width_is_what_a_prompt_takes_of_the_batch() -> None:
    assert GenerationOptions(num_beams=4).width == 1
    assert GenerationOptions(decode_strategy="beam_search", num_beams=4, num_return_sequences=2).width == 4
    assert GenerationOptions(decode_strategy="sampling", num_return_sequences=3).width == 3
