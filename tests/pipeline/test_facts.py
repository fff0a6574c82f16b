"""What a step depends on: each file that it reads counts by its content."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from zoo_cli.base.errors import DataError
from zoo_cli.pipeline.facts import Facts, Hashes, facts_of
from zoo_cli.pipeline.steps import steps_of
from zoo_cli.recipe.loading import load_recipe


def facts_by_step(recipe: str, *overrides: str) -> dict[str, Facts]:
    loaded = load_recipe(recipe, overrides, tiny=True)
    return {step.name: facts_of(step, loaded, {}, Hashes()) for step in steps_of(loaded.recipe)}


def changed_steps(change: Callable[[], object], recipe: str, *overrides: str) -> list[str]:
    """The steps whose facts are others after a change of files."""
    before, _, after = facts_by_step(recipe, *overrides), change(), facts_by_step(recipe, *overrides)
    assert before.keys() == after.keys()
    return [name for name in before if before[name] != after[name]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(name: str, content: str = "一") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return path

    return write


def test_texts_to_be_labelled_are_read_by_the_student(write: Callable[..., Path]) -> None:
    texts = write("texts.txt")
    overrides = [f"distill.labelling.texts={texts}", "distill.labelling.format=text"]
    assert changed_steps(lambda: write("texts.txt", "二"), "uie/msra_distill.yaml", *overrides) == ["distill"]


@pytest.mark.parametrize("key", ["corpora", "parallel", "dev"])
@pytest.mark.parametrize("name", ["file.tsv", "folder/a.txt"])
def test_raw_text_of_pretraining(write: Callable[..., Path], key: str, name: str) -> None:
    place = write(name)
    entry = place if name == "file.tsv" else place.parent
    overrides = [f"pretrain.{key}={entry}"]
    assert changed_steps(lambda: write(name, "二"), "ernie-m/pretrain.yaml", *overrides) == ["pretrain"]
    write("folder2/a.txt")  # has the beginning of its name only
    assert changed_steps(lambda: write("folder2/a.txt", "二"), "ernie-m/pretrain.yaml", *overrides) == []


def test_pairs_of_files_and_corpora(write: Callable[..., Path]) -> None:
    sides = [write(f"texts.{language}") for language in ("en", "zh")]
    pair = f"pretrain.parallel={sides[0]}|{sides[1]}"
    for side in sides:
        assert changed_steps(lambda name=side.name: write(name, "二"), "ernie-m/pretrain.yaml", pair) == ["pretrain"]
    write("zh[1]_ids.npy"), write("zh[1]_idx.npz")
    corpus = f"pretrain.corpora={sides[0].parent / 'zh[1]'}"
    assert changed_steps(lambda: write("zh[1]_idx.npz", "二"), "bert/pretrain.yaml", corpus) == ["pretrain"]


@pytest.mark.parametrize(
    ("name", "counts"), [("merges.txt", True), ("sentencepiece.bpe.model", True), ("events.log", False)]
)
def test_files_of_a_model_folder(write: Callable[..., Path], name: str, counts: bool) -> None:
    config = {"model_type": "bert", "vocab_size": 9, "hidden_size": 4, "num_attention_heads": 1}
    folder = write("model/config.json", json.dumps(config)).parent
    write(f"model/{name}")
    found = changed_steps(lambda: write(f"model/{name}", "二"), "bert/sst2.yaml", f"model.init={folder}")
    assert found == (["finetune"] if counts else [])


def test_missing_text_is_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        facts_by_step("ernie-m/pretrain.yaml", f"pretrain.parallel={tmp_path / 'a'}|{tmp_path / 'b'}")
    assert caught.value.code == "missing-file"
