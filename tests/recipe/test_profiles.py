"""Profiles of `configs/deploy`: below the recipe, above the defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_cli.base.errors import ErrorGroup, UsageError
from zoo_cli.base.resources import resource_folder
from zoo_cli.recipe.loading import load_recipe

PROFILES = sorted(path.stem for path in (resource_folder("configs") / "deploy").glob("*.yaml"))


def test_what_there_is() -> None:
    assert PROFILES == ["cpu-latency", "cpu-throughput", "edge", "gpu-fp16"]


@pytest.mark.parametrize("tiny", [False, True])
@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_fits_every_recipe(name: str, tiny: bool) -> None:
    for recipe in ("uie/msra", "ernie-3.0/tnews_compress", "gpt/poetry"):
        loaded = load_recipe(recipe, [f"deploy={name}"], tiny=tiny)
        assert loaded.recipe.deploy == name
        assert loaded.layered.origin(("serve", "precision")).layer == f"profile {name}"  # type: ignore[union-attr]
    assert load_recipe("uie/msra").recipe.serve.precision is None


def test_a_recipe_has_the_last_word(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("version: 1\nextends: uie/msra\ndeploy: edge\nquantize: {method: static}\n", encoding="utf-8")
    loaded = load_recipe(str(own))
    assert loaded.recipe.quantize is not None
    assert (loaded.recipe.quantize.method, loaded.recipe.serve.threads, loaded.recipe.gates.size_ratio) == (
        "static",
        1,
        0.4,
    )
    assert load_recipe(str(own), ["serve.threads=2"]).recipe.serve.threads == 2


def test_an_unknown_profile() -> None:
    with pytest.raises((UsageError, ErrorGroup)) as caught:
        load_recipe("uie/msra", ["deploy=edgy"])
    assert caught.value.code == "unknown-profile"
    assert "cpu-latency" in str(caught.value)
