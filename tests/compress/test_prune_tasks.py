"""The verb on every kind of task and family that can be pruned: the result is an ordinary model that answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_cli import models
from zoo_cli.compress.prune import prune
from zoo_cli.engine.answering import evaluate_folder
from zoo_cli.engine.finetune import finetune
from zoo_cli.recipe.loading import load_recipe

QUICK = ["data.limit=12", "train.max_steps=2", "train.eval_steps=2", "prune.widths=[0.5]", "prune.examples=3"]
RECIPES = {
    "bert/sst2": ["prune.vocabulary=300"],
    "tinybert/sst2": [],
    "electra/sst2": ["prune.vocabulary=300"],
    "ernie-3.0/msra_ner": ["prune.vocabulary=300"],
    "ernie-3.0/cmrc2018": [],
    "ernie-3.0/c3": [],
    "ernie-m/xnli_transfer": ["prune.vocabulary=600"],
    "uie/msra": ["prune.vocabulary=300"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_half_the_width(name: str, tmp_path: Path) -> None:
    loaded = load_recipe(name, [*QUICK, *RECIPES[name], "gates.metric_drop=1.0"], tiny=True)
    finetune(loaded, tmp_path / "finetune")
    source = tmp_path / "finetune" / "best"
    prune(loaded, tmp_path / "prune", source)
    before, after = models.load_config(source), models.load(tmp_path / "prune" / "best", strict=True).config
    assert after.architecture == before.architecture
    for index in range(before.num_hidden_layers):
        wide, narrow = before.layer_sizes(index), after.layer_sizes(index)
        assert narrow.num_heads == max(1, wide.num_heads // 2)
        assert narrow.intermediate_size == wide.intermediate_size // 2
    if RECIPES[name]:
        assert after.vocab_size == int(RECIPES[name][0].partition("=")[2])
    rows = json.loads((tmp_path / "prune" / "result.json").read_text())["table"]
    scores = evaluate_folder(tmp_path / "prune" / "best", loaded, "dev")
    assert rows[1]["score"] in scores.values()
