"""What the loop computes, against plain paddle, and how it ends."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from tests.engine.toy import CLASSES, batches, build, features, fit
from zoo_cli.base.errors import DataError, DivergedError, MemoryLimitError, PlatformError, UsageError
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.objectives.base import Losses, to_tensors
from zoo_cli.engine.objectives.supervised import Supervised, label_count
from zoo_cli.engine.optimizer import learning_rate
from zoo_cli.engine.step import FIRST_LOSS_SCALE
from zoo_cli.recipe.schema import TrainSection


def options(**values: Any) -> TrainSection:
    return TrainSection(**{"max_steps": 12, "batch_size": 8, "learning_rate": 0.01, **values})


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row for row in found if row["kind"] == kind]


def distance(first: paddle.nn.Layer, second: paddle.nn.Layer) -> float:
    own = second.state_dict()
    return max(float((tensor - own[name]).abs().max()) for name, tensor in first.state_dict().items())


def test_equals_a_plain_paddle_loop(tmp_path: Path) -> None:
    settings = options(warmup_ratio=0.25, schedule="cosine", weight_decay=0.1, max_grad_norm=0.5, max_steps=16)
    _, ours = fit(tmp_path, settings, build(dropout=0.0))
    plain = build(dropout=0.0)
    optimizer = paddle.optimizer.AdamW(
        0.01,
        parameters=plain.parameters(),
        weight_decay=0.1,
        apply_decay_param_fun=lambda name: name in {p.name for p in plain.parameters() if p.ndim > 1},
        grad_clip=paddle.nn.ClipGradByGlobalNorm(0.5),
    )
    data = batches(settings)
    order = [(epoch, indices) for epoch in range(2) for indices in data.plan(epoch)]
    plain.train()
    for step, (epoch, indices) in enumerate(order[:16]):
        optimizer.set_lr(learning_rate(step, 16, settings))
        plain(**to_tensors(data.load(epoch, indices).arrays)).loss.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert distance(ours, plain) < 1e-6


def test_accumulation_averages_over_labels_not_over_passes(tmp_path: Path) -> None:
    """Forward passes with very different numbers of labels make the step that one large pass makes."""
    data = features(64)
    for index in range(0, 64, 3):
        data[index]["labels"][1:] = -100
    data[5]["labels"][:] = -100

    def same_order(settings: TrainSection) -> Any:
        made = batches(settings, data)
        made._shuffle = False
        return made

    small = options(batch_size=4, gradient_accumulation=4, max_steps=8)
    large = options(batch_size=16, max_steps=8)
    _, first = fit(tmp_path / "small", small, build(dropout=0.0), batches=same_order(small))
    _, second = fit(tmp_path / "large", large, build(dropout=0.0), batches=same_order(large))
    assert distance(first, second) < 1e-6
    for one, two in zip(rows(tmp_path / "small", "train"), rows(tmp_path / "large", "train"), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-6)
        assert one["grad_norm"] == pytest.approx(two["grad_norm"], abs=1e-5)


def test_a_step_without_labels_changes_nothing(tmp_path: Path) -> None:
    data = features(8)
    for row in data:
        row["labels"][:] = -100
    _, model = fit(tmp_path, options(max_steps=1, weight_decay=0.5), batches=batches(options(), data))
    assert distance(model, build()) == 0.0


def test_a_token_budget_bounds_the_padded_size(tmp_path: Path) -> None:
    settings = options(batch_tokens=40)
    data = batches(settings)
    sizes = [data.load(0, indices).arrays["input_ids"].size for indices in data.plan(0)]
    assert max(sizes) <= 40
    assert sum(len(indices) for indices in data.plan(0)) == 60
    fit(tmp_path, settings, batches=data)


@pytest.mark.parametrize("epochs, accumulation, steps", [(2.0, 1, 16), (2.0, 3, 6), (0.5, 1, 4), (1.3, 1, 11)])
def test_epochs_give_the_number_of_steps(tmp_path: Path, epochs: float, accumulation: int, steps: int) -> None:
    settings = options(max_steps=None, epochs=epochs, gradient_accumulation=accumulation, log_steps=1)
    result, _ = fit(tmp_path, settings)
    assert result.steps == steps
    assert rows(tmp_path, "train")[-1]["epoch"] == pytest.approx(math.ceil(epochs * 8) / 8)


def test_two_runs_of_one_seed_are_equal_and_another_seed_is_not(tmp_path: Path) -> None:
    models = [fit(tmp_path / name, options(seed=seed), build())[1] for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert distance(models[0], models[1]) == 0.0
    assert distance(models[0], models[2]) > 0.0


def test_recompute_changes_no_bit(tmp_path: Path) -> None:
    _, plain = fit(tmp_path / "plain", options())
    _, model = fit(tmp_path / "recompute", options(recompute=True))
    assert distance(plain, model) == 0.0
    assert "forward" not in vars(model.encoder.layers[0])


def test_recompute_keeps_fewer_activations() -> None:
    from zoo_cli.engine.recompute import recomputing

    model = build(dropout=0.0)
    calls = 0
    forward = type(model.encoder.layers[0]).forward

    def counting(self: Any, hidden: paddle.Tensor) -> paddle.Tensor:
        nonlocal calls
        calls += 1
        return forward(self, hidden)

    ids = paddle.to_tensor([[1, 2, 3]])
    for layer in model.encoder.layers:
        layer.forward = counting.__get__(layer)
    with recomputing(model, True):
        model(ids, paddle.to_tensor([[1, 2, 3]])).loss.backward()
        assert calls == 4  # each layer once more in the backward pass
        with paddle.no_grad():
            model(ids)
        assert calls == 6


def scores(values: list[float]) -> Any:
    remaining = iter(values)
    return lambda: {"f1": next(remaining), "loss": 1.0, "PER": {"f1": 0.1}}


def test_the_best_model_is_kept(tmp_path: Path) -> None:
    result, _ = fit(tmp_path, options(eval_steps=3, save_steps=100), evaluate=scores([0.2, 0.6, 0.6, 0.5]), metric="f1")
    assert (result.best_step, result.best_score, result.stopped) == (6, 0.6, "completed")
    saved = json.loads((tmp_path / "best" / "metrics.json").read_text())
    assert saved["step"] == 6 and saved["f1"] == 0.6
    assert [row["step"] for row in rows(tmp_path, "dev")] == [3, 6, 9, 12]
    assert (tmp_path / "best" / "MANIFEST.json").exists()


def test_a_lower_loss_is_better(tmp_path: Path) -> None:
    losses = iter([0.9, 0.4, 0.7])
    settings = options(eval_steps=4, metric="loss")
    result, _ = fit(tmp_path, settings, evaluate=lambda: {"loss": next(losses)}, metric="f1")
    assert (result.best_step, result.metric) == (8, "loss")


def test_patience_stops_early(tmp_path: Path) -> None:
    result, _ = fit(
        tmp_path, options(eval_steps=2, patience=2), evaluate=scores([0.5, 0.7, 0.6, float("nan"), 0.9]), metric="f1"
    )
    assert (result.steps, result.best_step, result.stopped) == (8, 4, "patience")


def test_a_score_in_a_table_can_choose(tmp_path: Path) -> None:
    result, _ = fit(tmp_path, options(metric="PER.f1"), evaluate=scores([0.5] * 3), metric="f1")
    assert result.best_score == 0.1


def test_an_unknown_score_is_an_error_with_the_names(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        fit(tmp_path, options(metric="f2"), evaluate=scores([0.5] * 3), metric="f1")
    assert caught.value.code == "unknown-metric"
    assert "PER.f1" in str(caught.value)
    result, _ = fit(tmp_path, options(metric="f1"), resume=True, evaluate=scores([0.5] * 3))
    assert result.best_score == 0.5


def test_the_last_model_is_the_best_without_a_development_set(tmp_path: Path) -> None:
    result, model = fit(tmp_path, options())
    assert (result.best_step, result.best_score) == (12, None)
    from safetensors.numpy import load_file

    stored = load_file(tmp_path / "best" / "model.safetensors")
    assert all(np.array_equal(tensor.numpy(), stored[name]) for name, tensor in model.state_dict().items())


def contains(batch: np.ndarray, row: np.ndarray) -> bool:
    return any(np.array_equal(ids[: len(row)], row) for ids in batch)


class Broken(Supervised):
    """The loss of one row becomes infinite minus infinite."""

    def __init__(self, step: int, row: np.ndarray) -> None:
        super().__init__()
        self.step, self.row = step, row

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        losses = super().loss(model, batch, step)
        factor = float("nan") if step >= self.step and contains(batch["input_ids"], self.row) else 1.0
        return Losses(losses.total * factor, losses.weight)


@pytest.mark.parametrize("accumulation", [1, 4])
def test_a_loss_that_is_no_number_ends_with_the_batch_that_did_it(tmp_path: Path, accumulation: int) -> None:
    row = features()[17]["input_ids"]
    settings = options(gradient_accumulation=accumulation)
    with pytest.raises(DivergedError) as caught:
        fit(tmp_path, settings, objective=Broken(1, row))
    error = caught.value
    assert error.exit_code == 8
    arrays = np.load(tmp_path / "diverged-batch.npz")
    assert set(arrays.files) == {"input_ids", "labels"}  # of one forward pass, also where a step has four
    assert contains(arrays["input_ids"], row)
    assert len(arrays["input_ids"]) <= 8
    assert "toy.txt:" in str(error) and "nan" in str(error)


def test_a_gradient_that_is_no_number_is_not_applied(tmp_path: Path) -> None:
    class Rooted(Supervised):
        def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
            losses = super().loss(model, batch, step)
            zero = model.classifier.bias.sum() * 0.0
            return Losses(losses.total + paddle.sqrt(zero), losses.weight)  # 0, with an infinite slope

    model = build()
    with pytest.raises(DivergedError) as caught:
        fit(tmp_path, options(), model, objective=Rooted())
    assert "gradient norm" in str(caught.value)
    assert distance(model, build()) == 0.0


def test_out_of_memory_gives_advice_for_this_batch(tmp_path: Path) -> None:
    class Greedy(Supervised):
        def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
            paddle.zeros([2**50])
            return super().loss(model, batch, step)

    with pytest.raises(MemoryLimitError) as caught:
        fit(tmp_path, options(gradient_accumulation=3), objective=Greedy())
    assert caught.value.exit_code == 7
    text = str(caught.value)
    assert "train.batch_size=4 train.gradient_accumulation=6" in text
    assert "train.recompute=true" in text and "max_length" in text
    with pytest.raises(MemoryLimitError) as caught:
        fit(tmp_path / "tokens", options(batch_tokens=60, recompute=True), objective=Greedy())
    assert "train.batch_tokens=30 train.gradient_accumulation=2" in str(caught.value)
    assert "recompute" not in str(caught.value)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_cpu_refuses_reduced_precision(tmp_path: Path, precision: str) -> None:
    with pytest.raises(PlatformError) as caught:
        fit(tmp_path, options(precision=precision))
    assert caught.value.code == "no-precision"


def test_overflow_of_scaled_gradients_halves_the_scale_and_skips_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss scale of float16, with the arithmetic of float32, since a CPU has no other."""
    from contextlib import nullcontext

    monkeypatch.setattr("zoo_cli.engine.step.autocast", lambda precision: nullcontext())
    monkeypatch.setattr("zoo_cli.engine.loop.autocast", lambda precision: nullcontext())
    monkeypatch.setitem(FIRST_LOSS_SCALE, "float16", 2.0**70)
    settings = options(precision="float16", save_steps=12, max_steps=80)
    _, model = fit(tmp_path, settings)
    progress = json.loads((tmp_path / "checkpoints" / "step-000080" / "progress.json").read_text())
    assert 1 < progress["loss_scale"] < 2.0**70
    assert all(bool(paddle.isfinite(tensor).all()) for tensor in model.state_dict().values())
    _, plain = fit(tmp_path / "plain", options(max_steps=80))
    assert distance(model, plain) > 0  # the first steps were skipped
    assert rows(tmp_path, "train")[-1]["loss"] < 0.3


