"""Configurations: aliases, defaults, checks, old files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.base.errors import ArtifactError, ErrorGroup, Location, UsageError
from zoo_cli.models import load_config
from zoo_cli.models.bert.config import BertConfig
from zoo_cli.models.config import LayerSizes, flatten_legacy, override, parse
from zoo_cli.models.ernie.config import ErnieConfig


def test_older_names_are_understood_and_the_key_itself_wins() -> None:
    config = parse(BertConfig, {"num_classes": 7, "dropout": 0.3})
    assert (config.num_labels, config.classifier_dropout, config.head_dropout) == (7, 0.3, 0.3)
    assert parse(BertConfig, {"num_classes": 7, "num_labels": 4}).num_labels == 4
    assert parse(BertConfig, {"hidden_dropout_prob": 0.2}).head_dropout == 0.2
    assert parse(BertConfig, {"hidden_dropout_prob": 0.2, "classifier_dropout": 0.0}).head_dropout == 0.0


def test_defaults_are_those_of_paddlenlp() -> None:
    bert, ernie = BertConfig(), ErnieConfig()
    assert (bert.vocab_size, bert.type_vocab_size, bert.layer_norm_eps, bert.num_labels) == (30522, 16, 1e-12, 2)
    assert (ernie.type_vocab_size, ernie.task_type_vocab_size, ernie.use_task_id) == (16, 3, False)
    assert ernie.norm_epsilon == 1e-12
    assert parse(ErnieConfig, {"layer_norm_eps": 1e-3}).norm_epsilon == 1e-12
    assert parse(BertConfig, {"layer_norm_eps": 1e-3}).norm_epsilon == 1e-3


def test_unknown_keys_survive() -> None:
    values = {"fuse": False, "paddlenlp_version": "2.8.1", "nested": {"a": [1]}}
    written = parse(BertConfig, values).as_dict()
    assert {key: written[key] for key in values} == values
    assert parse(BertConfig, written).as_dict() == written


def test_label_names_decide_on_their_number() -> None:
    config = parse(BertConfig, {"id2label": {"0": "人", "1": "地", "2": "机构"}, "num_labels": 2})
    assert config.num_labels == 3
    assert config.id2label == {0: "人", 1: "地", 2: "机构"}
    changed = parse(BertConfig, override(config.as_dict(), {"num_labels": 5}))
    assert (changed.num_labels, changed.id2label) == (5, None)
    assert parse(BertConfig, override(config.as_dict(), {"vocab_size": 9})).num_labels == 3


def test_sizes_of_pruned_layers() -> None:
    config = parse(
        BertConfig,
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "head_dim": 8,
            "layer_num_heads": [3, 1],
            "layer_intermediate_sizes": [40, 20],
        },
    )
    assert [config.layer_sizes(index) for index in (0, 1)] == [LayerSizes(3, 8, 40), LayerSizes(1, 8, 20)]
    assert BertConfig().layer_sizes(11) == LayerSizes(12, 64, 3072)


@pytest.mark.parametrize(
    "values",
    [
        {"hidden_size": 30, "num_attention_heads": 4},
        {"hidden_size": "wide"},
        {"hidden_dropout_prob": 1.5},
        {"problem_type": "ranking"},
        {"num_hidden_layers": 2, "layer_num_heads": [4]},
        {"num_hidden_layers": 1, "layer_intermediate_sizes": [0]},
        {"vocab_size": 0},
    ],
)
def test_wrong_values_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="model configuration"):
        parse(BertConfig, values)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        parse(BertConfig, values, Location("config.json"))


def test_all_wrong_values_are_reported_at_once() -> None:
    with pytest.raises(ErrorGroup) as caught:
        parse(BertConfig, {"vocab_size": -1, "hidden_size": "x"})
    assert {error.values["key"] for error in caught.value.errors} == {"vocab_size", "hidden_size"}


def test_old_nested_files() -> None:
    old = {
        "init_args": [{"vocab_size": 99, "hidden_size": 32, "num_attention_heads": 4, "init_class": "ErnieModel"}],
        "init_class": "ErnieForTokenClassification",
        "num_classes": 5,
        "hidden_size": 16,
    }
    flat = flatten_legacy(old)
    assert flat["architectures"] == ["ErnieForTokenClassification"]
    config = parse(ErnieConfig, flat)
    assert (config.vocab_size, config.hidden_size, config.num_labels) == (99, 16, 5)
    assert "init_args" not in config.as_dict() and "init_class" not in config.as_dict()
    assert flatten_legacy({"init_args": [{"init_class": "BertModel"}]})["architectures"] == ["BertModel"]


def test_old_files_with_values_without_names_are_refused() -> None:
    with pytest.raises(ArtifactError, match="without a name"):
        flatten_legacy({"init_args": [{"vocab_size": 9}, 2], "init_class": "BertForSequenceClassification"})


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in ErnieConfig.aliases), st.none() | st.text()))
def test_any_other_keys_are_kept(values: dict[str, Any]) -> None:
    known = set(ErnieConfig.model_fields)
    extra = {key: value for key, value in values.items() if key not in known and not key.startswith("model_")}
    written = parse(ErnieConfig, extra).as_dict()
    assert {key: value for key, value in extra.items() if value is not None}.items() <= written.items()


def write(folder: Path, name: str, values: Any) -> Path:
    (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder


def test_reading_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "model_config.json", {"init_args": [{"vocab_size": 50}], "init_class": "BertForMaskedLM"})
    assert load_config(tmp_path).architecture == "BertForMaskedLM"
    write(tmp_path, "config.json", {"vocab_size": 60, "model_type": "ernie"})
    config = load_config(tmp_path)
    assert isinstance(config, ErnieConfig) and config.vocab_size == 60
    assert isinstance(load_config(tmp_path, "BertModel"), BertConfig)
    assert load_config(tmp_path, overrides={"vocab_size": 70}).vocab_size == 70


@pytest.mark.parametrize("values", [{"vocab_size": 3}, {"architectures": ["NoSuchModel"], "model_type": "x"}, []])
def test_files_for_no_known_family(tmp_path: Path, values: Any) -> None:
    write(tmp_path, "config.json", values)
    with pytest.raises(ArtifactError):
        load_config(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"config\.json"):
        load_config(tmp_path)


def test_huggingface_keys(tmp_path: Path) -> None:
    base = {"transformers_version": "4.50.0", "model_type": "ernie", "torch_dtype": "float32", "layer_norm_eps": 1e-5}
    write(tmp_path, "config.json", {**base, "architectures": ["ErnieForPreTraining"], "task_id": 2})
    config = load_config(tmp_path)
    assert isinstance(config, ErnieConfig)
    assert (config.architecture, config.type_vocab_size, config.task_id) == ("ErnieForPretraining", 2, 0)
    assert (config.norm_epsilon, config.zero_padding_embedding) == (1e-5, False)
    for key, value in (("position_embedding_type", "relative_key"), ("is_decoder", True)):
        write(tmp_path, "config.json", {**base, key: value})
        with pytest.raises(ArtifactError, match=key):
            load_config(tmp_path)
    write(tmp_path, "config.json", {**base, "paddlenlp_version": "2.8.1"})
    assert load_config(tmp_path).norm_epsilon == 1e-12


def test_configurations_need_no_paddle() -> None:
    code = (
        "import sys; sys.modules['paddle'] = None\n"
        "from zoo_cli import models\n"
        "from zoo_cli.registry import FAMILIES, family, resolve\n"
        "layouts = [family(name).config.huggingface for name in FAMILIES]\n"
        "assert all(resolve(layout) for layout in layouts if layout)\n"
        "models.load_config\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
