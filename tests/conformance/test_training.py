"""Every task with one family, and every family with one task: learnt by heart, resumed, saved and loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conformance.cases import CASES, RESUMED, TRAINED, recipe
from tests.conformance.conftest import Make
from zoo_cli.base.files import read_json, sha256_file
from zoo_cli.data.parts import read_parts
from zoo_cli.engine.answering import evaluate_folder, load_pipeline
from zoo_cli.engine.finetune import finetune
from zoo_cli.registry import FAMILIES, TASKS, family, resolve, task
from zoo_cli.runtime.golden import same_answer
from zoo_cli.tasks.generative import GenerativeTask


def test_every_family_and_every_task_is_trained() -> None:
    learnt = [name for name in TASKS if task(name).formats]  # for others there are no examples
    understanding = {name for name in learnt if not issubclass(resolve(task(name).implementation), GenerativeTask)}
    assert {name for _, name in TRAINED} == understanding
    assert {name for name, _ in TRAINED} == {name for name in FAMILIES if understanding & set(family(name).tasks)}


@pytest.mark.parametrize(("name", "task_name"), TRAINED)
def test_the_loss_goes_down(name: str, task_name: str, trained: Make) -> None:
    lines = (trained(name, task_name) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    losses = [row["loss"] for row in map(json.loads, lines) if row["kind"] == "train"]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


@pytest.mark.parametrize("task_name", CASES)
def test_a_task_is_learnt_saved_and_loaded(task_name: str, trained: Make) -> None:
    case = CASES[task_name]
    run = trained(case.family, task_name)
    loaded = recipe(case.family, task_name, run.parent / "recipe")
    best = run / "best"
    scores = evaluate_folder(best, loaded, "dev")
    assert scores[case.metric] > 0.9 and scores["loss"] >= 0
    main = task(task_name).metric
    assert scores[main] == pytest.approx(read_json(best / "metrics.json")[main])
    single = load_pipeline(best)(case.request)
    assert {key: single[key] for key in case.expected} == case.expected


@pytest.mark.parametrize(("name", "task_name"), TRAINED)
def test_answers_do_not_depend_on_the_batch(name: str, task_name: str, trained: Make) -> None:
    run = trained(name, task_name)
    pipeline = load_pipeline(run / "best")
    data = recipe(name, task_name, run.parent / "recipe").recipe.data
    rows = pipeline.task.adapt(read_parts(data, 0, ("dev",))["dev"], training=False)
    requests = [CASES[task_name].request, *map(pipeline.task.request_of, rows)]
    alone = [pipeline(request) for request in requests]
    for together in (pipeline(requests), pipeline(requests[::-1])[::-1]):
        assert same_answer(together, alone, 1e-4)


@pytest.mark.parametrize(("name", "task_name"), RESUMED)
def test_a_resumed_run_ends_with_the_same_bits(name: str, task_name: str, tmp_path: Path) -> None:
    loaded = recipe(name, task_name, tmp_path / "recipe", max_steps=6, eval_steps=3, save_steps=3)
    finetune(loaded, tmp_path / "straight")
    # What a process leaves that is killed right after its first checkpoint.
    shutil.copytree(tmp_path / "straight", tmp_path / "killed")
    shutil.rmtree(tmp_path / "killed" / "checkpoints" / "step-000006")
    shutil.rmtree(tmp_path / "killed" / "best")
    (tmp_path / "killed" / "result.json").unlink()
    finetune(loaded, tmp_path / "killed", resume=True)
    last = Path("checkpoints") / "step-000006"
    for file in ("model.safetensors", "optimizer.safetensors"):
        one, other = (sha256_file(tmp_path / run / last / file) for run in ("straight", "killed"))
        assert one == other, file
