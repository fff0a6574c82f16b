"""Strategies as explicit matches, for models of any shape."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_cli.base.errors import ErrorGroup, ZooError
from zoo_cli.distill.strategies import STRATEGIES, expand
from zoo_cli.models.bert.config import BertConfig
from zoo_cli.models.config import ModelConfig
from zoo_cli.recipe.schema import DistillMatch, DistillStage


def shape(layers: int = 12, width: int = 768, heads: int = 12, **others: Any) -> ModelConfig:
    return BertConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, **others)


def stage(strategy: Any = None, **options: Any) -> DistillStage:
    return DistillStage(strategy=strategy, **options)


def pairs(matches: list[DistillMatch], feature: str) -> list[tuple[int | None, int | None]]:
    return [(match.teacher, match.student) for match in matches if match.feature == feature]


def codes(stage: DistillStage, teacher: ModelConfig, student: ModelConfig) -> set[str]:
    with pytest.raises(ZooError) as caught:
        expand(stage, teacher, student)
    errors = caught.value.errors if isinstance(caught.value, ErrorGroup) else [caught.value]
    return {error.code for error in errors}


@pytest.mark.parametrize(
    ("layers", "above"),
    [(6, [0, 2, 4, 6, 8, 10, 12]), (4, [0, 3, 6, 9, 12]), (12, list(range(13))), (5, [0, 2, 5, 7, 10, 12])],
)
def test_tinybert_maps_layers_of_twelve(layers: int, above: list[int]) -> None:
    matches = expand(stage("tinybert-intermediate"), shape(12), shape(layers, 312))
    assert pairs(matches, "hidden") == list(zip(above, range(layers + 1), strict=True))
    # Upstream counts attention layers from 0: 2i + 1 for six student layers, 3i + 2 for four.
    assert pairs(matches, "attention") == list(zip(above[1:], range(1, layers + 1), strict=True))
    assert all(match.weight == 1.0 and match.loss == "mse" for match in matches)
    assert {match.projection for match in matches if match.feature == "hidden"} == {"linear"}


def test_tinybert_projection_of_the_first_published_students() -> None:
    matches = expand(stage("tinybert-intermediate", projection="shared"), shape(12), shape(6))
    assert {match.projection for match in matches if match.feature == "hidden"} == {"shared"}


def test_tinybert_prediction_has_no_labels() -> None:
    (match,) = expand(stage("tinybert-prediction", temperature=3.0), shape(), shape(4))
    assert (match.feature, match.loss, match.temperature, match.weight) == ("logits", "cross_entropy", 3.0, 1.0)


def test_logits_with_a_share_of_labels() -> None:
    soft, hard = expand(stage("logits", temperature=2.0, hard_share=0.25), shape(), shape(4))
    assert (soft.feature, soft.loss, soft.temperature, soft.weight) == ("logits", "kl", 2.0, 0.75)
    assert (hard.feature, hard.weight) == ("labels", 0.25)
    assert [match.feature for match in expand(stage("logits"), shape(), shape(4))] == ["logits"]


def test_last_compares_from_the_top() -> None:
    matches = expand(stage("last"), shape(12), shape(3))
    assert pairs(matches, "hidden") == [(10, 1), (11, 2), (12, 3)]
    assert pairs(expand(stage("last"), shape(2), shape(4)), "hidden") == [(1, 3), (2, 4)]


def test_minilm_compares_the_last_layers() -> None:
    matches = expand(stage("minilm"), shape(12), shape(6, 384))
    assert [(match.feature, match.teacher, match.student) for match in matches] == [
        ("attention", 12, 6),
        ("value", 12, 6),
    ]
    assert matches[1].relation_heads == 12
    assert codes(stage("minilm"), shape(12), shape(6, 384, 6)) == {"heads-differ"}


@pytest.mark.parametrize(
    ("widths", "heads"),
    [((768, 384), 48), ((768, 312), 24), ((1024, 384), 32), ((96, 96), 12), ((60, 30), 3), ((6, 6), 1)],
)
def test_minilmv2_takes_many_heads(widths: tuple[int, int], heads: int) -> None:
    matches = expand(stage("minilmv2"), shape(12, widths[0], 2), shape(6, widths[1], 3))
    assert [match.feature for match in matches] == ["query", "key", "value"]
    assert {match.relation_heads for match in matches} == {heads}


def test_minilmv2_learns_from_a_layer_in_the_middle() -> None:
    matches = expand(stage("minilmv2", teacher_layer=21, relation_heads=64), shape(24, 1024, 16), shape(12, 384))
    assert {(match.teacher, match.student, match.relation_heads) for match in matches} == {(21, 12, 64)}
    assert codes(stage("minilmv2", teacher_layer=25), shape(24), shape(12)) == {"no-layer"}
    assert codes(stage("minilmv2", relation_heads=5), shape(), shape()) == {"relation-heads"}


def test_pruned_layers_have_their_own_sizes() -> None:
    student = shape(2, 768, 12, head_dim=64, layer_num_heads=[12, 6])
    heads = [m.heads for m in expand(stage("tinybert-intermediate"), shape(4), student) if m.feature == "attention"]
    assert heads == ["each", "mean"]
    assert {m.relation_heads for m in expand(stage("minilmv2"), shape(4), student)} == {48}


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(STRATEGIES)),
    layers=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    units=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    heads=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_every_strategy_fits_models_of_any_shape(
    name: str, layers: tuple[int, int], units: tuple[int, int], heads: tuple[int, int]
) -> None:
    teacher, student = (shape(layers[i], units[i] * heads[i], heads[i]) for i in (0, 1))
    if name == "minilm" and heads[0] != heads[1]:
        assert "heads-differ" in codes(stage(name), teacher, student)
        return
    matches = expand(stage(name), teacher, student)
    assert matches
    assert expand(DistillStage(matches=matches), teacher, student) == matches  # what --resolved shows means the same
    for feature in ("hidden", "attention"):
        found = pairs(matches, feature)
        assert found == sorted(found, key=lambda pair: pair[1] or 0)
        if found:
            assert found[-1] == (layers[0], layers[1])


def test_own_matches_come_after_those_of_the_strategy() -> None:
    own = DistillMatch(feature="hidden", loss="cosine", teacher=12, student=6)
    matches = expand(stage("logits", matches=[own]), shape(), shape(6))
    assert [match.feature for match in matches] == ["logits", "hidden"]
    assert matches[1] == own


@pytest.mark.parametrize(
    ("match", "code"),
    [
        ({"feature": "hidden", "loss": "kl", "teacher": 1, "student": 1}, "loss-of-match"),
        ({"feature": "hidden", "teacher": 1, "student": 1}, "loss-of-match"),
        ({"feature": "labels", "loss": "mse"}, "key-of-match"),
        ({"feature": "logits", "loss": "kl", "teacher": 3}, "key-of-match"),
        ({"feature": "hidden", "loss": "mse", "teacher": 1, "student": 1, "temperature": 2.0}, "key-of-match"),
        ({"feature": "hidden", "loss": "mse", "student": 1}, "no-layer"),
        ({"feature": "hidden", "loss": "mse", "teacher": 13, "student": 1}, "no-layer"),
        ({"feature": "attention", "loss": "mse", "teacher": 12, "student": 0}, "no-layer"),
        ({"feature": "hidden", "loss": "mse", "teacher": 12, "student": 4}, "widths-differ"),
        ({"feature": "attention", "loss": "mse", "teacher": 12, "student": 4}, "heads-differ"),
        ({"feature": "value", "loss": "kl", "teacher": 12, "student": 4}, "no-relation-heads"),
        ({"feature": "value", "loss": "kl", "teacher": 12, "student": 4, "relation_heads": 9}, "relation-heads"),
    ],
)
def test_matches_that_do_not_fit(match: dict[str, Any], code: str) -> None:
    assert code in codes(DistillStage(matches=[DistillMatch(**match)]), shape(), shape(4, 384, 6))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({}, "empty-stage"),
        ({"strategy": "minilm", "temperature": 2.0}, "option-of-strategy"),
        ({"strategy": "logits", "relation_heads": 4}, "option-of-strategy"),
        ({"strategy": "tinybert-prediction", "hard_share": 0.5}, "option-of-strategy"),
    ],
)
def test_stages_that_make_no_sense(options: dict[str, Any], code: str) -> None:
    assert codes(DistillStage(**options), shape(), shape()) == {code}
