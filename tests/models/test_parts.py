"""Checkpoints in several files, and reading no more of them than is asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from safetensors.numpy import save_file

from tests.models.support import tiny
from zoo_cli import models
from zoo_cli.base.errors import ArtifactError
from zoo_cli.models import checkpoint
from zoo_cli.models.base import Model
from zoo_cli.models.stored import safetensors_tensors

ROOT = Path(__file__).parents[2]


def cut(folder: Path, name: str, parts: int = 3) -> list[Path]:
    """Cut the weight file of a folder into parts with an index."""
    stem, ending = name.split(".")
    weights = checkpoint.read_weights(folder)
    (folder / name).unlink()
    places = {key: f"{stem}-{1 + index % parts:05d}-of-{parts:05d}.{ending}" for index, key in enumerate(weights)}
    for place in sorted(set(places.values())):
        own = {key: weights[key] for key in weights if places[key] == place}
        save_file(own, folder / place) if ending == "safetensors" else checkpoint.write_pdparams(folder / place, own)
    index = {"metadata": {"total_size": sum(value.nbytes for value in weights.values())}, "weight_map": places}
    (folder / f"{name}.index.json").write_text(json.dumps(index))
    return sorted(folder.glob(f"{stem}-*"))


def same(one: Model, other: Model) -> bool:
    theirs = other.state_dict()
    return all(np.array_equal(value.numpy(), theirs[name].numpy()) for name, value in one.state_dict().items())


@pytest.mark.parametrize(
    "layout, name",
    [("zoo", "model.safetensors"), ("huggingface", "model.safetensors"), ("paddlenlp", "model_state.pdparams")],
)
@pytest.mark.parametrize("architecture", ["GPTForCausalLM", "BertForMaskedLM"])
def test_parts_are_read_like_one_file(layout: str, name: str, architecture: str, tmp_path: Path) -> None:
    model = tiny(architecture)
    models.save(model, tmp_path, layout)  # type: ignore[arg-type]
    parts = cut(tmp_path, name)
    assert len(parts) == 3
    assert checkpoint.find_layout(tmp_path) == layout
    assert same(model, models.load(tmp_path, strict=True))
    parts[1].unlink()
    with pytest.raises(ArtifactError, match=f"the part {parts[1].name} is missing"):
        models.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "../elsewhere"}}', "{"])
def test_a_broken_index_is_refused(text: str, tmp_path: Path) -> None:
    models.save(tiny("GPTModel"), tmp_path)
    cut(tmp_path, "model.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"index|JSON"):
        models.load(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "model_state.pdparams"])
def test_an_index_that_names_the_wrong_part_is_refused(name: str, tmp_path: Path) -> None:
    models.save(tiny("GPTModel"), tmp_path, "zoo" if name == "model.safetensors" else "paddlenlp")
    parts = cut(tmp_path, name)
    path = tmp_path / f"{name}.index.json"
    index = json.loads(path.read_text())
    misplaced = next(key for key, place in index["weight_map"].items() if place == parts[1].name)
    index["weight_map"][misplaced] = parts[0].name
    path.write_text(json.dumps(index))
    with pytest.raises(ArtifactError, match=f"the index says that '{misplaced}' is here"):
        models.load(tmp_path)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float16"])
def test_slices_of_a_tensor(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import safetensors.paddle

    monkeypatch.setattr("zoo_cli.models.stored._BLOCK", 64)  # several blocks of a few rows
    whole = paddle.to_tensor(np.random.default_rng(0).standard_normal((12, 8, 3)).astype(np.float32)).astype(kind)
    safetensors.paddle.save_file({"a": whole, "b": whole[0, 0], "c": paddle.ones([])}, str(tmp_path / "x.safetensors"))
    tensors = safetensors_tensors(tmp_path / "x.safetensors")
    expected = whole.astype("float32").numpy()
    for part in ((), (slice(3, 9),), (slice(0, 12), slice(4, 8)), (slice(2, 5), slice(1, 2), slice(0, 2))):
        np.testing.assert_array_equal(tensors["a"].read(part), expected[part])
    np.testing.assert_array_equal(tensors["b"].read((slice(1, 3),)), expected[0, 0, 1:3])
    assert tensors["c"].read().shape == () and tensors["c"].shape == ()


LOAD = """
import sys
from pathlib import Path
from zoo_cli.engine.device import use_device
use_device("cpu")
from paddle.base import core
import paddle.distributed as dist
from zoo_cli import models
from zoo_cli.models.parallel import TensorGroup

def status(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

group = None
if sys.argv[2] != "alone":
    dist.init_parallel_env()
    group = TensorGroup(tuple(range(dist.get_world_size())), dist.get_rank())
models.load(sys.argv[3], group=group)  # what the first one needs besides weights
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
model = models.load(sys.argv[1], group=group)
grown = status("VmHWM") - before
Path(sys.argv[2] + str(dist.get_rank() if group else "")).write_text(str(grown))
"""


def test_no_process_holds_the_whole_model(tmp_path: Path) -> None:
    """Two processes load a model of 160 MB: each one's memory grows by its half and by the largest tensor at most."""
    sizes = {"hidden_size": 512, "num_hidden_layers": 12, "intermediate_size": 2048, "num_attention_heads": 8}
    model = models.build("GPTForCausalLM", {**sizes, "vocab_size": 4000, "max_position_embeddings": 64})
    size = sum(value.size for value in model.state_dict().values()) * 4
    largest = 4000 * 512 * 4
    models.save(model, tmp_path / "large")
    cut(tmp_path / "large", "model.safetensors")
    models.save(tiny("GPTForCausalLM"), tmp_path / "small")
    del model
    script = tmp_path / "load.py"
    script.write_text(LOAD)
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(tmp_path / "logs")]
    subprocess.run(
        [
            sys.executable,
            *launch,
            str(script),
            str(tmp_path / "large"),
            str(tmp_path / "grown"),
            str(tmp_path / "small"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )
    grown = [int((tmp_path / f"grown{rank}").read_text()) for rank in range(2)]
    assert size > 150e6
    assert max(grown) < size / 2 + 3 * largest
