"""`zoo bench`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import artifacts
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.pipeline.bench import bench, contestants, percentile, write_report

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("bench")
    return [artifacts.bundle(name, folder / name, "onnx", "paddle") for name in ("uie", "bert")]


def test_bundles_and_back_ends_side_by_side(bundles: list[Path]) -> None:
    report = bench(contestants(bundles, ["onnx"], [], [1]), batches=[1, 4], lengths=[8, 32], rounds=2)
    assert [result["place"] for result in report["results"]] == [str(bundle) for bundle in bundles]
    for result in report["results"]:
        assert 0 < result["load_megabytes"] < result["peak_megabytes"]
        assert [(shape["batch"], shape["length"]) for shape in result["shapes"]] == [(1, 8), (1, 32), (4, 8), (4, 32)]
        for shape in result["shapes"]:
            assert shape["calls"] >= 2
            assert 0 < shape["p50"] <= shape["p95"] <= shape["p99"]
            assert shape["cpu"] > 0
            assert shape["throughput"] == pytest.approx(shape["batch"] / shape["p50"] * 1000)


def test_choice_of_graphs(bundles: list[Path]) -> None:
    found = contestants(bundles, ["paddle"], ["fp32"], [1, 2])
    assert [(each.backend, each.threads) for each in found] == [("paddle", 1), ("paddle", 2)] * 2
    with pytest.raises(UsageError) as caught:
        contestants(bundles, [], ["int8"], [1])
    assert caught.value.code == "nothing-to-measure"


def test_models_and_files_beside_bundles(bundles: list[Path], tmp_path: Path) -> None:
    """The model's own code where there is no graph or where it is asked for; and a graph without anything around it."""
    file, model = tmp_path / "own.onnx", bundles[1].parent / "model"
    shutil.copyfile(bundles[1] / "onnx" / "fp32" / "model.onnx", file)
    found = contestants([model, file, bundles[1]], ["onnx", "dygraph"], [], [1])
    assert [(each.place, each.backend, each.precision) for each in found] == [
        (model, "dygraph", "fp32"),
        (file, "onnx", "file"),
        (bundles[1], "onnx", "fp32"),
        (bundles[1], "dygraph", "fp32"),
    ]
    assert [each.backend for each in contestants([model, bundles[1]], [], [], [1])] == ["dygraph", "onnx", "paddle"]
    report = bench(found[:2], batches=[1, 2], lengths=[8], rounds=1)
    for result in report["results"]:
        assert all(shape["p50"] > 0 for shape in result["shapes"])
    write_report(report, tmp_path / "report")
    assert json.loads((tmp_path / "report" / "bench.json").read_text()) == report
    assert len((tmp_path / "report" / "bench.md").read_text().splitlines()) == 2 + 4
    page = (tmp_path / "report" / "bench.html").read_text()
    assert "polyline" in page and "own.onnx" in page


def test_what_is_no_model(bundles: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        contestants([tmp_path], [], [], [1])
    assert caught.value.code == "no-model"
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtifactError) as broken:
        bench(contestants([tmp_path / "broken.onnx"], [], [], [1]), [1], [8], rounds=1)
    assert broken.value.code == "broken-graph"


def test_damaged_bundle(bundles: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundles[0], tmp_path / "copy"))
    (copy / "onnx" / "fp32" / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtifactError):
        contestants([copy], [], [], [1])


def test_percentile_is_the_nearest_rank() -> None:
    values = sorted(np.random.default_rng(0).normal(size=101).tolist())
    for share in (0.5, 0.95, 0.99, 1.0):
        below = sum(value <= percentile(values, share) for value in values)
        assert below == int(np.ceil(share * len(values)))
    assert percentile([3.0], 0.99) == 3.0


def test_command(bundles: list[Path]) -> None:
    zoo = [sys.executable, "-m", "zoo_cli", "bench", str(bundles[0].parent), "--backend", "onnx", "--rounds", "1"]
    done = subprocess.run(
        [*zoo, "--batch", "2", "--length", "16", "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["shapes"][0]["batch"] == 2
    table = subprocess.run([*zoo, "--batch", "2", "--length", "16"], capture_output=True, text=True, check=False)
    assert len(table.stdout.splitlines()) == 2
    wrong = subprocess.run([*zoo, "--batch", "two"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "bad-list" in wrong.stderr
