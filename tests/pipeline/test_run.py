"""`zoo run`: the steps of a recipe, what is done again and why, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoo_cli.base.errors import ArtifactError, UsageError, ZooError
from zoo_cli.data.parts import read_parts
from zoo_cli.data.sources import read_examples
from zoo_cli.pipeline import facts
from zoo_cli.pipeline.estimates import Estimates
from zoo_cli.pipeline.execution import Event, StepError, execute
from zoo_cli.pipeline.graph import Judgement, Road
from zoo_cli.pipeline.state import STATE, State
from zoo_cli.pipeline.steps import can_split, chosen, model_source, served, steps_of
from zoo_cli.pipeline.summary import summary
from zoo_cli.recipe.loading import load_recipe, recipe_names

SST2 = "bert/sst2.yaml"
SECONDS = 300  # for one process on a busy machine
SHORT = [
    "train.max_steps=4",
    "train.eval_steps=2",
    "train.batch_size=4",
    "export.backends=[onnx]",
    "export.golden_requests=2",
]


@pytest.fixture(autouse=True)
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """The source may be edited while the tests run."""
    monkeypatch.setattr(facts, "code_version", lambda packages: "test")


def road(root: Path, *overrides: str, recipe: str = SST2, **values: object) -> Road:
    given = [*SHORT, *overrides] if recipe == SST2 else list(overrides)
    return Road(recipe, given, load_recipe(recipe, given, tiny=True), root, **values)  # type: ignore[arg-type]


def verdicts(judgements: list[Judgement]) -> dict[str, str]:
    return {each.step.name: each.verdict for each in judgements}


def plan(each: Road) -> dict[str, str]:
    return verdicts(each.plan(State(each.root)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Event]]]:
    """A whole run, and what happened in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(facts, "code_version", lambda packages: "test")
        root = tmp_path_factory.mktemp("runs") / "sst2"
        events: list[Event] = []
        made = road(root)
        summary(made, execute(made, events.append))
        yield root, events


# -- which steps there are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(recipe_names()))
def test_steps_stand_behind_what_they_need(name: str) -> None:
    steps = steps_of(load_recipe(name).recipe)
    names = [step.name for step in steps]
    assert len(set(names)) == len(names)
    for number, step in enumerate(steps):
        assert set(step.needs) <= set(names[:number])


def test_sections_make_steps() -> None:
    def names(recipe: str, *overrides: str) -> list[str]:
        return [step.name for step in steps_of(load_recipe(recipe, overrides, tiny=True).recipe)]

    end = ["export", "verify", "bench", "report"]
    assert names(SST2) == ["check", "finetune", *end]
    assert names("tinybert/sst2.yaml") == ["check", "finetune", "distill", *end]
    assert names("ernie-3.0/tnews_prune.yaml") == ["check", "finetune", "prune", *end]
    assert names(SST2, "quantize.method=dynamic") == ["check", "finetune", "export", "quantize", *end[1:]]
    assert names("uie/custom.yaml")[:3] == ["check", "split", "finetune"]
    assert names("bert/pretrain.yaml") == ["pretrain", "report"]


def test_a_verb_reads_what_the_nearest_before_it_made() -> None:
    both = load_recipe("tinybert/sst2.yaml", ["prune.widths=[0.5]", "quantize.method=dynamic"]).recipe
    assert [model_source(both, verb) for verb in ("distill", "prune", "quantize", "export")] == [
        "finetune",
        "distill",
        "prune",
        "prune",
    ]
    assert served(both) == "quantize"
    plain = load_recipe(SST2).recipe
    assert (model_source(plain, "export"), served(plain)) == ("finetune", "export")


def test_from_and_until() -> None:
    steps = steps_of(load_recipe(SST2).recipe)
    assert [step.name for step in chosen(steps, "finetune", "verify")] == ["finetune", "export", "verify"]
    for values in (("distill", None), (None, "nothing"), ("verify", "finetune")):
        with pytest.raises(UsageError):
            chosen(steps, *values)
    with pytest.raises(UsageError, match="finetune is not between"):
        chosen(steps, "export", None, ("finetune",))


