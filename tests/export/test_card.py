"""The card of a bundle."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.artifacts import model_folder, requests, tiny_recipe
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.files import verify_manifest  # noqa: E402
from zoo_cli.export.bundle import export  # noqa: E402
from zoo_cli.export.receipt import provenance  # noqa: E402
from zoo_cli.recipe.loading import load_recipe  # noqa: E402


def test_a_bundle_has_a_card(tmp_path: Path) -> None:
    loaded = tiny_recipe("bert", "export.licence=MIT", "export.backends=[onnx]")
    source = model_folder("bert", tmp_path / "model")
    receipt = export(source, tmp_path, loaded.recipe.export, requests("bert"), about=provenance(loaded, source))
    bundle = Path(receipt["bundle"])
    assert "README.md" in verify_manifest(bundle)["files"]
    _, head, text = (bundle / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    assert yaml.safe_load(head) == {
        "license": "MIT",
        "language": "unknown",
        "library_name": "zoo-cli",
        "tags": ["sequence_classification", "BertForSequenceClassification"],
    }
    assert receipt["data"]["dev"]["sample:sst2/dev.tsv"] in text
    assert "zoo serve" in text and "onnx fp32" in text
    code = text.partition("```python\n")[2].partition("```")[0].replace("path/of/this/folder", str(bundle))
    said: list[object] = []
    exec(code, {"print": said.append})  # the lines that users copy
    assert said


def test_the_origin_of_published_weights_is_known(tmp_path: Path) -> None:
    loaded = load_recipe("uie/msra.yaml")
    assert provenance(loaded, tmp_path)["origin"] == {
        "init": "uie-base",
        "source": "https://github.com/PaddlePaddle/PaddleNLP",
        "language": "zh",
        "licence": "Apache-2.0",
    }
