"""The report of a whole run."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.artifacts import model_folder, requests, tiny_recipe
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.errors import ArtifactError  # noqa: E402
from zoo_cli.base.files import write_json, write_manifest, write_text  # noqa: E402
from zoo_cli.export.bundle import export  # noqa: E402
from zoo_cli.pipeline.page import write_page  # noqa: E402
from zoo_cli.recipe.render import to_yaml  # noqa: E402
from zoo_cli.recipe.schema import ExportSection  # noqa: E402


def exported(name: str, root: Path) -> None:
    """The untrained tiny model of a recipe, exported as a step would."""
    model = model_folder(name, root / "model")
    (model / "MANIFEST.json").unlink()
    write_text(model / "recipe.yaml", to_yaml(tiny_recipe(name), defaults=True, origins=False))
    write_manifest(model)
    export(model, root / "export", ExportSection(backends=["onnx"]), requests(name))
    shutil.rmtree(model)


def parsed(root: Path) -> tuple[ET.Element, str]:
    text = write_page(root).read_text(encoding="utf-8")
    assert "<script" not in text and "src=" not in text and "@import" not in text
    return ET.fromstring(text[text.index("<body>") : text.index("</html>")]), text


def headings(body: ET.Element) -> list[str]:
    return ["".join(each.itertext()) for each in body.iter() if each.tag in ("h2", "h3")]


@pytest.mark.parametrize("name", ["uie", "ernie"])
def test_a_whole_run(name: str, tmp_path: Path) -> None:
    exported(name, tmp_path)
    rows = [{"kind": "train", "step": 1, "loss": 1.0}, {"kind": "dev", "step": 2, "loss": 0.5, "f1": 0.5}]
    for verb in ("finetune", "prune"):
        write_text(tmp_path / verb / "recipe.yaml", "version: 1\n")
        write_text(tmp_path / verb / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    table = [
        {"model": model, "bytes": 10, "score": score, "alone_ms": ms, "batch_ms": ms / 2}
        for model, score, ms in (("unpruned", 0.9, 4.0), ("width 0.75", 0.85, 3.0), ("width 0.5", 0.8, 3.5))
    ]
    write_json(tmp_path / "prune" / "result.json", {"table": table})
    shape = {"batch": 1, "length": 32, "p50": 1.25, "throughput": 800.0}
    bench = {"place": "x/export/bundle", "backend": "onnx", "precision": "fp32", "threads": 1, "peak_megabytes": 90.0}
    write_json(tmp_path / "steps" / "bench.json", {"results": [{**bench, "shapes": [shape]}]})
    part = {"name": "train", "rows": 120, "unit": "characters", "lengths": {"mean": 9.0}, "labels": {"X": 3}}
    check = {"parts": [{**part, "prompts": {"人物": {"positives": 1, "negatives": 2}}}], "findings": []}
    write_json(tmp_path / "steps" / "check.json", check)
    body, text = parsed(tmp_path)
    found = headings(body)
    for heading in ("Answers", "Worst mistakes", "Lengths", "Compression", "Speed", "Training: finetune", "Data"):
        assert heading in found
    assert "Precision and recall by least score" in found or name == "uie"
    assert "Confusion: gold in rows, answers in columns" in found and "By label" in found
    assert "800" in text and "1 / 2" in text
    frontier = [line.get("points", "") for line in body.iter("polyline") if line.get("class") == "dashed"]
    assert len(frontier) == 1 and len(frontier[0].split()) == 2  # width 0.75 and unpruned; width 0.5 is beaten
    assert len([mark for mark in body.iter("mark") if mark.get("class") == "missed"]) > 1 or name == "ernie"


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        write_page(tmp_path)
    assert caught.value.code == "no-run" and not (tmp_path / "report.html").exists()
