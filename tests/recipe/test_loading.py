"""Layers, overrides, origins, and errors with places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_cli.base.errors import ErrorGroup, UsageError, ZooError
from zoo_cli.recipe.loading import find_recipe, load_recipe, recipe_names
from zoo_cli.recipe.render import json_schema, new_recipe, resolved_tree, to_yaml

MINIMAL = """\
version: 1
model:
  family: ernie
  vocab: vocab.txt
task:
  name: extraction
"""


def _write(folder: Path, text: str, name: str = "r.yaml") -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def _errors(name: str, *overrides: str) -> list[ZooError]:
    with pytest.raises(ZooError) as caught:
        load_recipe(name, overrides)
    return list(caught.value.errors) if isinstance(caught.value, ErrorGroup) else [caught.value]


@pytest.mark.parametrize("name", sorted(recipe_names()))
@pytest.mark.parametrize("tiny", [False, True])
def test_shipped_recipes_are_valid(name: str, tiny: bool) -> None:
    loaded = load_recipe(f"{name}.yaml", tiny=tiny)
    assert loaded.name == name
    assert loaded.recipe.description
    if tiny:
        assert loaded.recipe.model.init == "scratch"
        assert all(path.startswith("sample:") for path in [*loaded.recipe.data.train, *loaded.recipe.data.dev])


def test_all_errors_at_once_with_places_and_suggestions(tmp_path: Path) -> None:
    name = _write(tmp_path, MINIMAL + "  max_lenght: 3\ntrain:\n  learnig_rate: 1\n  epochs: many\n  seed: true\n")
    errors = {error.code + ":" + str(error.at and error.at.line): error for error in _errors(name)}
    assert set(errors) == {"unknown-key:7", "unknown-key:9", "wrong-value:10", "wrong-value:11"}
    assert "learning_rate" in str(errors["unknown-key:9"].fix)
    assert "max_length" in str(errors["unknown-key:7"].fix)
    assert all(error.exit_code == 2 for error in errors.values())


def test_layers_and_origins(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL + "train: {epochs: 7, seed: 1}\n", "base.yaml")
    name = _write(tmp_path, "version: 1\nextends: base.yaml\ntrain:\n  seed: 2\n")
    loaded = load_recipe(name, ["train.batch_size=8"])
    train = loaded.recipe.train
    assert (train.epochs, train.seed, train.batch_size) == (7, 2, 8)
    text = to_yaml(loaded, defaults=True, origins=True)
    origin = {line.split(":")[0].strip(): line.partition("#")[2].strip() for line in text.splitlines() if "#" in line}
    assert origin["epochs"].startswith("extends") and origin["epochs"].endswith("base.yaml:7")
    assert origin["seed"].startswith("recipe") and "r.yaml:4" in origin["seed"]
    assert origin["batch_size"].startswith("command line")
    assert origin["learning_rate"] == "default"


def test_extends_one_level_only(tmp_path: Path) -> None:
    _write(tmp_path, MINIMAL, "a.yaml")
    _write(tmp_path, "version: 1\nextends: a.yaml\n", "b.yaml")
    name = _write(tmp_path, "version: 1\nextends: b.yaml\n")
    assert _errors(name)[0].code == "extends-depth"


def test_preset_fills_family_and_configuration(tmp_path: Path) -> None:
    name = _write(tmp_path, "version: 1\nmodel: {init: 'scratch:ernie-3.0-nano-zh'}\ntask: {name: extraction}\n")
    loaded = load_recipe(name, ["model.config.num_hidden_layers=2"])
    assert loaded.recipe.model.family == "ernie"
    assert loaded.recipe.model.config["hidden_size"] == 312
    assert loaded.recipe.model.config["num_hidden_layers"] == 2
    assert loaded.checkpoint is None
    assert loaded.preset == "ernie-3.0-nano-zh"


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train.learning_rate=3e-5", ("train", "learning_rate"), 3e-5),
        ("train.max_steps=null", ("train", "max_steps"), None),
        ("data.train=a=b.txt", ("data", "train"), ["a=b.txt"]),
        ("data.train=[a.txt, b.txt]", ("data", "train"), ["a.txt", "b.txt"]),
        ("description=12", ("description",), "12"),
        ("model.vocab=007", ("model", "vocab"), "007"),
        ("data.labels.NO=yes", ("data", "labels", "NO"), "yes"),
        ("task.schema=[NO, YES]", ("task", "schema"), ["NO", "YES"]),
        ("train.recompute=true", ("train", "recompute"), True),
    ],
)
def test_overrides_follow_the_type_of_the_key(
    tmp_path: Path, override: str, path: tuple[str, ...], value: object
) -> None:
    extra = [] if path[0] != "data" else ["data.format=bio"]
    tree: object = resolved_tree(load_recipe(_write(tmp_path, MINIMAL), [override, *extra]))
    for key in path:
        tree = tree[key]  # type: ignore[index]
    assert tree == value


@pytest.mark.parametrize(
    ("override", "code"),
    [
        ("train.epoch=3", "unknown-key"),
        ("train.epochs=three", "wrong-value"),
        ("train.epochs", "override-syntax"),
        ("=3", "override-syntax"),
        ("nothing.at.all=3", "unknown-key"),
        ("task.name=extract", "unknown-task"),
        ("model.family=berd", "unknown-family"),
        ("model.config.hidden_sise=3", "unknown-key"),
        ("data.format=boi", "unknown-format"),
        ("train.warmup_ratio=1.5", "wrong-value"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, code: str) -> None:
    errors = _errors(_write(tmp_path, MINIMAL), override)
    assert code in [error.code for error in errors]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("task:\n  name: extraction\n  max_length: 4096\nmodel: {init: uie-base}\nversion: 1\n", "too-long"),
        (MINIMAL.replace("  vocab: vocab.txt\n", ""), "no-vocabulary"),
        (MINIMAL + "data: {train: x.txt}\n", "no-format"),
        (
            MINIMAL.replace("extraction", "sequence_classification") + "data: {train: x.txt, format: prompt}\n",
            "format-of-task",
        ),
        (MINIMAL + "data: {train: x.txt, format: bio, dev: y.txt, dev_fraction: 0.1}\n", "two-dev-sets"),
        (MINIMAL + "train: {batch_size: 2, batch_tokens: 100}\n", "two-batch-sizes"),
        (MINIMAL + "train: {warmup_ratio: 0.1, warmup_steps: 5}\n", "two-warmups"),
        (MINIMAL + "train: {warmup_steps: 5, max_steps: 5}\n", "long-warmup"),
        (MINIMAL + "train: {learning_rate: 0.1, end_learning_rate: 0.2}\n", "rising-rate"),
        (
            MINIMAL.replace("vocab: vocab.txt", "vocab: v.txt\n  config: {hidden_size: 10, num_attention_heads: 3}"),
            "heads",
        ),
        (MINIMAL.replace("vocab: vocab.txt", "vocab: v.txt\n  architecture: BertModel"), "unknown-architecture"),
    ],
)
def test_rules(tmp_path: Path, text: str, code: str) -> None:
    errors = _errors(_write(tmp_path, text))
    assert [error.code for error in errors] == [code]
    assert errors[0].at is not None
    assert errors[0].at.line is not None


@pytest.mark.parametrize("content", [b"\xff\xfeabc", b"- 1\n- 2\n", b"", b"12\n", "version: 1\n名".encode()[:-1]])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(UsageError):
        load_recipe(str(path))


def test_names_are_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        find_recipe("uie/mrsa.yaml")
    assert "uie/msra" in str(caught.value)


def test_own_folder_of_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "team").mkdir()
    _write(tmp_path / "team", MINIMAL, "ner.yaml")
    monkeypatch.setenv("ZOO_RECIPE_PATH", str(tmp_path))
    assert load_recipe("team/ner").name == "team/ner"


def test_resolved_recipe_reads_back(tmp_path: Path) -> None:
    for name in recipe_names():
        loaded = load_recipe(name)
        again = load_recipe(_write(tmp_path, to_yaml(loaded, defaults=True, origins=False)))
        assert resolved_tree(again) == resolved_tree(loaded)


def test_new_recipe_is_valid(tmp_path: Path) -> None:
    for task in ("extraction", "token_classification", "sequence_classification"):
        load_recipe(_write(tmp_path, new_recipe("ernie", task, "ernie-3.0-nano-zh", "data/train.txt", None)))


@pytest.mark.parametrize("sample", [False, True])
def test_tiny_runs_of_own_data_keep_their_development_rows(tmp_path: Path, sample: bool) -> None:
    text = new_recipe("ernie", "extraction", "uie-base", "data/train.jsonl", "doccano")
    text += "tiny:\n  data: {train: sample:doccano/train.jsonl}\n" if sample else ""
    data = load_recipe(_write(tmp_path, text), tiny=True).recipe.data
    assert data.train == ["sample:doccano/train.jsonl" if sample else "data/train.jsonl"]
    assert data.dev_fraction == (0.0 if sample else 0.1)


def test_json_schema_knows_tasks_and_sections() -> None:
    schema = json_schema()
    names = {branch["properties"]["name"]["const"] for branch in schema["properties"]["task"]["oneOf"]}
    assert "extraction" in names
    assert schema["additionalProperties"] is False
    assert "learning_rate" in schema["$defs"]["TrainSection"]["properties"]


@pytest.mark.parametrize(
    ("place", "config"),
    [
        ("config.json", {"architectures": ["BertForTokenClassification"], "model_type": "bert"}),
        ("best/config.json", {"architectures": ["BertModel"]}),
        ("model_config.json", {"init_class": "BertForPretraining", "init_args": [{"init_class": "BertModel"}]}),
        ("model_config.json", {"init_args": [{"init_class": "BertModel", "vocab_size": 3}], "num_classes": 2}),
    ],
)
def test_a_model_folder_tells_its_family(tmp_path: Path, place: str, config: dict[str, object]) -> None:
    path = tmp_path / "model" / place
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(config), encoding="utf-8")
    text = f"version: 1\nmodel:\n  init: {tmp_path / 'model'}\ntask:\n  name: sequence_classification\n"
    assert load_recipe(_write(tmp_path, text)).recipe.model.family == "bert"


def test_a_folder_that_does_not_tell_its_family_asks_for_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["Unheard"]}', encoding="utf-8")
    (error,) = _errors(_write(tmp_path, f"version: 1\nmodel:\n  init: {tmp_path}\ntask:\n  name: extraction\n"))
    assert error.code == "unknown-family" and "model.family" in str(error.fix)
