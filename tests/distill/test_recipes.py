"""What the `distill` section may say, and where errors point."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_cli.base.errors import ErrorGroup, ZooError
from zoo_cli.recipe.loading import load_recipe, recipe_names
from zoo_cli.recipe.render import resolved_tree, to_yaml

BASE = """\
version: 1
model: {init: ernie-3.0-medium-zh}
task: {name: sequence_classification}
data: {format: jsonl, train: train.json, dev: dev.json}
distill:
  student:
    init: ernie-3.0-nano-zh
  stages:
    first:
      strategy: uniform
"""
GLUE = {
    "sst2": (64, 20),
    "qqp": (128, 10),
    "mrpc": (128, 20),
    "cola": (64, 50),
    "rte": (128, 20),
    "mnli": (128, 10),
    "qnli": (128, 10),
}


def write(folder: Path, text: str) -> str:
    path = folder / "r.yaml"
    path.write_text(text)
    return str(path)


def errors(name: str, *overrides: str) -> dict[str, int | None]:
    with pytest.raises(ZooError) as caught:
        load_recipe(name, overrides)
    found = caught.value.errors if isinstance(caught.value, ErrorGroup) else [caught.value]
    return {error.code: error.at.line if error.at else None for error in found}


@pytest.mark.parametrize("name", GLUE)
def test_published_values_of_glue(name: str) -> None:
    loaded = load_recipe(f"tinybert/{name}")
    section, train = loaded.recipe.distill, loaded.recipe.train
    assert section is not None
    assert (loaded.task.max_length, section.stages["intermediate"].training(train).epochs) == GLUE[name]  # type: ignore[attr-defined]
    rates = {"intermediate": 5e-5, "prediction": 3e-5}
    for stage, rate in rates.items():
        options = section.stages[stage].training(train)
        assert (options.learning_rate, options.batch_size, options.adam_epsilon) == (rate, 32, 1e-6)
        assert (options.weight_decay, options.warmup_ratio) == (0.0, 0.1)
    assert section.stages["prediction"].training(train).epochs == 3
    assert loaded.recipe.model.init == "bert-base-uncased"


def test_the_student_takes_the_shape_of_its_checkpoint(tmp_path: Path) -> None:
    loaded = load_recipe(write(tmp_path, BASE))
    student = loaded.recipe.distill.student  # type: ignore[union-attr]
    assert (student.family, student.config["num_hidden_layers"], student.config["hidden_size"]) == ("ernie", 4, 312)
    other = load_recipe(write(tmp_path, BASE), ["distill.student.init=ernie-3.0-micro-zh"])
    assert other.recipe.distill.student.config["hidden_size"] == 384  # type: ignore[union-attr]


def test_the_tiny_student_is_smaller_than_the_tiny_teacher(tmp_path: Path) -> None:
    loaded = load_recipe(write(tmp_path, BASE + "tiny: {model: {vocab: v.txt}}\n"), tiny=True)
    student, teacher = loaded.recipe.distill.student, loaded.recipe.model  # type: ignore[union-attr]
    assert (student.init, student.family) == ("scratch", "ernie")
    assert student.config["num_hidden_layers"] == 1 < teacher.config["num_hidden_layers"]
    assert student.config["max_position_embeddings"] == teacher.config["max_position_embeddings"]


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).recipe.distill])
@pytest.mark.parametrize("tiny", [False, True])
def test_resolved_recipes_read_back(name: str, tiny: bool, tmp_path: Path) -> None:
    loaded = load_recipe(name, tiny=tiny)
    tree = resolved_tree(loaded)
    for stage in tree["distill"]["stages"].values():
        if stage.get("strategy") != "online":  # which has no matches of two models
            assert stage["matches"] and "strategy" not in stage
    again = load_recipe(write(tmp_path, to_yaml(loaded, defaults=True, origins=False)))
    assert resolved_tree(again)["distill"] == tree["distill"]


def test_a_strategy_stays_where_a_shape_is_not_known(tmp_path: Path) -> None:
    loaded = load_recipe(write(tmp_path, BASE.replace("init: ernie-3.0-nano-zh", "init: not/there\n    family: ernie")))
    assert resolved_tree(loaded)["distill"]["stages"]["first"]["strategy"] == "uniform"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("      temperature: 0\n", {"wrong-value": 11}),
        ("      temprature: 2.0\n", {"unknown-key": 11}),
        ("      teacher_layer: 3\n", {"option-of-strategy": 9}),
        ("    second: {}\n", {"empty-stage": 11}),
        ("      matches:\n        - {feature: hidden, loss: mse, teacher: 7, student: 1}\n", {"no-layer": 12}),
        (
            "      matches:\n        - {feature: attention, loss: kl, teacher: 1, student: 1}\n"
            "        - {feature: labels, loss: kl}\n",
            {"key-of-match": 13},
        ),
        ("      train: {epochs: many}\n", {"wrong-value": 11}),
        ("      train: {end_learning_rate: 1.0}\n", {"rising-rate": 11}),
        ("      train: {warmup_steps: 10, max_steps: 5}\n", {"long-warmup": 11}),
        ("    second:\n      strategy: minilm\n      teacher_layer: 9\n", {"no-layer": 13}),
        ("    second: {strategy: pkd}\n", {"wrong-value": 11}),
        ("  cache_gigabytes: -1\n", {"wrong-value": 11}),
    ],
)
def test_wrong_values_are_found_before_training(tmp_path: Path, text: str, expected: dict[str, int]) -> None:
    assert errors(write(tmp_path, BASE + text)) == expected


@pytest.mark.parametrize(
    ("student", "code"),
    [
        ("{family: bret}", "unknown-family"),
        ("{init: ernie-3.0-nano-zh, config: {hiden_size: 3}}", "unknown-key"),
        ("{init: ernie-3.0-nano-zh, config: {hidden_size: 100}}", "heads"),
        ("{init: ernie-3.0-nano-zh, config: {max_position_embeddings: 100}}", "too-long"),
        ("{init: ernie-3.0-nano-zh, architecture: BertModel}", "unknown-architecture"),
        ("{init: plato-mini}", "task-of-family"),
    ],
)
def test_the_student_is_checked_like_the_model(tmp_path: Path, student: str, code: str) -> None:
    text = BASE.replace("student:\n    init: ernie-3.0-nano-zh\n", f"student: {student}\n")
    assert code in errors(write(tmp_path, text))


def test_a_share_needs_a_development_set(tmp_path: Path) -> None:
    assert "no-dev-set" in errors(
        write(tmp_path, BASE.replace(", dev: dev.json", "") + "gates: {teacher_share: 0.9}\n")
    )


def test_overrides_reach_into_a_stage_by_its_name(tmp_path: Path) -> None:
    loaded = load_recipe(
        write(tmp_path, BASE), ["distill.stages.first.train.epochs=2", "distill.stages.first.temperature=4"]
    )
    stage = loaded.recipe.distill.stages["first"]  # type: ignore[union-attr]
    assert (stage.training(loaded.recipe.train).epochs, stage.temperature) == (2.0, 4.0)
    assert errors(write(tmp_path, BASE), "distill.stages.first.train.epoch=2").keys() == {"unknown-key"}


def test_copies_need_a_development_set_of_their_own(tmp_path: Path) -> None:
    text = BASE.replace(", dev: dev.json", ", dev_fraction: 0.1").replace("  stages:", "  augmented: true\n  stages:")
    assert errors(write(tmp_path, text)) == {"augmented-dev": 8}


def test_published_numbers_of_copies() -> None:
    copies = {"sst2": 20, "qqp": 10, "mrpc": 30, "cola": 30, "rte": 30, "mnli": 10, "qnli": 20, "stsb": 30}
    for name, count in copies.items():
        section = load_recipe(f"tinybert/{name}").recipe.distill
        assert section is not None and not section.augmented
        own = section.augmentation
        assert (own.copies, own.candidates, own.probability, own.masked_lm) == (count, 15, 0.4, "bert-base-uncased")


CLUE = {
    "afqmc": (2e-5, 16, 3, 20),
    "tnews": (5e-5, 16, 3, 20),
    "iflytek": (5e-5, 16, 3, 20),
    "cmnli": (5e-5, 64, 2, 10),
    "ocnli": (3e-5, 16, 5, 20),
    "cluewsc2020": (3e-5, 16, 50, 50),
    "csl": (1e-5, 16, 5, 20),
}


@pytest.mark.parametrize("name", CLUE)
def test_values_of_clue(name: str) -> None:
    loaded = load_recipe(f"tinybert/{name}")
    section, train = loaded.recipe.distill, loaded.recipe.train
    assert section is not None and loaded.recipe.model.init == "bert-base-chinese"
    stages = {stage: options.training(train) for stage, options in section.stages.items()}
    assert (train.learning_rate, train.batch_size, train.epochs, stages["intermediate"].epochs) == CLUE[name]
    assert (stages["prediction"].epochs, stages["prediction"].learning_rate) == (3, 3e-5)
    for options in stages.values():
        assert (options.batch_size, options.weight_decay, options.warmup_ratio) == (32, 0.0, 0.1)
    assert (section.student.init, section.stages["intermediate"].projection) == ("tinybert-6l-768d-zh", "shared")
