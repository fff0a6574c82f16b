"""`zoo_cli.export.bundle`: what is exported is the model, or it is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from tests import artifacts
from zoo_cli.base.errors import GateError, UsageError
from zoo_cli.base.files import read_json, sha256_file, verify_manifest, write_json, write_manifest
from zoo_cli.base.resources import locate
from zoo_cli.export import bundle as exporting
from zoo_cli.export import to_onnx
from zoo_cli.export.bundle import export
from zoo_cli.export.job import export_recipe
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.runtime.golden import read_golden
from zoo_cli.runtime.loading import load

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")


def test_what_the_receipt_says(tmp_path: Path) -> None:
    source = artifacts.model_folder("uie", tmp_path / "model")
    write_json(source / "metrics.json", {"f1": 0.25, "step": 3})
    write_manifest(source)
    loaded = artifacts.tiny_recipe("uie", "export.golden_requests=4", "train.seed=5")
    receipt = export_recipe(loaded, source, tmp_path)
    backends = ["onnx", "paddle"]
    shapes = {(each["batch"], each["length"]) for each in receipt["parity"]}
    assert len(shapes) >= 12
    assert {each["backend"] for each in receipt["parity"]} == set(backends)
    assert 0 < max(each["difference"] for each in receipt["parity"]) <= 1e-4
    assert receipt["golden_requests"] == 4
    folder = Path(receipt["bundle"])
    verify_manifest(folder)
    assert read_json(folder / "receipt.json")["parity"] == receipt["parity"]
    # The embedding table is stored once, without its mask of padding rows.
    assert receipt["bytes"]["onnx/fp32/model.onnx"] < 1.1 * receipt["bytes"]["model.safetensors"]
    assert receipt["golden_differences"] == {"onnx": 0, "paddle": 0}
    assert {(row["backend"], row["batch"]) for row in receipt["latency"]} == {
        (name, batch) for name in backends for batch in (1, 8)
    }
    assert all(row["ms"] > 0 for row in receipt["latency"])
    assert receipt["seed"] == 5
    (name,) = loaded.recipe.data.dev
    assert receipt["data"]["dev"] == {name: sha256_file(locate(name))}
    page = (folder / "RECEIPT.md").read_text(encoding="utf-8")
    for figure in ("4 of 4", "0.2500", "Seed of the training: 5", receipt["data"]["dev"][name], "zoo bench BUNDLE"):
        assert figure in page


def test_openvino_graph(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    source = artifacts.model_folder("uie", tmp_path / "model")
    receipt = export(source, tmp_path, ExportSection(backends=["openvino"]), artifacts.requests("uie"))
    folder = Path(receipt["bundle"])
    assert not (folder / "onnx").exists()
    assert not (folder / "paddle").exists()
    requests = [request for request, _ in read_golden(folder)]
    assert len(load(folder)(requests)) == len(requests)


def test_tolerance_is_a_gate(tmp_path: Path) -> None:
    source = artifacts.model_folder("bert", tmp_path / "model")
    section = ExportSection(backends=["onnx"], tolerance=1e-12)
    with pytest.raises(GateError) as caught:
        export(source, tmp_path, section, artifacts.requests("bert"))
    assert caught.value.exit_code == 6
    assert not (tmp_path / "bundle").exists()
    assert "onnx differs by" in read_json(tmp_path / "rejected" / "receipt.json")["failures"][0]
    assert "Refused" in (tmp_path / "rejected" / "RECEIPT.md").read_text()
    verify_manifest(tmp_path / "rejected")


def test_wrong_graph_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = to_onnx.convert

    def spoil(folder: Path, target: Path, *more: Any) -> Any:
        report = original(folder, target, *more)
        model = onnx.load(str(target))
        tensor = next(each for each in model.graph.initializer if len(each.dims) == 2 and each.dims[0] == each.dims[1])
        value = numpy_helper.to_array(tensor).copy()
        value[0, 0] += 1.0
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
        onnx.save(model, str(target))
        return report

    monkeypatch.setattr(exporting.to_onnx, "convert", spoil)
    source = artifacts.model_folder("bert", tmp_path / "model")
    with pytest.raises(GateError, match="onnx differs"):
        export(source, tmp_path, ExportSection(backends=["onnx", "paddle"]), artifacts.requests("bert"))
    failures = read_json(tmp_path / "rejected" / "receipt.json")["failures"]
    assert all("onnx" in failure for failure in failures)


def test_a_bundle_is_replaced_only_when_forced(tmp_path: Path) -> None:
    source = artifacts.model_folder("bert", tmp_path / "model")
    section = ExportSection(backends=["onnx"])
    export(source, tmp_path, section, artifacts.requests("bert"))
    with pytest.raises(UsageError) as caught:
        export(source, tmp_path, section, artifacts.requests("bert"))
    assert caught.value.code == "bundle-exists"
    export(source, tmp_path, section, artifacts.requests("bert"), force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "bundle"}
