"""Documents in training: packed side by side, each with its own memory, and resumed bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.toy import fit
from tests.models.support import call, tiny
from tests.tasks.toy import INPUTS, tokenizer
from zoo_cli.base.errors import UsageError
from zoo_cli.data.batching import pad
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.data.examples import TextExample
from zoo_cli.engine.checkpoint import checkpoints
from zoo_cli.engine.distributed import World
from zoo_cli.engine.document_batches import COUNTS, SLOTS, STARTS, DocumentBatches
from zoo_cli.engine.evaluation import Evaluation
from zoo_cli.engine.objectives.recurrent import Recurrent
from zoo_cli.engine.predictor import Predictor
from zoo_cli.recipe.schema import TrainSection
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.document_classification.spec import DocumentClassificationOptions
from zoo_cli.tasks.document_classification.task import DocumentClassificationTask

SIZES = [3, 1, 0, 5, 2, 4, 1]
LENGTH, LABELS = 6, 3


def features(sizes: list[int]) -> list[dict[str, np.ndarray]]:
    """Segments of which each begins with its own number; labels belong to documents."""
    random = np.random.default_rng(0)
    rows = []
    for document, size in enumerate(sizes):
        for _ in range(size):
            ids = random.integers(1, 100, LENGTH)
            mask = np.ones(LENGTH, np.int64)
            mask[4 - document % 3 : -1] = 0
            types = np.zeros(LENGTH, np.int64)
            rows.append(
                {"input_ids": ids, "token_type_ids": types, "attention_mask": mask, "labels": np.array(document % 3)}
            )
    return rows


def make(sizes: list[int] = SIZES, readings: int = 1, **options: Any) -> DocumentBatches:
    store = FeatureStore(features(sizes))
    section = TrainSection(**{"batch_size": 3, "seed": 5, **options})
    return DocumentBatches(store, sizes, section, pad, [f"d.txt:{row + 1}" for row in range(len(store))], readings)


def model_of(dropout: float = 0.0, **config: Any) -> Any:
    model = tiny(
        "ErnieDocForSequenceClassification",
        num_labels=LABELS,
        hidden_dropout_prob=dropout,
        attention_dropout_prob=dropout,
        initializer_range=0.2,
        **config,
    )
    model.train()
    return model


def initial_state(model: Any) -> dict[str, np.ndarray]:
    return {name: np.zeros(shape, np.float32) for name, shape in model.config.state_shapes.items()}


# -- the plan ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_every_document_is_read_in_order_in_one_slot(sizes: list[int], slots: int, readings: int, epoch: int) -> None:
    batches = make(sizes, readings, batch_size=slots)
    plan = batches.plan(epoch)
    total = sum(sizes)
    ends = np.cumsum([size for size in sizes if size]).tolist()
    starts = [0, *ends[:-1]]
    seen: list[int] = []
    for slot in range(slots):
        rows = [int(indices[slot]) for indices in plan]
        used = [row for row in rows if row < 2 * total]
        assert rows == used + [2 * total] * (len(rows) - len(used))  # nothing follows an empty place
        while used:
            document = starts.index(used[0] % total)
            once = list(range(starts[document], ends[document]))
            expected = [row + total for row in once] * (readings - 1) + once
            assert used[: len(expected)] == expected
            used = used[len(expected) :]
            seen.append(document)
    assert sorted(seen) == list(range(len(ends)))
    assert all((indices < 2 * total).any() for indices in plan)
    again = make(sizes, readings, batch_size=slots).plan(epoch)
    assert [indices.tolist() for indices in again] == [indices.tolist() for indices in plan]
    busy = sum(sizes) * readings
    assert -(-busy // slots) <= len(plan) <= busy // slots + max(sizes) * readings


def test_epochs_and_seeds_differ() -> None:
    sizes = [1] * 30
    plans = [make(sizes, seed=seed).plan(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({str([indices.tolist() for indices in plan]) for plan in plans}) == 4


def test_batches_say_where_documents_start_and_what_counts() -> None:
    batches = make(readings=2)
    total = sum(SIZES)
    for indices in batches.plan(0):
        batch = batches.load(0, indices)
        rows = indices[indices < 2 * total]
        np.testing.assert_array_equal(batch.arrays[SLOTS], np.flatnonzero(indices < 2 * total))
        np.testing.assert_array_equal(batch.arrays[COUNTS], rows < total)
        first = np.isin(rows - total, [0, 3, 4, 9, 11, 15])
        np.testing.assert_array_equal(batch.arrays[STARTS], first)
        assert batch.tokens == batch.arrays["attention_mask"].sum()
        assert batches.describe(indices) == [f"d.txt:{row % total + 1}" for row in rows]
    once = make()
    for indices in once.plan(0):
        arrays = once.load(0, indices).arrays
        assert arrays[COUNTS].all()
        np.testing.assert_array_equal(arrays[STARTS], np.isin(indices[indices < 2 * total], [0, 3, 4, 9, 11, 15]))


def test_a_budget_of_tokens_sets_the_number_of_slots() -> None:
    assert {len(indices) for indices in make(batch_tokens=4 * LENGTH + 5).plan(0)} == {4}
    assert {len(indices) for indices in make(batch_tokens=1).plan(0)} == {1}


def test_several_processes_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        DocumentBatches(FeatureStore(features(SIZES)), SIZES, TrainSection(), pad, world=World(0, 2))
    assert caught.value.code == "one-process"


# -- the objective -----------------------------------------------------------------------------------------------------


def lone_losses(model: Any, readings: int) -> dict[int, float]:
    """Loss of each row when its document is read alone."""
    rows = features(SIZES)
    losses, start = {}, 0
    for size in SIZES:
        memory = None
        for number in [*range(start, start + size)] * readings:
            arrays = {name: array[None] for name, array in rows[number].items()}
            if memory is not None:
                arrays["memories"] = memory
            result = call(model, arrays)
            memory = result.memories.numpy()
            losses[number] = float(result.loss)  # of the last reading
        start += size
    return losses


@pytest.mark.parametrize("readings", [1, 2])
def test_a_packed_document_learns_as_if_it_were_alone(readings: int) -> None:
    """PaddleNLP's trainers leave the memory of the last document to the next one in a slot."""
    model = model_of()
    expected = lone_losses(model, readings)
    batches, objective = make(readings=readings), Recurrent(initial_state(model))
    total, counted = sum(SIZES), 0
    for epoch in (0, 1):
        for indices in batches.plan(epoch):
            losses = objective.loss(model, batches.load(epoch, indices).arrays, 0)
            rows = [int(row) for row in indices if row < total]
            assert losses.weight == len(rows)
            mean = np.mean([expected[row] for row in rows]) if rows else 0.0
            assert float(losses.total) == pytest.approx(mean, abs=1e-5)
            counted += len(rows)
    assert counted == 2 * total
    if readings == 2:
        assert any(abs(expected[row] - lone_losses(model, 1)[row]) > 1e-3 for row in expected)


