"""Shapes computed from configurations against those of the models themselves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from zoo_cli import registry
from zoo_cli.base.errors import UsageError
from zoo_cli.models import build
from zoo_cli.models.config import parse
from zoo_cli.models.sizes import Shapes, parameter_count, parameter_shapes
from zoo_cli.recipe.presets import load_preset, preset_names

CLASSES = [
    (name, architecture)
    for name in registry.FAMILIES
    for architecture in registry.family(name).architectures
    if registry.family_of(architecture).name == name and not architecture.endswith("Criterion")
]
PRUNED = {"layer_num_heads": [2, 3], "layer_intermediate_sizes": [24, 40], "head_dim": 8}
VARIANTS: list[tuple[str, str, dict[str, Any]]] = [
    *((name, registry.family(name).backbone, PRUNED) for name in registry.FAMILIES if name != "ernie_health"),
    ("gpt", "GPTForCausalLM", {"fuse_attention_qkv": True}),
    ("unified_transformer", "UnifiedTransformerLMHeadModel", {"role_type_size": 5}),
    ("ernie", "ErnieModel", {"use_task_id": False, "type_vocab_size": 0}),
    ("electra", "ElectraForTotalPretraining", {"embedding_size": 32}),
    (
        "electra",
        "ElectraForTotalPretraining",
        {"generator_config": {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}},
    ),
    ("bert", "BertForIntentSlot", {"num_labels": 7, "num_intents": 9}),
    ("electra", "ElectraForSPO", {"num_labels": 5}),
    ("bert", "BertForTokenPairs", {"num_labels": 5, "num_links": 3}),
    ("bert", "BertModel", {"num_hidden_layers": 0}),
]


def built(architecture: str, values: dict[str, Any]) -> Shapes:
    """Names and shapes of a model's weights, tied ones once."""
    found: dict[int, tuple[str, tuple[int, ...]]] = {}
    for name, tensor in build(architecture, values).state_dict().items():
        found.setdefault(id(tensor), (name, tuple(tensor.shape)))
    return dict(found.values())


def computed(name: str, architecture: str, values: dict[str, Any]) -> Shapes:
    return parameter_shapes(architecture, parse(registry.family(name).config, values))


@pytest.mark.parametrize("name, architecture", CLASSES)
def test_every_class_has_the_weights_that_are_computed(name: str, architecture: str) -> None:
    values = dict(registry.family(name).tiny)
    assert computed(name, architecture, values) == built(architecture, values)


@pytest.mark.parametrize("name, architecture, changes", VARIANTS)
def test_options_change_what_is_built_and_computed_alike(name: str, architecture: str, changes: dict[str, Any]) -> None:
    values = {**registry.family(name).tiny, **changes}
    assert computed(name, architecture, values) == built(architecture, values)


@pytest.mark.parametrize("name", preset_names())
def test_published_sizes(name: str) -> None:
    """Presets say how many millions of weights a checkpoint has."""
    preset = load_preset(name)
    config = parse(registry.family(preset.family).config, preset.config)
    count = parameter_count(parameter_shapes(preset.architecture, config))
    assert math.isclose(count / 1e6, preset.parameters, rel_tol=0.002, abs_tol=0.06)


def test_losses_have_no_weights() -> None:
    with pytest.raises(UsageError, match="no model"):
        computed("gpt", "GPTPretrainingCriterion", {})
