"""The verb on the bundled samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import artifacts
from zoo_cli import models
from zoo_cli.base.errors import GateError, UsageError
from zoo_cli.compress.prune import prune
from zoo_cli.engine.answering import evaluate_folder, load_pipeline
from zoo_cli.models.checkpoint import read_weights
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe

QUICK = ["data.limit=60", "train.max_steps=12", "train.eval_steps=6", "train.save_steps=3"]


def recipe(*overrides: str) -> LoadedRecipe:
    return load_recipe(artifacts.RECIPES["ernie"], [*QUICK, *overrides], tiny=True)


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def finished(classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prune") / "run"
    options = ["prune.widths=[0.5, 1.0]", "prune.layers=1", "prune.vocabulary=400", "prune.positions=48"]
    prune(recipe(*options, "prune.examples=12", "gates.metric_drop=1.0"), folder, classifier)
    return folder


def test_the_table_has_every_width(finished: Path, classifier: Path) -> None:
    rows = {row["model"]: row for row in result(finished)["table"]}
    assert list(rows) == ["unpruned", "width 1", "width 0.5"]
    assert rows["unpruned"]["parameters"] > rows["width 1"]["parameters"] > rows["width 0.5"]["parameters"]
    assert all(row["alone_ms"] > 0 and row["batch_ms"] > 0 for row in rows.values())
    scores = evaluate_folder(finished / "widths" / "0.5" / "best", recipe(), "dev")
    assert rows["width 0.5"]["score"] == pytest.approx(scores[result(finished)["metric"]])
    assert "width 0.5" in (finished / "pruning.md").read_text()


def test_the_narrowest_that_keeps_to_the_gates_is_chosen(finished: Path) -> None:
    assert result(finished)["chosen"] == "width 0.5"
    config = models.load_config(finished / "best")
    assert (config.num_hidden_layers, config.vocab_size, config.max_position_embeddings) == (1, 400, 48)
    texts = ["今天的比赛很精彩。", "今天的比赛很精彩。" * 20]  # the second one is cut to 48 tokens
    answers = list(load_pipeline(finished / "best")(texts))
    assert len(answers) == 2


def test_a_width_that_loses_too_much_is_rejected(classifier: Path, tmp_path: Path) -> None:
    changes = ["prune.widths=[0.1]", "prune.layers=1", "prune.stage.train.max_steps=1", "gates.teacher_share=1.5"]
    with pytest.raises(GateError) as caught:
        prune(recipe(*changes), tmp_path / "run", classifier)
    assert caught.value.exit_code == 6
    assert (tmp_path / "run" / "rejected" / "config.json").is_file() and not (tmp_path / "run" / "best").exists()


def test_a_run_goes_on_where_it_was(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ["prune.widths=[0.75, 0.5]", "gates.metric_drop=1.0"]
    prune(recipe(*changes), tmp_path / "whole", classifier)

    from zoo_cli.compress import prune as module
    from zoo_cli.distill import course

    calls = []

    def interrupted(model: Any, objective: Any, batches: Any, options: Any, run: Any, *rest: Any) -> Any:
        calls.append(run)
        if len(calls) == 2:
            with run:
                raise KeyboardInterrupt
        return original(model, objective, batches, options, run, *rest)

    original = course.train
    monkeypatch.setattr(course, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prune(recipe(*changes), tmp_path / "run", classifier)
    monkeypatch.delattr(module, "importance")  # it is there already
    prune(recipe(*changes), tmp_path / "run", classifier, resume=True)
    assert len(calls) == 3  # the first width is not trained again
    whole, resumed = (read_weights(tmp_path / name / "best") for name in ("whole", "run"))
    assert whole.keys() == resumed.keys() and all((whole[name] == resumed[name]).all() for name in whole)


def test_a_drop_of_the_metric_is_judged(classifier: Path, tmp_path: Path) -> None:
    """The gate of the recipe, as in every other verb; limits of size and speed are for graphs."""
    changes = ["prune.widths=[0.1]", "prune.layers=1", "prune.stage.train.max_steps=1", "prune.examples=4"]
    with pytest.raises(GateError, match=r"gates\.metric_drop is 0\.01"):
        prune(recipe(*changes, "gates.metric_drop=0.01"), tmp_path / "run", classifier)
    limits = ["gates.metric_drop=1.0", "gates.size_ratio=0.01", "gates.speed_up=99"]
    prune(recipe(*changes, *limits), tmp_path / "other", classifier)


def test_models_that_learnt_alone_stand_beside_the_others(classifier: Path, tmp_path: Path) -> None:
    changes = ["prune.widths=[0.5]", "prune.baseline=true", "prune.uneven=true", "gates.metric_drop=1.0"]
    prune(recipe(*changes, "prune.examples=4"), tmp_path / "run", classifier)
    found = result(tmp_path / "run")
    assert [row["model"] for row in found["table"]] == ["unpruned", "width 0.5", "width 0.5 alone"]
    assert found["table"][1]["parameters"] == found["table"][2]["parameters"] and found["chosen"] == "width 0.5"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "width 0.5 alone" in page and page.count("<circle") >= 3


def test_without_a_section_there_is_nothing_to_do(classifier: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        prune(recipe(), tmp_path / "run", classifier)
    assert caught.value.code == "no-pruning"
