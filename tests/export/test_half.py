"""Graphs in half precision, and what ONNX Runtime fuses."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from tests import artifacts
from zoo_cli.base.errors import ErrorGroup, GateError, UsageError
from zoo_cli.base.files import read_json
from zoo_cli.export import bundle as exporting
from zoo_cli.export.bundle import export
from zoo_cli.export.rewriting import fused_nodes
from zoo_cli.recipe.schema import ExportSection
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.loading import open_bundle
from zoo_cli.runtime.verification import verify

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")


def test_half_of_the_size_and_nearly_the_same_answers(tmp_path: Path) -> None:
    source = artifacts.model_folder("bert", tmp_path / "model")
    section = ExportSection(backends=["onnx"], precisions=["fp32", "fp16"])
    receipt = export(source, tmp_path, section, artifacts.requests("bert"))
    bundle = Path(receipt["bundle"])
    assert graphs(bundle) == [("onnx", "fp32"), ("onnx", "fp16")]
    sizes = receipt["bytes"]
    assert sizes["onnx/fp16/model.onnx"] < 0.55 * sizes["onnx/fp32/model.onnx"]
    worst = {
        name: max(row["difference"] for row in receipt["parity"] if row["backend"] == name)
        for name in ("onnx", "onnx fp16")
    }
    assert worst["onnx"] < 1e-4 < worst["onnx fp16"] < 0.05
    assert len([row for row in receipt["parity"] if row["backend"] == "onnx fp16"]) >= 12
    report = verify(bundle)
    assert report["ok"] and [each["precision"] for each in report["graphs"]] == ["fp32", "fp16"]
    kinds = {tensor.data_type for tensor in onnx.load(str(bundle / "onnx" / "fp16" / "model.onnx")).graph.initializer}
    assert onnx.TensorProto.FLOAT not in kinds and onnx.TensorProto.FLOAT16 in kinds
    assert open_bundle(bundle, precision="fp16").precision == "fp16"
    assert "onnx fp16" in (bundle / "RECEIPT.md").read_text(encoding="utf-8")


def test_half_precision_has_a_gate_of_its_own(tmp_path: Path) -> None:
    source = artifacts.model_folder("bert", tmp_path / "model")
    section = ExportSection(backends=["onnx"], precisions=["fp32", "fp16"], half_tolerance=1e-7)
    with pytest.raises(GateError, match="onnx fp16 differs"):
        export(source, tmp_path, section, artifacts.requests("bert"))


def test_what_is_fused_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = artifacts.bundle("bert", tmp_path, "onnx")
    passes = read_json(bundle / "receipt.json")["onnx_passes"]
    found = fused_nodes(bundle / "onnx" / "fp32" / "model.onnx")
    assert passes["fused_nodes"] == sum(found.values()) > 0
    assert passes["fused_BiasGelu"] == found["BiasGelu"] == 2  # one for each layer
    monkeypatch.setattr(exporting, "fused_nodes", lambda graph: {})
    source = artifacts.model_folder("bert", tmp_path / "again")
    with pytest.raises(GateError, match="fuses nothing"):
        export(source, tmp_path / "run", ExportSection(backends=["onnx"]), artifacts.requests("bert"))


@pytest.mark.parametrize(("precisions", "reason"), [("[fp32, bf16]", "bfloat16"), ("[fp16]", "made of fp32")])
def test_precisions_that_cannot_be_written(precisions: str, reason: str) -> None:
    with pytest.raises((UsageError, ErrorGroup), match=reason) as caught:
        artifacts.tiny_recipe("bert", f"export.precisions={precisions}")
    assert caught.value.code == "no-such-route"
