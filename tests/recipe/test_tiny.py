"""The tiny twins of the shipped recipes: their data suit task and tokenizer, and they train."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

from zoo_cli.base.files import read_json  # noqa: E402
from zoo_cli.data.parts import read_parts  # noqa: E402
from zoo_cli.engine.finetune import finetune  # noqa: E402
from zoo_cli.engine.setup import from_recipe  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe, recipe_names  # noqa: E402
from zoo_cli.registry import resolve, task  # noqa: E402
from zoo_cli.tasks.generative import GenerativeTask  # noqa: E402


def _supervised() -> dict[str, LoadedRecipe]:
    loaded = {name: load_recipe(name, tiny=True) for name in sorted(recipe_names())}
    return {name: each for name, each in loaded.items() if each.recipe.data.train}


TINY = _supervised()


def _one_of_each_kind() -> list[str]:
    """For each family and task one recipe; generation has tests of its own, which may take their time."""
    kinds: dict[tuple[str, str], str] = {}
    for name, loaded in TINY.items():
        if not issubclass(resolve(task(loaded.task_name).implementation), GenerativeTask):
            kinds.setdefault((loaded.recipe.model.family, loaded.task_name), name)
    return list(kinds.values())


@pytest.mark.parametrize("name", TINY)
def test_the_data_suit_task_and_tokenizer(name: str) -> None:
    loaded = TINY[name]
    parts = read_parts(loaded.recipe.data, 0, ("train", "dev"))
    assembly = from_recipe(loaded, parts["train"])
    subject, tokenizer = assembly.task, assembly.tokenizer
    examples = [example for rows in parts.values() for example in islice(subject.adapt(rows, training=True), 8)]
    features = [feature for example in examples for feature in subject.encode(example, training=True)]
    assert len(features) >= 8
    ids = [number for feature in features for number in feature["input_ids"].ravel().tolist()]
    # GPT's token for what is unknown also ends every text.
    assert ids.count(tokenizer.unk_token_id) < 0.05 * len(ids)


@pytest.mark.parametrize("name", _one_of_each_kind())
def test_a_few_steps(name: str, tmp_path: Path) -> None:
    steps = ["train.max_steps=2", "train.eval_steps=2"]
    finetune(load_recipe(name, steps, tiny=True), tmp_path / "run")
    metrics = read_json(tmp_path / "run" / "best" / "metrics.json")
    assert metrics["step"] == 2
    assert 0.0 <= metrics[task(TINY[name].task_name).metric] <= 1.0
