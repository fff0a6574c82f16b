"""What is compared of a model and its graphs, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.engine.setup import from_recipe  # noqa: E402
from zoo_cli.export.encoder import EncoderGraph  # noqa: E402
from zoo_cli.export.parity import largest_difference, random_batch  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402


def test_the_largest_of_what_counts() -> None:
    one = [np.zeros((2, 3, 4), np.float32), np.zeros(2, np.float32)]
    other = [array.copy() for array in one]
    other[0][1, 2, 3], other[1][0] = 5.0, 2.0
    counts = np.array([[True] * 3, [True, True, False]])
    assert largest_difference(one, other) == 5.0
    assert largest_difference(one, other, [counts, None]) == 2.0
    assert largest_difference(one, other, [~counts, np.zeros(2, bool)]) == 5.0
    assert largest_difference(one, [other[0], np.zeros(3)]) == np.inf
    assert largest_difference([], []) == 0.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_counts_everywhere(wrong: float) -> None:
    found = largest_difference([np.zeros(3)], [np.array([0.0, wrong, 0.0])], [np.zeros(3, bool)])
    assert not np.isfinite(found)


@pytest.mark.parametrize("name", ["msra_ner", "c3", "cmrc2018"])
def test_what_a_model_makes_of_padding_is_not_compared(name: str) -> None:
    """ERNIE-Doc rounds scores of padding so coarsely that back ends disagree; all else does not depend on them."""
    loaded = load_recipe(f"ernie-doc/{name}.yaml", [], tiny=True)
    assembly = from_recipe(loaded, read_parts(loaded.recipe.data, 0, ("train",))["train"])
    graph = EncoderGraph(assembly)
    inputs = random_batch(assembly.task, assembly.model.config.vocab_size, 8, 24, 3)
    padding = inputs["attention_mask"] == 0
    results = []
    for token in (0, 7):
        ids = np.where(padding, token, inputs["input_ids"])
        with paddle.no_grad():
            output = assembly.model(
                **{key: paddle.to_tensor(each) for key, each in {**inputs, "input_ids": ids}.items()}
            )
        results.append([getattr(output, key).numpy() for key in graph.output_names])
    told = assembly.task.comparable(inputs)
    assert largest_difference(*results) > 0.1
    assert largest_difference(*results, [told.get(key) for key in graph.output_names]) < 1e-5
    memories = results[0][graph.output_names.index("memories")]  # [..., L, M, H]
    slots = np.broadcast_to(told["memories"], memories.shape[:-1])
    # As many are left out as there is padding: it stands at the end, which is remembered.
    assert (~slots).sum() == padding.sum() * memories.shape[-3]
