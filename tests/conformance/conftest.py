from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import recipe
from tests.conftest import Shared
from zoo_cli.base.environment import prepare_paddle
from zoo_cli.base.files import read_json, write_json

prepare_paddle("cpu")

from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.export.job import export_recipe  # noqa: E402

Make = Callable[[str, str], Path]
Export = Callable[[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def trained(shared: Shared) -> Make:
    """Family and task -> the folder of a finished training run, with its recipe in `recipe.yaml`'s own folder."""

    def make(name: str, task: str) -> Path:
        def train(folder: Path) -> None:
            finetune(recipe(name, task, folder / "recipe"), folder / "run")

        return shared(f"{name}-{task}", train) / "run"

    return make


@pytest.fixture(scope="session")
def exported(shared: Shared, trained: Make) -> Export:
    """Family and task -> the receipt of the trained model's export to all back ends that are installed."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("paddle2onnx")

    def make(name: str, task: str) -> dict[str, Any]:
        run = trained(name, task)

        def export(folder: Path) -> None:
            loaded = recipe(name, task, run.parent / "recipe")
            write_json(folder / "report.json", export_recipe(loaded, run / "best", folder / "export"))

        return read_json(shared(f"{name}-{task}-export", export) / "report.json")

    return make