def test_nothing_to_train_on(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fit(tmp_path, options(), batches=batches(options(), []))
    assert caught.value.code == "no-training-data"


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    model = build()
    model.embeddings.weight.stop_gradient = True
    before = model.embeddings.weight.numpy().copy()
    fit(tmp_path, options(), model)
    assert np.array_equal(model.embeddings.weight.numpy(), before)


def test_parts_of_a_loss_are_reported(tmp_path: Path) -> None:
    class Two(Supervised):
        def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
            losses = super().loss(model, batch, step)
            return Losses(losses.total * 3, losses.weight, {"task": losses.total, "double": losses.total * 2})

    fit(tmp_path, options(gradient_accumulation=2), objective=Two())
    row = rows(tmp_path, "train")[-1]
    assert row["task"] + row["double"] == pytest.approx(row["loss"], rel=1e-5)


def test_label_counts() -> None:
    ids = np.zeros((3, 4), np.int64)
    assert label_count({"input_ids": ids, "labels": np.array([[1, -100, 2], [0, 0, 0], [-100] * 3])}) == 5
    assert label_count({"input_ids": ids, "labels": np.array([0, 1, CLASSES])}) == 3
    assert label_count({"input_ids": ids, "labels": np.zeros((3, 7), np.float32)}) == 3
    assert label_count({"input_ids": ids, "start_positions": np.zeros((3, 4), np.float32)}) == 3


def test_every_forward_pass_draws_its_own_numbers(tmp_path: Path) -> None:
    drawn = []

    class Drawing(Supervised):
        def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
            drawn.append(paddle.rand([4]).numpy().tobytes())
            return super().loss(model, batch, step)

    fit(tmp_path, options(gradient_accumulation=2, max_steps=6), objective=Drawing())
    assert len(set(drawn)) == len(drawn) == 12
