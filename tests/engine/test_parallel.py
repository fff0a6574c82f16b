"""Models whose layers 2 and 4 processes share: the same weights after ten steps, scores and texts as of one process."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.engine.conftest import Processes
from tests.engine.shared_model import ARCHITECTURES, OPTIONS, run
from zoo_cli.base.errors import UsageError
from zoo_cli.engine.distributed import World
from zoo_cli.models.config import parse
from zoo_cli.models.parallel import TensorGroup
from zoo_cli.models.sharding import indivisible, share, split_axis
from zoo_cli.models.sizes import parameter_shapes
from zoo_cli.recipe.loading import load_recipe
from zoo_cli.recipe.schema import ParallelSection, TrainSection
from zoo_cli.registry import family

FILES = ("checkpoints/step-000010/model.safetensors", "checkpoints/step-000010/optimizer.safetensors")


def compare(first: Path, second: Path) -> None:
    """Weights, optimiser state, best model and logits agree to 1e-5; generated ids are the same."""
    for name in ARCHITECTURES:
        for file in (*FILES, "best/model.safetensors"):
            one, two = load_file(first / name / file), load_file(second / name / file)
            assert one.keys() == two.keys()
            for key, value in one.items():
                np.testing.assert_allclose(two[key], value, rtol=0, atol=1e-5, err_msg=f"{name}: {key}")
        answers, others = np.load(first / name / "answers.npz"), np.load(second / name / "answers.npz")
        np.testing.assert_allclose(others["logits"], answers["logits"], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(others["ids"], answers["ids"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Runs of one process, by the number of forward passes in a step."""
    folder = tmp_path_factory.mktemp("alone")
    for passes in (1, 2):
        for name in ARCHITECTURES:
            run(folder / str(passes), name, TrainSection(**OPTIONS, gradient_accumulation=passes))
    return {passes: folder / str(passes) for passes in (1, 2)}


@pytest.mark.parametrize(
    "settings, count, passes",
    [
        pytest.param(["tensor=2", "data=2"], 4, 2, id="2 groups of 2"),
        pytest.param(["tensor=4", "recompute=true"], 4, 1, id="4 processes share each layer, with recomputation"),
    ],
)
def test_several_processes_equal_one(
    settings: list[str], count: int, passes: int, alone: dict[int, Path], tmp_path: Path, processes: Processes
) -> None:
    logs = tmp_path / "logs"
    code, errors = processes.run(tmp_path / "run", *settings, launch=logs, name="shared_model", count=count)
    assert code == 0, errors + "".join(path.read_text() for path in logs.glob("workerlog.*"))
    compare(alone[passes], tmp_path / "run")
    if passes == 1:
        return
    # A checkpoint does not depend on how the model was shared: one process goes on from that of four.
    for name in ARCHITECTURES:
        for file in ("result.json", "checkpoints/step-000010", "answers.npz"):
            place = tmp_path / "run" / name / file
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        run(tmp_path / "run", name, TrainSection(**OPTIONS, gradient_accumulation=passes), resume=True)
    compare(alone[passes], tmp_path / "run")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_what_is_divided(name: str) -> None:
    spec = family(name)
    config = parse(spec.config, spec.tiny)
    shapes = parameter_shapes(ARCHITECTURES[name], config)
    axes = {key: split_axis(key, shape, 4) for key, shape in shapes.items()}
    layer = f"{spec.prefix}.{'decoder' if name == 'gpt' else 'encoder'}.layers.1."
    assert axes[f"{layer}self_attn.q_proj.weight"] == axes[f"{layer}linear1.weight"] == 1
    assert axes[f"{layer}self_attn.v_proj.bias"] == axes[f"{layer}linear1.bias"] == 0
    assert axes[f"{layer}self_attn.out_proj.weight"] == axes[f"{layer}linear2.weight"] == 0
    assert axes[f"{layer}self_attn.out_proj.bias"] is axes[f"{layer}norm1.weight"] is None
    assert axes[f"{spec.prefix}.embeddings.word_embeddings.weight"] == 0
    assert split_axis(f"{spec.prefix}.embeddings.word_embeddings.weight", (121, 32), 4) is None
    assert all(split_axis(key, shape, 1) is None for key, shape in shapes.items())


def test_parts_make_up_the_whole() -> None:
    assert [share(12, 3, index) for index in range(3)] == [slice(0, 4), slice(4, 8), slice(8, 12)]


def test_groups_of_processes() -> None:
    worlds = [World(rank, 6, 2) for rank in range(6)]
    assert [world.group for world in worlds] == [0, 0, 1, 1, 2, 2]
    assert worlds[3].shares == TensorGroup((2, 3), 1)
    assert World(1, 2).shares is None
    assert ParallelSection(tensor=2).groups(6) == 3
    for section, count in ((ParallelSection(tensor=4), 6), (ParallelSection(tensor=2, data=2), 2)):
        with pytest.raises(UsageError, match="processes"):
            section.groups(count)


@pytest.mark.parametrize(
    "recipe, overrides, message",
    [
        ("gpt/pretrain", ["train.parallel.tensor=3"], "3 does not divide the 16 heads"),
        ("bert/cola", ["train.parallel.tensor=2"], "layers of bert are not divided"),
        ("gpt/pretrain", ["train.parallel.tensor=0"], "greater than or equal to 1"),
        ("gpt/pretrain", ["train.parallel.tensors=2"], "did you mean|unknown"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_the_recipe(recipe: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_recipe(recipe, overrides)


def test_neurons_have_to_come_out_even() -> None:
    values: dict[str, Any] = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 66}
    config = parse(family("gpt").config, values)
    assert indivisible(config, 2) is None
    assert "66 feed-forward neurons" in (indivisible(config, 4) or "")
