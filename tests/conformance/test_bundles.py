"""Every task with one family, and every family with one task: exported, verified and served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.cases import CASES, TRAINED
from tests.conformance.conftest import Export, Make
from zoo_cli.engine.answering import load_pipeline
from zoo_cli.export.parity import shapes
from zoo_cli.runtime.golden import read_golden, same_answer
from zoo_cli.runtime.verification import verify

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize(("name", "task_name"), TRAINED)
def test_all_back_ends_compute_the_model(name: str, task_name: str, exported: Export) -> None:
    receipt, longest = exported(name, task_name), CASES[task_name].task.get("max_length", 64)
    assert receipt["failures"] == []
    for backend in receipt["backends"]:
        found = [row for row in receipt["parity"] if row["backend"] == backend]
        assert {(row["batch"], row["length"]) for row in found} == set(shapes(longest))
        assert max(row["difference"] for row in found) <= 1e-4
    bundle = Path(receipt["bundle"])
    report = verify(bundle)
    assert report["ok"] and report["requests"] == min(3, len(read_golden(bundle)))
    assert [graph["status"] for graph in report["graphs"]] == ["same"] * len(receipt["backends"])


@pytest.mark.parametrize(("name", "task_name"), TRAINED)
def test_axes_bear_names(name: str, task_name: str, exported: Export) -> None:
    graph = onnx.load(str(Path(exported(name, task_name)["bundle"]) / "onnx" / "fp32" / "model.onnx")).graph
    for value in graph.input:
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert axes[0] == "batch"
        assert all(axis in ("length", "choices") or isinstance(axis, int) for axis in axes[1:]), value.name
    shapes_of = {value.name: str(value.type.tensor_type.shape) for value in (*graph.input, *graph.output)}
    for value in graph.output:
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
        if value.name.startswith("next_"):  # what is handed on
            assert shapes_of[value.name] == shapes_of[value.name.removeprefix("next_")]


@pytest.fixture(scope="module")
def served(exported: Export) -> Iterator[Any]:
    """A client of one server with all bundles."""
    pytest.importorskip("fastapi")
    from starlette.testclient import TestClient

    from zoo_cli.recipe.schema import ServedModel, ServeSection
    from zoo_cli.serve.app import create_app
    from zoo_cli.serve.metrics import Metrics
    from zoo_cli.serve.server import open_models

    models = {f"{name}.{task}": ServedModel(bundle=exported(name, task)["bundle"]) for name, task in TRAINED}
    settings = ServeSection(models=models, threads=1, access_log=False)
    metrics = Metrics()
    application, _ = create_app(settings, open_models(settings, metrics), metrics)
    with TestClient(application) as client:
        while client.get("/readyz").status_code != 200:
            assert client.get("/livez").status_code == 200
        yield client


@pytest.mark.parametrize(("name", "task_name"), TRAINED)
def test_the_server_answers_as_the_model_does(name: str, task_name: str, trained: Make, served: Any) -> None:
    request = CASES[task_name].request
    fields = {"text": request} if isinstance(request, str) else request
    response = served.post(f"/v1/{task_name}", json={**fields, "model": f"{name}.{task_name}"})
    assert response.status_code == 200, response.text
    expected = load_pipeline(trained(name, task_name) / "best")(request)
    assert same_answer(response.json()["answer"], json.loads(json.dumps(expected)), 1e-4)
