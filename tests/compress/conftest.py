from __future__ import annotations

from pathlib import Path

import pytest

from tests import artifacts
from zoo_cli.engine.finetune import finetune
from zoo_cli.recipe.loading import load_recipe

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny classifier that has learnt its task."""
    folder = tmp_path_factory.mktemp("classifier")
    finetune(load_recipe(artifacts.RECIPES["ernie"], tiny=True), folder)
    return folder / "best"


@pytest.fixture(scope="session")
def float_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained UIE with an ONNX graph."""
    return artifacts.bundle("uie", tmp_path_factory.mktemp("float"), "onnx")