def test_the_split_files_have_the_rows_that_verbs_choose_by_themselves(tmp_path: Path) -> None:
    for recipe in ("uie/custom.yaml", "gpt/custom_text.yaml"):
        each = road(tmp_path / Path(recipe).stem, recipe=recipe, last="split")
        assert can_split(each.loaded.recipe)
        execute(each, lambda event: None)
        overrides = [word for word in each.command(each.by_name["finetune"]) if word.startswith("data.")]
        section = load_recipe(recipe, overrides, tiny=True).recipe.data
        own = read_parts(each.loaded.recipe.data, each.loaded.recipe.train.seed, ("train", "dev"))
        for part, files in (("train", section.train), ("dev", section.dev)):
            written = [repr(example).partition("source=")[0] for example in read_examples(files, section)]
            assert written == [repr(example).partition("source=")[0] for example in own[part]]
        assert section.dev_fraction == 0


# -- what is done again ------------------------------------------------------------------------------------------------


def test_a_whole_run(finished: tuple[Path, list[Event]]) -> None:
    root, events = finished
    done = [event.step for event in events if event.state == "done"]
    assert done == ["check", "finetune", "export", "verify", "bench", "report"]
    assert (root / "export" / "bundle" / "MANIFEST.json").is_file()
    assert (root / "report.html").is_file()
    page = (root / "RECEIPT.md").read_text()
    assert "zoo finetune --recipe bert/sst2.yaml" in page and "dev.tsv" in page
    record = State(root).records["finetune"]
    assert record.seconds > 0 and record.peak_megabytes > 100 and record.disk_bytes > 10_000


def test_a_second_run_does_nothing(finished: tuple[Path, list[Event]]) -> None:
    root, _ = finished
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}
    events: list[Event] = []
    execute(road(root), events.append)
    assert {event.state for event in events} == {"kept"}
    assert before == {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("overrides", "kept"),
    [
        (["train.learning_rate=1e-4"], ["check"]),
        (["train.log_steps=1", "serve.port=1"], None),
        (["export.golden_requests=3"], ["check", "finetune"]),
        (["task.max_length=40"], []),
        (["model.config.num_hidden_layers=1"], ["check"]),
        (["gates.metric_drop=0.5"], None),
    ],
)
def test_only_what_depends_on_a_change_is_done_again(
    finished: tuple[Path, list[Event]], overrides: list[str], kept: list[str] | None
) -> None:
    root, _ = finished
    changed = road(root, *overrides)
    found = [name for name, verdict in plan(changed).items() if verdict == "done"]
    unchanged = [step.name for step in changed.steps if step.name != "report"]
    assert [name for name in found if name != "report"] == (unchanged if kept is None else kept)
    if kept == ["check"] and overrides[0].startswith("train."):
        reasons = {each.step.name: each.reasons for each in changed.plan(State(root))}
        assert reasons["finetune"] == ["train.learning_rate: 0.002 -> 0.0001"]


def test_changed_data_code_and_outputs(finished: tuple[Path, list[Event]], monkeypatch: pytest.MonkeyPatch) -> None:
    root, _ = finished
    state = State(root)
    each = road(root)
    data = next(iter(state.records["finetune"].facts["data"]))
    state.records["finetune"].facts["data"][data] = "0"
    assert each.judge(each.by_name["finetune"], state).reasons == [f"{data} changed"]
    assert each.judge(each.by_name["check"], state).verdict == "done"
    state.records["export"].output = "0"
    assert each.judge(each.by_name["export"], state).reasons == ["its output changed"]
    monkeypatch.setattr(facts, "code_version", lambda packages: "new" if "export" in packages else "test")
    assert [name for name, verdict in plan(each).items() if verdict == "done"] == ["check", "finetune"]


def test_forced_steps_are_repeated(finished: tuple[Path, list[Event]]) -> None:
    root, _ = finished
    found = plan(road(root, forced=("export",)))
    assert found == {
        **dict.fromkeys(("check", "finetune"), "done"),
        **dict.fromkeys(("export", "verify", "bench", "report"), "again"),
    }
    assert plan(road(root, first="verify", last="verify")) == {
        **dict.fromkeys(("check", "finetune", "export"), "taken"),
        "verify": "done",
        **dict.fromkeys(("bench", "report"), "left out"),
    }


