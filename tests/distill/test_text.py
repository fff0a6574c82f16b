"""Students that learn from a pretrained model on text without labels: TinyBERT's general distillation, and online."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.stopping import reports, stop_behind_checkpoint
from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402

from zoo_cli import models, tokenizers  # noqa: E402
from zoo_cli.base.errors import UsageError, ZooError  # noqa: E402
from zoo_cli.base.files import sha256_file  # noqa: E402
from zoo_cli.distill.strategies import expand  # noqa: E402
from zoo_cli.distill.text import STUDENT, Classroom, Learner, TextDistillation, distill_text  # noqa: E402
from zoo_cli.models.base import Model  # noqa: E402
from zoo_cli.recipe.loading import LoadedRecipe, load_recipe  # noqa: E402
from zoo_cli.recipe.schema import DistillStage  # noqa: E402
from zoo_cli.registry import family  # noqa: E402

QUICK = ("train.max_steps=4", "train.eval_steps=2", "train.batch_size=4", "pretrain.eval_batches=1")
RECIPES = ("tinybert/pretrain", "ernie-3.0/pretrain_online")
INPUTS = ("input_ids", "token_type_ids", "attention_mask")


def tiny(name: str, *overrides: str) -> LoadedRecipe:
    return load_recipe(name, [*QUICK, *overrides], tiny=True)


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_was_stopped_goes_on_to_the_same_students(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distill_text(tiny(name), tmp_path / "straight")
    stop_behind_checkpoint(monkeypatch, lambda: distill_text(tiny(name), tmp_path / "stopped"))
    distill_text(tiny(name), tmp_path / "stopped", resume=True)
    last = Path("checkpoints", "step-000004", "model.safetensors")
    best = [path.relative_to(tmp_path / "straight") for path in (tmp_path / "straight").glob("best/**/*.safetensors")]
    assert len(best) == (1 if name == "tinybert/pretrain" else 5)
    for file in (last, *best):
        assert sha256_file(tmp_path / "stopped" / file) == sha256_file(tmp_path / "straight" / file)
        if file != last:
            folder = (tmp_path / "straight" / file).parent
            model = models.load(folder)
            assert model.load_report is not None and model.load_report.complete
            assert len(tokenizers.load(folder)) == model.config.vocab_size
    lines = [line for kind in ("train", "dev") for line in reports(tmp_path / "straight", kind)]
    names = {"hidden", "attention"} if name == "tinybert/pretrain" else {STUDENT, "medium", "mini", "micro", "nano"}
    assert all(names <= set(line) for line in lines)
    with pytest.raises(UsageError) as caught:
        result = tmp_path / "stopped" / "result.json"
        result.unlink()
        place = tmp_path / "stopped" / "teacher.json"
        place.write_text(json.dumps({"sha256": "another"}))
        distill_text(tiny(name), tmp_path / "stopped", resume=True)
    assert caught.value.code == "teacher-changed"


@pytest.mark.parametrize(
    ("name", "overrides", "code"),
    [
        ("tinybert/sst2", ["distill.stages.intermediate.strategy=general"], "text-strategy"),
        ("tinybert/pretrain", ["distill.stages.general.strategy=logits"], "text-strategy"),
        ("tinybert/pretrain", ["distill.stages.general.strategy=online"], "students-of-online"),
        ("ernie-3.0/pretrain_online", ["distill.stages.online.strategy=general"], "students-of-online"),
        ("tinybert/pretrain", ["pretrain.objective=mlm"], "text-distillation"),
        ("bert/pretrain", ["pretrain.objective=distill", "pretrain.pair=none"], "text-distillation"),
        ("ernie-3.0/pretrain_online", ["distill.students.mini.config.num_attention_heads=7"], "heads"),
    ],
)
def test_what_does_not_go_together_is_refused(name: str, overrides: list[str], code: str) -> None:
    with pytest.raises(ZooError) as caught:
        load_recipe(name, overrides, tiny=True)
    assert code in {error.code for error in getattr(caught.value, "errors", [caught.value])}


def test_fresh_weights_teach_nothing(tmp_path: Path) -> None:
    overrides = ["model.init=scratch:bert-base-uncased", "model.vocab=sample:vocab/wordpiece"]
    with pytest.raises(UsageError) as caught:
        distill_text(load_recipe("tinybert/pretrain", [*overrides, "pretrain.corpora=sample:corpus/en.txt"]), tmp_path)
    assert caught.value.code == "untrained-teacher"


# -- losses ------------------------------------------------------------------------------------------------------------


def build(name: str, architecture: str, seed: int, **config: Any) -> Model:
    paddle.seed(seed)
    values = {**family(name).tiny, "initializer_range": 0.3, "hidden_dropout_prob": 0.0, **config}
    model: Model = models.build(architecture, {**values, "attention_probs_dropout_prob": 0.0})
    return model


def batch_of(length: int = 9) -> dict[str, np.ndarray]:
    mask = (np.arange(length) < np.array([[length], [5]])).astype(np.int64)
    ids = np.random.default_rng(0).integers(4, 100, (2, length)) * mask
    return {"input_ids": ids, "token_type_ids": np.zeros_like(ids), "attention_mask": mask}


def test_general_distillation_equals_numpy() -> None:
    """Every state and every attention map: mean squares over what is real in a text, and then over the texts."""
    teacher = build("bert", "BertModel", 1, num_hidden_layers=4, hidden_size=48)
    student = build("tinybert", "TinyBertForPretraining", 2, fit_size=48)
    matches = expand(DistillStage(strategy="general"), teacher.config, student.config)
    learner = Learner(student, teacher.config, matches, INPUTS)
    classroom = Classroom({STUDENT: learner})
    batch = batch_of()
    found = TextDistillation(teacher, INPUTS, {STUDENT: learner}).loss(classroom, batch, 0)

    flags = {"output_hidden_states": True, "output_attention_scores": True}
    tensors = {name: paddle.to_tensor(array) for name, array in batch.items()}
    above, below = teacher(**tensors, **flags), student(**tensors, **flags)
    lengths = batch["attention_mask"].sum(axis=1).tolist()
    hidden = attention = 0.0
    for layer in range(3):
        fitted = student.backbone.fit_denses[layer](below.hidden_states[layer]).numpy().astype(np.float64)
        squares = (fitted - above.hidden_states[2 * layer].numpy()) ** 2
        hidden += np.mean([row[:size].mean() for row, size in zip(squares, lengths, strict=True)])
    for layer in range(2):
        difference = below.attention_scores[layer].numpy() - above.attention_scores[2 * layer + 1].numpy()
        squares = difference.astype(np.float64) ** 2
        attention += np.mean([row[:, :size, :size].mean() for row, size in zip(squares, lengths, strict=True)])
    assert found.parts["hidden"].item() == pytest.approx(hidden, rel=1e-5)
    assert found.parts["attention"].item() == pytest.approx(attention, rel=1e-5)
    assert found.total.item() == pytest.approx(hidden + attention, rel=1e-5)


def online(students: int) -> tuple[Classroom, TextDistillation, Model]:
    stage = DistillStage(strategy="online")
    teacher = build("ernie", "ErnieModel", 1, num_hidden_layers=3, hidden_size=48)
    assistant = build("ernie", "ErnieModel", 2)
    learners = {STUDENT: Learner(assistant, teacher.config, expand(stage, teacher.config, assistant.config), INPUTS)}
    for number in range(students):
        model = build("ernie", "ErnieModel", 3 + number, num_hidden_layers=1, hidden_size=16)
        matches = expand(stage, assistant.config, model.config)
        learners[f"s{number}"] = Learner(model, assistant.config, matches, INPUTS)
    return Classroom(learners), TextDistillation(teacher, INPUTS, learners), teacher


def test_an_assistant_learns_as_if_it_had_no_students() -> None:
    gradients, losses = [], []
    for students in (0, 2):
        classroom, objective, teacher = online(students)
        losses.append(objective.loss(classroom, batch_of(), 0))
        losses[-1].total.backward()
        assistant = classroom.pupils[STUDENT].student
        gradients.append({name: parameter.grad for name, parameter in assistant.named_parameters()})
        assert all(parameter.grad is None for parameter in teacher.parameters())
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][name] is None)
        assert gradient is None or np.abs(gradient.numpy() - gradients[1][name].numpy()).max() < 1e-6
    alone, together = losses
    assert set(alone.parts) == {"query", "key", "value"}
    assert set(together.parts) == {STUDENT, "s0", "s1"}
    assert together.parts[STUDENT].item() == pytest.approx(alone.total.item(), rel=1e-6)
    assert together.total.item() == pytest.approx(sum(part.item() for part in together.parts.values()), rel=1e-6)


def test_students_learn_from_the_assistant_and_not_from_the_teacher() -> None:
    classroom, objective, teacher = online(1)
    before = objective.loss(classroom, batch_of(), 0).parts
    for parameter in teacher.parameters():
        parameter.set_value(parameter * 1.5)
    after = objective.loss(classroom, batch_of(), 0).parts
    assert after["s0"].item() == before["s0"].item()
    assert after[STUDENT].item() != before[STUDENT].item()
