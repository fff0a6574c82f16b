"""A run that is killed anywhere and resumed ends with the same bits as one that is not."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import SECONDS, Processes
from tests.engine.toy import accuracy, batches, build, features, fit
from zoo_cli.base.errors import ArtifactError, UsageError
from zoo_cli.base.files import sha256_file
from zoo_cli.engine.checkpoint import checkpoints, latest_checkpoint
from zoo_cli.recipe.schema import TrainSection

OPTIONS = ("max_steps=30", "batch_size=8", "log_steps=5", "save_steps=7", "learning_rate=0.01", "warmup_ratio=0.1")


def hashes(folder: Path) -> dict[str, str]:
    last = folder / "checkpoints" / "step-000030"
    files = [last / "model.safetensors", last / "optimizer.safetensors", folder / "best" / "model.safetensors"]
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def curves(folder: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl` without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in ("tokens_per_second", "peak_share", "seconds")} for row in rows]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, processes: Processes) -> Path:
    folder = tmp_path_factory.mktemp("straight")
    code, errors = processes.run(folder, *OPTIONS)
    assert code == 0, errors
    return folder


def assert_same(folder: Path, straight: Path) -> None:
    assert hashes(folder) == hashes(straight)
    assert curves(folder) == curves(straight)
    results = [json.loads((run / "result.json").read_text()) for run in (folder, straight)]
    assert {**results[0], "seconds": 0} == {**results[1], "seconds": 0}


@pytest.mark.parametrize("flag, place", [("--kill-at-step", 18), ("--kill-in-save", 3)])
def test_sigkill_and_resume_are_bit_exact(
    tmp_path: Path, straight: Path, processes: Processes, flag: str, place: int
) -> None:
    code, _ = processes.run(tmp_path, *OPTIONS, flag, place)
    assert code == -signal.SIGKILL
    if flag == "--kill-in-save":
        assert [path for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".partial-")]
        assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == ["step-000014", "step-000007"]
    code, errors = processes.run(tmp_path, *OPTIONS, "--resume")
    assert code == 0, errors
    assert_same(tmp_path, straight)
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.parametrize("number, expected", [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_signals_save_and_exit(
    tmp_path: Path, straight: Path, processes: Processes, number: int, expected: int
) -> None:
    # Slow behind the checkpoint that is waited for, so that a busy machine does not finish before it is told to stop.
    process = processes.start(tmp_path, *OPTIONS, "--pause", 1000, "--pause-from", 8)
    _wait_for(tmp_path / "checkpoints" / "step-000007")
    process.send_signal(number)
    code, errors = processes.finish(process)
    assert code == expected, errors
    assert "checkpoint is saved" in errors
    stopped_at = int(checkpoints(tmp_path / "checkpoints")[0].name.removeprefix("step-"))
    assert 7 <= stopped_at < 30
    if number == signal.SIGTERM:
        code, errors = processes.run(tmp_path, *OPTIONS, "--resume")
        assert code == 0, errors
        assert_same(tmp_path, straight)


def test_a_signal_breaks_off_an_evaluation(tmp_path: Path, straight: Path, processes: Processes) -> None:
    """The evaluation after step 8 would take ten minutes; it is done again by the resumed run."""
    run = tmp_path / "run"
    process = processes.start(run, *OPTIONS, "--pause-evaluation", 600)
    _wait_for(tmp_path / "run.evaluates")
    process.send_signal(signal.SIGTERM)
    code, errors = processes.finish(process)  # fails when it takes longer than half of the evaluation
    assert code == 75, errors
    assert checkpoints(run / "checkpoints")[0].name == "step-000008"
    assert processes.run(run, *OPTIONS, "--resume")[0] == 0
    assert_same(run, straight)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.02)


class Stop(Exception):
    pass


def options(**values: Any) -> TrainSection:
    return TrainSection(**{"max_steps": 12, "batch_size": 8, "save_steps": 3, "learning_rate": 0.01, **values})


def interrupted(folder: Path, at: int, settings: TrainSection) -> None:
    """A run whose data raise an error at forward pass `at`."""
    data = batches(settings)
    load, calls = data.load, 0

    def failing(epoch: int, indices: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > at:
            raise Stop
        return load(epoch, indices)

    data.load = failing  # type: ignore[method-assign]
    with pytest.raises(Stop):
        fit(folder, settings, batches=data)


def weights(model: Any) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_a_run_stopped_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    _, model = fit(tmp_path / "straight", options())
    interrupted(tmp_path / "resumed", 2, options())
    _, resumed = fit(tmp_path / "resumed", options(), resume=True)
    assert weights(resumed) == weights(model)


def test_many_models_in_one_process_do_not_disturb_optimizer_names(tmp_path: Path) -> None:
    _, model = fit(tmp_path / "straight", options())
    interrupted(tmp_path / "resumed", 7, options())
    build()
    _, resumed = fit(tmp_path / "resumed", options(), build(seed=77), resume=True)
    assert weights(resumed) == weights(model)


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "stranger"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    _, model = fit(tmp_path / "straight", options())
    folder = tmp_path / "resumed"
    interrupted(folder, 7, options())
    latest = checkpoints(folder / "checkpoints")[0]
    assert latest.name == "step-000006"
    file = latest / "model.safetensors"
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "delete":
        (latest / "MANIFEST.json").unlink()
    else:
        (latest / "more.bin").write_bytes(b"?")
    with caplog.at_level("WARNING"):
        _, resumed = fit(folder, options(), build(seed=3), resume=True)
    assert "step-000006 is damaged" in caplog.text
    assert weights(resumed) == weights(model)


def test_only_damaged_checkpoints_are_an_error(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, options())
    for path in checkpoints(tmp_path / "checkpoints"):
        (path / "progress.json").write_text("{}")
    with pytest.raises(ArtifactError) as caught:
        latest_checkpoint(tmp_path / "checkpoints")
    assert caught.value.code == "no-whole-checkpoint"


def test_resume_refuses_another_model(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, options())
    with pytest.raises(ArtifactError) as caught:
        fit(tmp_path, options(), build(layers=3), resume=True)
    assert caught.value.code == "weights-mismatch"


def test_resume_refuses_other_data(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, options())
    rows = features()
    rows[4]["labels"][0] = 3 - rows[4]["labels"][0]
    with pytest.raises(UsageError) as caught:
        fit(tmp_path, options(), resume=True, batches=batches(options(), rows))
    assert caught.value.code == "data-changed"


def test_resume_refuses_a_changed_recipe_and_says_what_may_change(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, options())
    with pytest.raises(UsageError) as caught:
        fit(tmp_path, options(learning_rate=0.02), resume=True)
    assert caught.value.code == "recipe-changed"
    assert "train.learning_rate: 0.01 -> 0.02" in str(caught.value)
    assert "train.log_steps" in str(caught.value)


def test_resume_accepts_the_keys_that_change_no_step(tmp_path: Path) -> None:
    _, model = fit(tmp_path / "straight", options())
    interrupted(tmp_path / "resumed", 7, options())
    changed = options(log_steps=2, save_steps=5, keep_checkpoints=1, recompute=True)
    _, resumed = fit(tmp_path / "resumed", changed, build(seed=3), resume=True)
    assert weights(resumed) == weights(model)
    assert [path.name for path in checkpoints(tmp_path / "resumed" / "checkpoints")] == ["step-000012"]


def test_resume_refuses_another_group_size(tmp_path: Path) -> None:
    interrupted(tmp_path, 7, options())
    with pytest.raises(UsageError) as caught:
        fit(tmp_path, options(gradient_accumulation=2), resume=True)
    assert caught.value.code == "batch-changed"
    assert "it is 1" in str(caught.value)


def test_a_run_cut_off_before_its_result_is_finished_by_a_resume(tmp_path: Path) -> None:
    result, model = fit(tmp_path, options(), evaluate=lambda: {"accuracy": 0.5}, metric="accuracy")
    (tmp_path / "result.json").unlink()
    again, resumed = fit(
        tmp_path, options(), build(seed=3), resume=True, evaluate=lambda: {"accuracy": 0.5}, metric="accuracy"
    )
    assert again.best_step == result.best_step
    assert weights(resumed) == weights(model)
    assert (tmp_path / "result.json").exists()


def test_an_evaluation_that_fails_loses_no_step(tmp_path: Path) -> None:
    def failing() -> dict[str, Any]:
        raise Stop

    settings = options(save_steps=None, eval_steps=6)
    with pytest.raises(Stop):
        fit(tmp_path / "run", settings, evaluate=failing)
    assert checkpoints(tmp_path / "run" / "checkpoints")[0].name == "step-000006"
    model = build(seed=3)
    fit(tmp_path / "run", settings, model, resume=True, evaluate=lambda: accuracy(model), metric="accuracy")
    rows = [row for row in curves(tmp_path / "run") if row["kind"] == "dev"]
    assert [row["step"] for row in rows] == [6, 12]


def test_a_torn_last_line_of_metrics_is_dropped(tmp_path: Path) -> None:
    settings = options(log_steps=1)
    interrupted(tmp_path, 8, settings)
    with (tmp_path / "metrics.jsonl").open("a") as handle:
        handle.write('{"kind": "train", "st')
    fit(tmp_path, settings, build(seed=3), resume=True)
    assert [row["step"] for row in curves(tmp_path)] == list(range(1, 13))


def test_checkpoints_can_be_moved_with_their_run(tmp_path: Path) -> None:
    _, model = fit(tmp_path / "straight", options())
    interrupted(tmp_path / "here", 7, options())
    shutil.move(tmp_path / "here", tmp_path / "there")
    _, resumed = fit(tmp_path / "there", options(), build(seed=3), resume=True)
    assert weights(resumed) == weights(model)