def test_rows_that_do_not_count_have_no_gradient() -> None:
    model = model_of()
    batches, objective = make([2, 1], readings=2, batch_size=2), Recurrent(initial_state(model))
    first, second = (batches.load(0, indices) for indices in batches.plan(0)[:2])
    assert not first.arrays[COUNTS].any() and second.arrays[COUNTS].tolist() != [1, 1]
    losses = objective.loss(model, first.arrays, 0)
    assert float(losses.total) == 0.0 and losses.weight == 0
    losses.total.backward()
    gradients = [parameter.grad for parameter in model.parameters()]
    assert all(gradient is None or not gradient.abs().sum() for gradient in gradients)
    learning = objective.loss(model, second.arrays, 0)
    learning.total.backward()
    assert learning.weight == 1
    # A pass without labels gives gradients to the same parameters as one with them.
    assert [gradient is None for gradient in gradients] == [each.grad is None for each in model.parameters()]


def test_what_is_carried_can_be_put_back() -> None:
    model = model_of()
    batches = make()
    plan = batches.plan(0)
    objective, other = Recurrent(initial_state(model)), Recurrent(initial_state(model))
    for indices in plan[:2]:
        objective.loss(model, batches.load(0, indices).arrays, 0)
    other.carry({name: tensor.numpy() for name, tensor in objective.carried().items()})
    assert sorted(other.carried()) == ["0.memories", "1.memories", "2.memories"]
    for indices in plan[2:]:
        arrays = batches.load(0, indices).arrays
        assert float(objective.loss(model, arrays, 0).total) == float(other.loss(model, arrays, 0).total)


