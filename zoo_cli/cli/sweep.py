"""`zoo sweep`."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo_cli.cli import options

if TYPE_CHECKING:
    from zoo_cli.pipeline.sweep import Sweep, Trial


class Verb(enum.StrEnum):
    """Verbs that a sweep can repeat."""

    finetune = "finetune"
    pretrain = "pretrain"
    distill = "distill"


def sweep(
    recipe: options.Recipe,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE,VALUE]...",
            help="Recipe values to try; commas within brackets or quotes separate nothing.",
            show_default=False,
        ),
    ] = None,
    verb: Annotated[Verb, typer.Option("--verb", help="What to run for each combination.")] = Verb.finetune,
    jobs: Annotated[int, typer.Option("--jobs", help="Runs at a time.", min=1)] = 1,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    force: options.Force = False,
    resume: options.Resume = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    device: options.Device = "cpu",
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Try all combinations of some recipe values, each as a run of its own, and compare them.

    zoo sweep --recipe bert/sst2.yaml train.learning_rate=1e-5,2e-5,3e-5 train.batch_size=16,32

    zoo sweep --recipe my.yaml 'data.train=[a.json,b.json],[c.json]' 'model.init="odd,name",bert-base-uncased'

    All combinations are checked before the first starts. One that fails stops no other; the exit code is then that of
    the first that failed, in the order of the combinations. With --resume, finished runs are kept, and unfinished and
    failed ones go on.
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.progress import go_offline
    from zoo_cli.pipeline.sweep import SUMMARY, plan, run, take_finished
    from zoo_cli.recipe.loading import run_folder

    if offline or tiny:
        go_offline()
    passed = ["--device", device]
    passed += ["--from", str(source)] if source is not None else []
    passed += [flag for flag, wanted in (("--tiny", tiny), ("--offline", offline)) if wanted]
    values = [*(overrides or ()), *([f"train.seed={seed}"] if seed is not None else [])]
    # Apart from one another, since runs of two verbs by the same recipe are not told apart otherwise.
    name = "sweep" if verb is Verb.finetune else f"sweep-{verb.value}"
    todo = plan(recipe, values, lambda first: output_dir or run_folder(first, name), verb.value, tiny, passed)
    _check_inputs(todo)
    take_finished(todo, resume, force)
    if dry_run:
        _announce(todo, as_json)
        return

    def ended(trial: Trial) -> None:
        done = sum(each.state not in ("waiting", "running") for each in todo.trials)
        score = f"{trial.metric} {trial.score:.4f}" if trial.score is not None else ""
        say(
            "{done} of {total}: {name}: {state} {score}",
            done=done,
            total=len(todo.trials),
            name=trial.name,
            state=trial.state,
            score=score,
        )

    report = run(todo, jobs, force, ended)
    if as_json:
        emit_json(report)
    else:
        _show(report)
        say("table: {file}", file=todo.folder / SUMMARY)
    codes = [trial.exit_code for trial in todo.trials if trial.exit_code is not None]
    if codes:
        sys.exit(codes[0])


def _check_inputs(todo: Sweep) -> None:
    """Look at what the recipes name, so that what is missing shows before the first run."""
    from zoo_cli.base.errors import ZooError, raise_all
    from zoo_cli.cli.jobs import inputs_of
    from zoo_cli.distill.strategies import section_of

    errors: dict[str, ZooError] = {}
    for loaded in todo.loaded:
        try:
            if todo.verb == Verb.distill:
                section_of(loaded.recipe)
            inputs_of(todo.verb, loaded)
        except ZooError as error:
            errors.setdefault(str(error), error)
    raise_all(list(errors.values()))


def _announce(todo: Sweep, as_json: bool) -> None:
    from zoo_cli.base.console import emit_json, say, show_table

    if as_json:
        rows = [{"overrides": trial.overrides, "run": trial.run, "state": trial.state} for trial in todo.trials]
        emit_json({"verb": todo.verb, "recipe": todo.recipe, "runs": rows, "writes": str(todo.folder)})
        return
    keys = list(todo.trials[0].values)
    show_table([*keys, "state", "run"], [[*trial.values.values(), trial.state, trial.run] for trial in todo.trials])
    say("{count} runs of {verb}", count=len(todo.trials), verb=todo.verb)


def _show(report: dict[str, Any]) -> None:
    from zoo_cli.base.console import say, show_table

    def shown(number: float | None, form: str) -> str:
        return "" if number is None else format(number, form)

    runs = report["runs"]
    columns = [*runs[0]["values"], report["metric"] or "score", "best step", "seconds", "state", "run"]
    rows = []
    for each in runs:
        numbers = [shown(each["score"], ".4f"), shown(each["best_step"], "d"), shown(each["seconds"], ".1f")]
        rows.append([*each["values"].values(), *numbers, each["state"], each["run"]])
    show_table(columns, rows)
    for each in runs:
        if each["error"]:
            say("{name}: {error}", **each)
    best = report["best"]
    if best:
        say("best: {run} ({metric} {score:.4f} at step {best_step})", **best)
    else:
        say("no run has a score, so none is the best")
