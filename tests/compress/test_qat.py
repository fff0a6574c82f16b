"""Training with rounding: the integer graph computes what was trained, and a run can be resumed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest

from tests import artifacts
from zoo_cli.base.errors import ErrorGroup, UsageError
from zoo_cli.base.files import read_json, sha256_file
from zoo_cli.compress import qat
from zoo_cli.compress.fake_quant import QuantizedModel
from zoo_cli.compress.quantize import quantize_recipe
from zoo_cli.compress.scoring import relative_error
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.setup import load_folder
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe
from zoo_cli.runtime.backends import BACKENDS
from zoo_cli.runtime.verification import verify

STEPS = [
    "quantize.method=qat",
    "quantize.qat.train.max_steps=8",
    "quantize.qat.train.eval_steps=4",
    "train.learning_rate=1e-4",
]


def recipe(*overrides: str) -> LoadedRecipe:
    return load_recipe(artifacts.RECIPES["ernie"], [*STEPS, "data.limit=60", *overrides], tiny=True)


@pytest.mark.parametrize(("backend", "quanter"), [("onnx", "pact"), ("onnx", "lsq"), ("openvino", "min_max")])
def test_the_integer_graph_is_what_was_trained(backend: str, quanter: str, classifier: Path, tmp_path: Path) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    options = [f"quantize.backend={backend}", f"quantize.qat.quanter={quanter}", "quantize.embeddings=false"]
    loaded = recipe(*options)
    receipt = quantize_recipe(loaded, classifier, tmp_path)
    assert receipt["after"]["score"] >= 0.99
    assert receipt["chosen"]["calibration"] == "learned"
    assert receipt["chosen"]["integer_products"] == 14
    bundle, trained = Path(receipt["bundle"]), tmp_path / qat.RUN / "best"
    assert verify(bundle)["ok"]
    assert not (bundle / qat.RANGES).exists()

    ranges = read_json(trained / qat.RANGES)
    assert len(ranges) == 14
    # The trained model with rounding, rebuilt: its ranges are those of the file.
    assembly = load_folder(trained)
    examples = read_parts(loaded.recipe.data, 0, ("dev",))["dev"][:8]
    features = [assembly.task.encode(each, training=False)[0] for each in assembly.task.adapt(examples, False)]
    inputs = assembly.task.stack([{name: each[name] for name in assembly.task.graph_inputs} for each in features])
    tensors = {name: paddle.to_tensor(value) for name, value in inputs.items()}
    rounding = QuantizedModel(assembly.model, "min_max", lambda model: model(**tensors))
    for name, (low, high) in ranges.items():
        quanter_ = rounding.quanters[rounding._names[name]]
        paddle.assign(paddle.to_tensor([low]), quanter_.low)
        paddle.assign(paddle.to_tensor([high]), quanter_.high)
    with paddle.no_grad():
        expected = rounding(**tensors).logits.numpy()
    (found,) = BACKENDS[backend](bundle, "int8")(inputs)
    assert relative_error(np.asarray(found), expected) < 0.01


def test_training_moves_weights_and_ranges(classifier: Path, tmp_path: Path) -> None:
    loaded = recipe("train.learning_rate=1e-2")
    parts = read_parts(loaded.recipe.data, 0, ("train", "dev"))
    assert loaded.recipe.quantize is not None
    runs = {}
    for quanter in ("min_max", "pact", "lsq"):
        section = loaded.recipe.quantize.qat.model_copy(update={"quanter": quanter})
        runs[quanter] = read_json(qat.train(loaded, section, classifier, tmp_path / quanter, parts) / qat.RANGES)
    assert runs["min_max"].keys() == runs["lsq"].keys()
    assert len({tuple(map(tuple, each.values())) for each in runs.values()}) == 3


def test_a_run_goes_on_where_it_was(classifier: Path, tmp_path: Path) -> None:
    loaded = recipe("quantize.qat.train.save_steps=4")
    parts = read_parts(loaded.recipe.data, 0, ("train", "dev"))
    assert loaded.recipe.quantize is not None
    section = loaded.recipe.quantize.qat

    def train(folder: Path, **options: bool) -> Path:
        return qat.train(loaded, section, classifier, folder, parts, **options)

    train(tmp_path / "straight")
    shutil.copytree(tmp_path / "straight", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step-000008")
    shutil.rmtree(tmp_path / "killed" / "best")
    (tmp_path / "killed" / "result.json").unlink()
    with pytest.raises(UsageError) as caught:
        train(tmp_path / "killed")
    assert caught.value.code == "run-unfinished"
    train(tmp_path / "killed", resume=True)
    last = Path("checkpoints") / "step-000008"
    for file in ("model.safetensors", "optimizer.safetensors"):
        one, other = (sha256_file(tmp_path / run / last / file) for run in ("straight", "killed"))
        assert one == other, file
    # A finished one is taken as it is, unless it was made by another recipe.
    before = (tmp_path / "killed" / "result.json").stat().st_mtime_ns
    train(tmp_path / "killed")
    assert (tmp_path / "killed" / "result.json").stat().st_mtime_ns == before
    with pytest.raises(UsageError) as changed:
        qat.train(recipe("quantize.qat.quanter=lsq"), section, classifier, tmp_path / "killed", parts)
    assert changed.value.code == "recipe-changed"


def test_layers_are_not_computed_again() -> None:
    with pytest.raises((UsageError, ErrorGroup)) as caught:
        recipe("quantize.qat.train.recompute=true")
    assert caught.value.code == "no-such-route"