# -- runs --------------------------------------------------------------------------------------------------------------


class Stop(Exception):
    pass


def run(folder: Path, stop_after: int | None = None, resume: bool = False, readings: int = 2, **options: Any) -> Any:
    settings = {"max_steps": 12, "save_steps": 5, "learning_rate": 1e-3, "batch_size": 3, "seed": 5, **options}
    batches = make(readings=readings, **settings)
    if stop_after is not None:
        load, calls = batches.load, 0

        def failing(epoch: int, indices: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > stop_after:
                raise Stop
            return load(epoch, indices)

        batches.load = failing  # type: ignore[method-assign]
    paddle.seed(1)
    model = model_of(dropout=0.2)
    _, trained = fit(
        folder, TrainSection(**settings), model, resume, objective=Recurrent(initial_state(model)), batches=batches
    )
    return {name: tensor.numpy().tobytes() for name, tensor in trained.state_dict().items()}


@pytest.mark.parametrize("options", [{}, {"gradient_accumulation": 2}, {"recompute": True}])
def test_a_resumed_run_ends_with_the_same_bits(tmp_path: Path, options: dict[str, Any]) -> None:
    straight = run(tmp_path / "straight", **options)
    with pytest.raises(Stop):
        run(tmp_path / "resumed", stop_after=7 * options.get("gradient_accumulation", 1), **options)
    (latest,) = checkpoints(tmp_path / "resumed" / "checkpoints")
    assert latest.name == "step-000005"
    assert (latest / "carried.safetensors").is_file()
    assert run(tmp_path / "resumed", resume=True, **options) == straight


def test_the_memory_of_a_checkpoint_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the run above would end otherwise: the test can fail."""
    straight = run(tmp_path / "straight")
    with pytest.raises(Stop):
        run(tmp_path / "resumed", stop_after=7)
    monkeypatch.setattr(
        "zoo_cli.engine.loop.load_carried",
        lambda path: {f"{slot}.memories": array for slot in range(3) for array in initial_state(model_of()).values()},
    )
    assert run(tmp_path / "resumed", resume=True) != straight


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retrospective", [False, True])
def test_evaluation_and_prediction_read_alike(retrospective: bool) -> None:
    options = DocumentClassificationOptions(
        labels=["a", "b", "c"], max_length=16, retrospective=retrospective, all_scores=True
    )
    task = DocumentClassificationTask(options, tokenizer(), INPUTS)
    model = model_of(vocab_size=len(tokenizer()))
    task.fit_model(model.config.state_shapes)
    texts = ["".join(chr(0x4E00 + 7 * index + number) for index in range(11 * number)) for number in range(6)]
    alone = [Pipeline(task, Predictor(model, task, batch_size=1))(text) for text in texts]
    together = Pipeline(task, Predictor(model, task, batch_size=4))(texts)
    for one, other in zip(alone, together, strict=True):
        assert one["label"] == other["label"]
        assert list(one["scores"].values()) == pytest.approx(list(other["scores"].values()), abs=1e-5)
    examples = [TextExample(text, label=answer["label"]) for text, answer in zip(texts, alone, strict=True)]
    for limits in ({"batch_size": 1}, {"batch_size": 4}, {"batch_tokens": 40}):
        scores = Evaluation(model, task, examples, TrainSection(**limits))()
        assert scores["accuracy"] == 1.0
        if limits == {"batch_size": 1}:
            loss = scores["loss"]
        assert scores["loss"] == pytest.approx(loss, rel=1e-4)
