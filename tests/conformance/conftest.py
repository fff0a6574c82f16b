from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import recipe
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402

Make = Callable[[str, str], Path]
Export = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Family and task -> the folder of a finished training run, with its recipe in `recipe.yaml`'s own folder."""

    @cache
    def make(name: str, task: str) -> Path:
        folder = tmp_path_factory.mktemp(f"{name}-{task}")
        finetune(recipe(name, task, folder / "recipe"), folder / "run")
        return folder / "run"

    return make


@pytest.fixture(scope="session")
def exported(trained: Make) -> Export:
    """Family and task -> the receipt of the trained model's export to all back ends that are installed."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")

    @cache
    def make(name: str, task: str) -> dict[str, Any]:
        run = trained(name, task)
        loaded = recipe(name, task, run.parent / "recipe")
        return export_recipe(loaded, run / "best", run.parent / "export")

    return make
