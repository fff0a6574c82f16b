"""`zoo quantize` as a whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests import artifacts
from zoo_cli.base.errors import DataError, ErrorGroup, GateError, UsageError
from zoo_cli.base.files import read_json
from zoo_cli.compress import routes
from zoo_cli.compress.quantize import quantize_recipe
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.runtime.backends import graphs
from zoo_cli.runtime.verification import verify

ERNIE = artifacts.RECIPES["ernie"]


def recipe(*overrides: str) -> LoadedRecipe:
    return load_recipe(ERNIE, overrides, tiny=True)


def test_nncf_reports_nothing_to_its_makers() -> None:
    """In a process of its own, since NNCF is silent under pytest anyway."""
    pytest.importorskip("nncf")
    code = """
from zoo_cli.compress.routes import load_nncf
load_nncf()
from nncf.telemetry import wrapper
print(isinstance(wrapper.telemetry, wrapper.NNCFTelemetry))
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout == "False\n"


@pytest.mark.parametrize(
    ("backend", "method"), [("onnx", "dynamic"), ("onnx", "static"), ("openvino", "static")], ids=lambda value: value
)
def test_a_learnt_model_survives(backend: str, method: str, classifier: Path, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
        pytest.importorskip("nncf")
    loaded = recipe(f"quantize.backend={backend}", f"quantize.method={method}", "gates.size_ratio=0.4")
    receipt = quantize_recipe(loaded, classifier, tmp_path)
    assert receipt["before"]["score"] == 1.0
    assert receipt["after"]["score"] >= 0.99
    assert receipt["chosen"]["integer_products"] >= 14
    assert receipt["bytes_after"] < 0.4 * receipt["bytes_before"]
    assert len(receipt["candidates"]) == (1 if method == "dynamic" else 4 if backend == "onnx" else 5)
    assert receipt["calibration"]["lengths"][0] < receipt["calibration"]["lengths"][1]
    bundle = Path(receipt["bundle"])
    assert graphs(bundle) == [(backend, "int8")]
    assert not (bundle / "model.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
    report = verify(bundle)
    assert report["ok"]
    assert report["tolerance"] == 0.02
    with pytest.raises(UsageError) as caught:
        quantize_recipe(loaded, classifier, tmp_path)
    assert caught.value.code == "bundle-exists"
    with pytest.raises(UsageError) as again:
        quantize_recipe(loaded, bundle, tmp_path / "again")
    assert again.value.code == "already-quantized"


def test_tables_may_stay_in_float(float_bundle: Path, tmp_path: Path) -> None:
    loaded = artifacts.tiny_recipe("uie", "quantize.embeddings=false", "gates.metric_drop=1.0")
    receipt = quantize_recipe(loaded, float_bundle, tmp_path)
    assert receipt["bytes_after"] > 0.5 * receipt["bytes_before"]


def test_ranges_of_fewer_examples_are_tried_too(float_bundle: Path, tmp_path: Path) -> None:
    own = ["quantize.method=static", "quantize.calibration=[min_max, entropy]", "gates.metric_drop=1.0"]
    loaded = artifacts.tiny_recipe("uie", *own, "quantize.calibration_examples=[2, 8]", "data.limit=8")
    receipt = quantize_recipe(loaded, float_bundle, tmp_path)
    names = [each["calibration"] for each in receipt["candidates"]]
    assert names == ["min_max", "min_max-2", "entropy", "entropy-2"]
    assert receipt["calibration"]["examples"] == 8
    assert receipt["calibration"]["fewer"].keys() == {"2"}
    assert receipt["calibration"]["fewer"]["2"] != receipt["calibration"]["sha256"]
    section = artifacts.tiny_recipe("uie", "quantize.calibration_examples=8").recipe.quantize
    assert section is not None and section.calibration_examples == [8]


def test_a_gate_that_breaks_rejects(float_bundle: Path, tmp_path: Path) -> None:
    loaded = artifacts.tiny_recipe("uie", "quantize.method=dynamic", "gates.metric_drop=1.0", "gates.size_ratio=0.01")
    with pytest.raises(GateError) as caught:
        quantize_recipe(loaded, float_bundle, tmp_path)
    assert caught.value.exit_code == 6
    assert [path.name for path in tmp_path.iterdir()] == ["rejected"]
    failures = read_json(tmp_path / "rejected" / "receipt.json")["failures"]
    assert len(failures) == 1
    assert "gates.size_ratio" in failures[0]
    assert "Refused" in (tmp_path / "rejected" / "RECEIPT.md").read_text(encoding="utf-8")


def test_the_layer_that_breaks_the_model_returns_to_float(
    classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A range so wide that all becomes zero ruins the model; the search finds the product that has it."""
    original = routes.onnx_int8.quantize
    spoilt: list[str] = []

    def widen(model, names, ranges=None, pairs=False):  # type: ignore[no-untyped-def]
        products = routes.onnx_int8.weight_products(model)
        spoilt[:] = [list(products)[-1]]
        activation = products[spoilt[0]]
        return original(model, names, {**ranges, activation: (-1e6, 1e6)}, pairs)

    monkeypatch.setattr(routes.onnx_int8, "quantize", widen)
    loaded = recipe("quantize.method=static", "quantize.calibration=[min_max]")
    receipt = quantize_recipe(loaded, classifier, tmp_path)
    assert receipt["chosen"]["kept_in_float"] == spoilt
    assert receipt["candidates"][0]["metric"] < 0.9
    assert receipt["after"]["score"] >= 0.99
    assert max(receipt["sensitivity"], key=receipt["sensitivity"].get) == spoilt[0]
    assert spoilt[0] in (Path(receipt["bundle"]) / "RECEIPT.md").read_text(encoding="utf-8")


def test_development_data_is_needed(float_bundle: Path, tmp_path: Path) -> None:
    loaded = artifacts.tiny_recipe("uie")
    loaded.recipe.data.dev = []
    with pytest.raises(DataError):
        quantize_recipe(loaded, float_bundle, tmp_path)


@pytest.mark.parametrize(
    ("overrides", "key", "way_out"),
    [
        (["quantize.backend=paddle"], "quantize.backend", "onnx or openvino"),
        (["quantize.backend=openvino"], "quantize.method", "static"),
        (["quantize.method=static", "quantize.calibration=[nncf]"], "quantize.calibration", "openvino"),
    ],
)
def test_routes_that_lead_nowhere_are_refused(overrides: list[str], key: str, way_out: str) -> None:
    with pytest.raises((UsageError, ErrorGroup)) as caught:
        recipe(*overrides)
    assert caught.value.code == "no-such-route"
    assert way_out in (caught.value.fix or "")


def test_the_command_says_what_it_would_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "zoo_cli", "quantize", "-r", ERNIE, "--tiny", "--dry-run", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"verb": "quantize"' in done.stdout
    assert not list(tmp_path.iterdir())
