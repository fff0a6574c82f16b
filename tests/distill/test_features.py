"""What models show, whether teachers are asked or have answered before, and what the objective makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.distill.support import HEADS, Ids, build, features, inputs_of
from zoo_cli import registry
from zoo_cli.base.errors import UsageError
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.distill.features import Adaptor, Key, input_names, token_mask, wanted
from zoo_cli.distill.objective import Distillation, Pupil
from zoo_cli.distill.strategies import expand
from zoo_cli.distill.teachers import StoredAnswers, TaughtBatches, Teacher, needed_bytes, store_answers
from zoo_cli.engine.batches import Arrays, FeatureBatches
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.engine.setup import Assembly
from zoo_cli.models.base import Model
from zoo_cli.recipe.schema import DistillMatch, DistillStage, TrainSection

FAMILIES = ("bert", "tinybert", "ernie", "ernie_m", "electra")
EVERYTHING = [
    Key("logits"),
    Key("hidden", 0),
    Key("hidden", 2),
    Key("attention", 1),
    Key("query", 1),
    Key("key", 2),
    Key("value", 2),
]
MATCHES = [
    DistillMatch(feature="logits", loss="kl", temperature=2.0),
    DistillMatch(feature="hidden", loss="mse", teacher=2, student=1, projection="linear"),
    DistillMatch(feature="hidden", loss="cosine", teacher=0, student=0, projection="shared", weight=0.5),
    DistillMatch(feature="attention", loss="mse", teacher=1, student=1, heads="mean"),
    DistillMatch(feature="attention", loss="kl", teacher=2, student=1, heads="mean"),
    DistillMatch(feature="query", loss="kl", teacher=2, student=1, relation_heads=2),
    DistillMatch(feature="labels", weight=0.3),
]


def batch_of(task: str, family: str, count: int = 6, seed: int = 0) -> Arrays:
    inputs = inputs_of(family)
    return Ids(task, inputs).stack(features(task, inputs, count, seed))


def teacher_of(task: str, folder: Path, family: str = "bert", **config: Any) -> Teacher:
    model = build(family, task, seed=5, **config)
    inputs = inputs_of(family)
    return Teacher(Assembly(model, None, Ids(task, inputs)), folder, inputs)  # type: ignore[arg-type]


def pupil_of(task: str, teacher: Model, family: str = "bert", matches: list[DistillMatch] = MATCHES) -> Pupil:
    width = {} if family == "electra" else {"hidden_size": 24}
    student = build(family, task, seed=6, num_hidden_layers=1, num_attention_heads=2, **width)
    paddle.seed(1)
    pupil = Pupil(student, matches, teacher.config)
    pupil.eval()
    return pupil


def objective_of(
    task: str, pupil: Pupil, family: str, teacher: Any, matches: list[DistillMatch] = MATCHES
) -> Distillation:
    inputs = inputs_of(family)
    labels = sorted(set(features(task, inputs, 1)[0]) - set(inputs))
    return Distillation(pupil.student, Ids(task, inputs), inputs, labels, matches, teacher)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_shows_what_is_asked(family: str) -> None:
    model = build(family, "sequence_classification")
    model.eval()
    batch = batch_of("sequence_classification", family)
    answer = Adaptor(model, Ids("sequence_classification", inputs_of(family)), inputs_of(family), EVERYTHING)(batch)
    inputs = to_tensors({name: batch[name] for name in inputs_of(family)})
    result = model(**inputs, output_hidden_states=True, output_attention_scores=True)
    np.testing.assert_array_equal(answer[Key("logits")].numpy(), result.logits.numpy())
    for layer in (0, 2):
        np.testing.assert_array_equal(answer[Key("hidden", layer)].numpy(), result.hidden_states[layer].numpy())
    np.testing.assert_array_equal(answer[Key("attention", 1)].numpy(), result.attention_scores[0].numpy())
    encoder = model.backbone.encoder.layers
    for key, layer, projection in (("query", 0, "q_proj"), ("key", 1, "k_proj"), ("value", 1, "v_proj")):
        expected = getattr(encoder[layer].self_attn, projection)(result.hidden_states[layer])
        if encoder[layer].normalize_before:
            expected = getattr(encoder[layer].self_attn, projection)(encoder[layer].norm1(result.hidden_states[layer]))
        np.testing.assert_allclose(answer[Key(key, layer + 1)].numpy(), expected.numpy(), atol=1e-6)


def test_a_model_without_such_layers_says_so() -> None:
    model = build("gpt", "token_classification", fuse_attention_qkv=True)
    with pytest.raises(UsageError, match="does not show its query"):
        Adaptor(model, Ids("token_classification", inputs_of("gpt")), inputs_of("gpt"), [Key("query", 1)])


def test_nothing_is_left_on_the_model() -> None:
    model = build("bert", "sequence_classification")
    Adaptor(model, Ids("sequence_classification", inputs_of("bert")), inputs_of("bert"), EVERYTHING)(
        batch_of("sequence_classification", "bert")
    )
    assert not any(layer._forward_post_hooks for layer in model.sublayers())


@pytest.mark.parametrize("task", HEADS)
def test_the_task_tells_inputs_from_labels(task: str) -> None:
    inputs = inputs_of("bert")
    assert input_names(Ids(task, inputs), features(task, inputs)) == set(inputs)


def test_square_masks_tell_real_tokens() -> None:
    mask = np.zeros((2, 1, 4, 4), np.int64)
    mask[0, 0, :3, :3] = np.tril(np.ones((3, 3)))
    mask[1, 0] = 1
    assert token_mask({"input_ids": np.ones((2, 4)), "attention_mask": mask}).tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


@pytest.mark.parametrize("task", HEADS)
def test_stored_answers_teach_the_same(task: str, tmp_path: Path) -> None:
    if task not in registry.family("ernie").tasks:
        pytest.skip("no such head")
    teacher = teacher_of(task, tmp_path, "ernie")
    matches = MATCHES
    asked = teacher.asked(wanted(matches, "teacher"))
    rows = FeatureStore(features(task, inputs_of("ernie"), 12))
    options, stack = TrainSection(batch_size=5), Ids(task, inputs_of("ernie")).stack
    place = tmp_path / "answers"
    stored = TaughtBatches(store_answers(asked, rows, stack, place, 4), rows, options, stack)
    assert needed_bytes(asked, rows, stack) > 0
    pupil = pupil_of(task, teacher.assembly.model, "ernie")
    objective = objective_of(task, pupil, "ernie", asked)
    plain = FeatureBatches(rows, options, stack)
    for indices in plain.plan(0):
        live, kept = (objective.loss(pupil, batches.load(0, indices).arrays, 0) for batches in (plain, stored))
        assert kept.weight == live.weight
        for name, value in live.parts.items():
            assert kept.parts[name].item() == pytest.approx(value.item(), rel=1e-4), name
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    store_answers(asked, rows, stack, place, 4)
    assert before == {path: path.stat().st_mtime_ns for path in place.iterdir()}  # opened, not asked again


@pytest.mark.parametrize("task", HEADS)
def test_losses_do_not_depend_on_padding_or_on_the_batch(task: str, tmp_path: Path) -> None:
    if task not in registry.family("ernie").tasks:
        pytest.skip("no such head")
    teacher = teacher_of(task, tmp_path, "ernie")
    matches = [match for match in MATCHES if match.feature != "labels"]
    pupil = pupil_of(task, teacher.assembly.model, "ernie", matches)
    objective = objective_of(task, pupil, "ernie", teacher.asked(wanted(matches, "teacher")), matches)
    rows, stack = features(task, inputs_of("ernie"), 4), Ids(task, inputs_of("ernie")).stack
    if task == "multiple_choice":  # the mean over sequences weighs questions by their choices
        rows = [{key: value[:2] if value.ndim else value for key, value in row.items()} for row in rows]
    together = objective.loss(pupil, stack(rows), 0).total.item()
    alone = [objective.loss(pupil, stack([row]), 0).total.item() for row in rows]
    assert together == pytest.approx(np.mean(alone), rel=1e-3)


def test_a_student_that_is_its_teacher_has_nothing_to_learn(tmp_path: Path) -> None:
    model = build("bert", "token_classification")
    model.eval()
    teacher = Teacher(
        Assembly(model, None, Ids("token_classification", inputs_of("bert"))), tmp_path, inputs_of("bert")
    )  # type: ignore[arg-type]
    for strategy in ("logits", "minilm", "minilmv2"):
        matches = expand(DistillStage(strategy=strategy), model.config, model.config)  # type: ignore[arg-type]
        pupil = Pupil(model, matches, model.config)
        objective = objective_of(
            "token_classification", pupil, "bert", teacher.asked(wanted(matches, "teacher")), matches
        )
        pupil.eval()
        assert objective.loss(pupil, batch_of("token_classification", "bert"), 0).total.item() == pytest.approx(
            0, abs=1e-5
        )


def test_tinybert_learns_with_its_own_projections(tmp_path: Path) -> None:
    teacher = teacher_of("sequence_classification", tmp_path, "bert")
    config = teacher.assembly.model.config
    for projection, names in (("linear", {"fit_denses.0", "fit_denses.1"}), ("shared", {"fit_dense"})):
        student = build("tinybert", "sequence_classification", fit_size=config.hidden_size, num_hidden_layers=1)
        stage = DistillStage(strategy="tinybert-intermediate", projection=projection)  # type: ignore[arg-type]
        matches = expand(stage, config, student.config)
        pupil = Pupil(student, matches, config)
        assert {name.removeprefix("student.") for name in pupil.state_dict()} == set(student.state_dict())
        objective = objective_of(
            "sequence_classification", pupil, "tinybert", teacher.asked(wanted(matches, "teacher")), matches
        )
        objective.loss(pupil, batch_of("sequence_classification", "bert"), 0).total.backward()
        learnt = {name for name, value in student.backbone.named_parameters() if value.grad is not None}
        assert {name.removesuffix(".weight") for name in learnt if name.startswith("fit") and "weight" in name} == names
        assert any(name.startswith("embeddings") for name in learnt)
    other = build("tinybert", "sequence_classification", fit_size=config.hidden_size + 2, num_hidden_layers=1)
    pupil = Pupil(other, expand(DistillStage(strategy="tinybert-intermediate"), config, other.config), config)
    assert sorted(pupil.projections) == ["layer0", "layer1"]


def test_the_teacher_learns_nothing_and_drops_nothing(tmp_path: Path) -> None:
    teacher = teacher_of("sequence_classification", tmp_path, "bert", hidden_dropout_prob=0.5)
    pupil = pupil_of("sequence_classification", teacher.assembly.model, "bert")
    asked = teacher.asked(wanted(MATCHES, "teacher"))
    batch = batch_of("sequence_classification", "bert")
    teacher.assembly.model.train()
    first, second = asked(batch), asked(batch)
    for key, value in first.items():
        np.testing.assert_array_equal(value.numpy(), second[key].numpy())
    objective_of("sequence_classification", pupil, "bert", asked).loss(pupil, batch, 0).total.backward()
    assert all(parameter.grad is None for parameter in teacher.assembly.model.parameters())


def test_parts_sum_up_to_the_total(tmp_path: Path) -> None:
    teacher = teacher_of("token_classification", tmp_path, "bert")
    pupil = pupil_of("token_classification", teacher.assembly.model, "bert")
    batch = batch_of("token_classification", "bert")
    losses = objective_of("token_classification", pupil, "bert", teacher.asked(wanted(MATCHES, "teacher"))).loss(
        pupil, batch, 0
    )
    assert set(losses.parts) == {"logits", "hidden", "attention", "query", "labels"}
    assert losses.total.item() == pytest.approx(sum(part.item() for part in losses.parts.values()), rel=1e-5)
    assert losses.weight == (batch["labels"] != -100).sum()


def test_students_of_another_family(tmp_path: Path) -> None:
    teacher = teacher_of("sequence_classification", tmp_path, "bert")
    pupil = pupil_of("sequence_classification", teacher.assembly.model, "ernie_m")  # which has no token types
    objective = objective_of("sequence_classification", pupil, "ernie_m", teacher.asked(wanted(MATCHES, "teacher")))
    loss = objective.loss(pupil, batch_of("sequence_classification", "bert"), 0).total
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(layer.weight.grad is not None for layer in pupil.projections.values())


def test_answers_survive_the_disk(tmp_path: Path) -> None:
    teacher = teacher_of("token_classification", tmp_path, "bert")
    asked = teacher.asked(frozenset(EVERYTHING))
    rows = features("token_classification", inputs_of("bert"), 9)
    stack = Ids("token_classification", inputs_of("bert")).stack
    store_answers(asked, FeatureStore(rows), stack, tmp_path / "answers", 2)
    answers = StoredAnswers(tmp_path / "answers")
    for index, row in enumerate(rows):
        kept = answers.take(np.array([index]))
        for key, value in asked(stack([row])).items():
            np.testing.assert_allclose(kept[f"teacher.{key}"], value.numpy(), atol=1e-5)
