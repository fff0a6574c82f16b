"""`zoo generate` and `zoo chat` with the name of a published checkpoint, which a local server has in a small size."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.base.file_server import FileServer, serving
from zoo_cli.base import download
from zoo_cli.base.environment import prepare_paddle
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.resources import locate
from zoo_cli.cli.chat import chat
from zoo_cli.cli.generate import generate
from zoo_cli.recipe import presets

prepare_paddle("cpu")

from zoo_cli import models, tokenizers  # noqa: E402

SAMPLES = {"plato-mini": "unified_transformer", "gpt-cpm-small-cn-distill": "gpt_cn"}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serves the two checkpoints at their published addresses; their presets say how small they are."""
    files: dict[str, bytes] = {}
    for name, sample in SAMPLES.items():
        folder, vocabulary = tmp_path / name, locate(f"sample:vocab/{sample}")
        preset = yaml.safe_load(presets._preset_files()[name].read_text(encoding="utf-8"))
        size = len(tokenizers.load(vocabulary, class_name=preset["tokenizer"]["class"]))
        preset["config"] |= {**SIZES, "vocab_size": size}
        if name == "plato-mini":
            preset["config"]["mask_token_id"] = size - 1
        models.save(models.build(preset["architecture"], preset["config"]), folder, "paddlenlp")
        for file, url in preset["tokenizer"]["files"].items():
            files["/" + url.split("/", 3)[3]] = (vocabulary / file).read_bytes()
        files["/" + preset["weights"]["url"].split("/", 3)[3]] = (folder / "model_state.pdparams").read_bytes()
        (folder / "preset.yaml").write_text(yaml.safe_dump(preset, sort_keys=False), encoding="utf-8")
        monkeypatch.setitem(presets._preset_files(), name, folder / "preset.yaml")
    presets.load_preset.cache_clear()
    with serving(files=files) as running:
        monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("ZOO_MIRROR", running.base)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("ZOO_OFFLINE", "1")  # so that what --offline sets is undone after the test
        monkeypatch.delenv("ZOO_OFFLINE")
        monkeypatch.setattr(download, "FIRST_PAUSE", 0.0)
        yield running
    presets.load_preset.cache_clear()


GREEDY: dict[str, Any] = {"decode_strategy": "greedy_search", "max_new_tokens": 4, "min_new_tokens": 2}


def test_generate_downloads_once(server: FileServer, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path("gpt-cpm-small-cn-distill")
    generate(source=source, text="从前有座山", as_json=True, **GREEDY)
    answer = json.loads(capsys.readouterr().out)
    assert 2 <= answer["tokens"] <= 4
    assert (presets.weights_folder(str(source)) / "model_state.pdparams").is_file()
    asked = len(server.requests)
    assert asked == 2
    generate(source=source, text="从前有座山", as_json=True, offline=True, **GREEDY)
    assert json.loads(capsys.readouterr().out) == answer and len(server.requests) == asked


def test_chat_with_a_published_model(
    server: FileServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("你好\n/quit\n"))
    chat(source=Path("plato-mini"), params=["decode_strategy=greedy_search", "max_new_tokens=3", "min_new_tokens=2"])
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert len(server.requests) == 3


def test_offline_says_which_file_to_put_where(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_MIRROR")
    with pytest.raises(ArtifactError) as caught:
        generate(source=Path("plato-mini"), text="你好", offline=True)
    assert caught.value.code == "offline"
    assert str(presets.weights_folder("plato-mini") / "vocab.txt") in str(caught.value.fix)
    assert not server.requests


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("plato-mni", UsageError, "no published checkpoint 'plato-mni'"),
        ("bert-base-chinese", UsageError, "models of bert do not generate"),
        ("nothing/of/that/kind", ArtifactError, "there is no model here"),
    ],
)
def test_other_names(server: FileServer, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        generate(source=Path(name), text="你好")
    assert not server.requests


def test_a_folder_of_the_same_name_comes_first(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # it has a folder plato-mini, without a tokenizer
    with pytest.raises(ArtifactError):
        generate(source=Path("plato-mini"), text="你好")
    assert not server.requests
