"""What verbs read when no `--from` says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_cli.base.errors import ArtifactError
from zoo_cli.base.files import write_json
from zoo_cli.cli.jobs import source_of
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe, run_folder

BOTH = ["distill.baseline=false", "prune.widths=[0.5]"]


def trained(loaded: LoadedRecipe, verb: str) -> Path:
    folder = run_folder(loaded, verb)
    write_json(folder / "best" / "config.json", {})
    write_json(folder / "result.json", {})
    return folder / "best"


def test_the_nearest_verb_before_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe("tinybert/sst2.yaml", BOTH)
    made = {verb: trained(loaded, verb) for verb in ("finetune", "distill", "prune")}
    assert source_of(loaded, None, "distill") == made["finetune"]
    assert source_of(loaded, None, "prune") == made["distill"]
    for verb in ("quantize", "export", None):
        assert source_of(loaded, None, verb) == made["prune"]
    assert source_of(load_recipe("bert/sst2.yaml"), tmp_path / made["distill"], "export") == tmp_path / made["distill"]


def test_never_simply_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded = load_recipe("tinybert/sst2.yaml", BOTH)
    trained(loaded, "finetune")
    with pytest.raises(ArtifactError) as caught:
        source_of(loaded, None, "export")
    assert caught.value.code == "no-model" and "zoo prune" in str(caught.value)