def test_what_cannot_be_done_is_refused_before_anything_is(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as missing:
        execute(road(tmp_path, first="export"), print)
    assert missing.value.code == "missing-step"
    (tmp_path / "finetune").mkdir()
    (tmp_path / "finetune" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError) as strange:
        execute(road(tmp_path), print)
    assert strange.value.code == "step-exists"
    (tmp_path / STATE).write_text("{}")
    with pytest.raises(ArtifactError) as broken:
        execute(road(tmp_path), print)
    assert broken.value.code == "broken-state"
    assert not (tmp_path / "steps").exists()


def test_a_failed_step_is_named_and_its_exit_code_passed_on(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        execute(road(tmp_path, "data.train=missing.tsv"), lambda event: None)
    assert (caught.value.exit_code, caught.value.values["step"]) == (3, "check")
    assert "missing.tsv" in str(caught.value)


def test_a_failed_gate_is_not_tried_again_unless_something_changed(finished: tuple[Path, list[Event]]) -> None:
    root, _ = finished
    strict = road(root, "export.tolerance=1e-30")
    for attempt in range(2):
        events: list[Event] = []
        with pytest.raises(StepError) as caught:
            execute(strict, events.append)
        assert caught.value.exit_code == 6
        assert ("running" in {event.state for event in events}) == (attempt == 0)
    assert plan(strict)["export"] == "rejected"
    assert plan(road(root))["export"] == "again"
    execute(road(root, last="verify"), lambda event: None)


def test_estimates(finished: tuple[Path, list[Event]]) -> None:
    root, _ = finished
    each = road(root)
    measured = Estimates(each.loaded, State(root).records).of(each.by_name["finetune"])
    assert measured.basis == "measured" and measured.seconds > 0
    for name in ("tinybert/sst2.yaml", "ernie-3.0/tnews_prune.yaml", "bert/pretrain.yaml"):
        loaded = load_recipe(name, tiny=True)
        estimates = Estimates(loaded, {})
        for step in steps_of(loaded.recipe):
            found = estimates.of(step)
            assert found.basis == "model" and found.seconds > 0 and found.megabytes > 0
    small, large = (
        Estimates(load_recipe(SST2, [f"train.max_steps={steps}"], tiny=True), {}).of(each.by_name["finetune"])
        for steps in (100, 1000)
    )
    assert large.seconds > small.seconds


# -- kills -------------------------------------------------------------------------------------------------------------

MAIN = """
import sys
from zoo_cli.pipeline import facts
facts.code_version = lambda packages: "test"
sys.argv = ["zoo", *sys.argv[1:]]
from zoo_cli.cli.app import main
main()
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", MAIN, "run", "-r", SST2, "--tiny", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(folder: Path, pattern: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not any(folder.glob(pattern)):
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, f"{pattern} does not appear in {folder}"
        time.sleep(0.005)


def test_killed_runs_go_on(tmp_path: Path) -> None:
    steps = [*SHORT, "train.max_steps=40", "train.eval_steps=20", "train.save_steps=1", "train.keep_checkpoints=1"]
    last = ["--until-step", "finetune"]
    root = tmp_path / "runs/bert/sst2.tiny"
    process = start(tmp_path, *steps, *last)
    wait_for(root / "finetune/checkpoints", "step-*", process)
    process.kill()
    process.communicate()
    assert json.loads((root / STATE).read_text())["steps"]["finetune"]["state"] == "running"
    # The training was told to stop; the next run waits for it, and goes on from its checkpoint.
    process = start(tmp_path, *steps, *last, "--json")
    assert process.stdout is not None
    next(line for line in process.stdout if json.loads(line)["step"] == "finetune")
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 75, said
    process = start(tmp_path, *steps, *last, "--json")
    out, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["step"] for event in events if event.get("state") == "kept"] == ["check"]
    assert events[-1]["event"] == "result"
    whole = tmp_path / "whole"
    whole.mkdir()
    execute(road(whole, *steps[len(SHORT) :], last="finetune"), lambda event: None)
    weights = [folder / "finetune/best/model.safetensors" for folder in (root, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_finished_output_that_was_not_written_down_is_taken_over(finished: tuple[Path, list[Event]]) -> None:
    root, _ = finished
    path = root / STATE
    stored = path.read_text()
    value = json.loads(stored)
    for name in ("finetune", "export", "verify"):
        value["steps"][name] |= {"state": "running", "output": None}
    path.write_text(json.dumps(value))
    assert [plan(road(root))[name] for name in ("finetune", "export", "verify")] == ["adopt", "adopt", "resume"]
    path.write_text(stored)


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    process = start(tmp_path, "--dry-run", "--json")
    out, said = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    found = json.loads(out)
    assert [row["step"] for row in found["steps"]][:2] == ["check", "finetune"]
    assert all(row["estimate"]["basis"] == "model" for row in found["steps"])
    assert list(tmp_path.iterdir()) == []


def test_two_at_a_time_are_refused(finished: tuple[Path, list[Event]]) -> None:
    from zoo_cli.base.locks import exclusive

    root, _ = finished
    with exclusive(root / ".lock"), pytest.raises(ZooError) as caught:
        execute(road(root), print)
    assert caught.value.code == "run-busy"
