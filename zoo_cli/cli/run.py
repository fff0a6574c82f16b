"""`zoo run`."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_cli.cli import options


def run(
    recipe: options.Recipe,
    overrides: options.Overrides = None,
    from_step: Annotated[
        str | None, typer.Option("--from-step", help="First step; those before it are taken as they are.")
    ] = None,
    until_step: Annotated[str | None, typer.Option("--until-step", help="Last step.")] = None,
    force_step: Annotated[
        list[str] | None, typer.Option("--force-step", help="Repeat this step; may be given several times.")
    ] = None,
    output_dir: options.OutputDir = None,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    device: options.Device = "cpu",
    seed: options.Seed = None,
    nproc: options.Processes = 1,
    as_json: options.Json = False,
) -> None:
    """Go the whole road: from labelled text to a bundle that is proven and measured.

    zoo run --recipe uie/msra.yaml --tiny

    zoo run --recipe my.yaml --dry-run

    zoo run --recipe my.yaml train.learning_rate=3e-5 --until-step export

    What is done is not done again: a step is repeated when its part of the recipe, its data, its code or what it reads
    changed. After an interruption the same command goes on where it was. With --json a line is printed for each event,
    the last of which is the result.
    """
    from zoo_cli.base.console import emit_json
    from zoo_cli.cli.jobs import load_job
    from zoo_cli.cli.run_view import announce_plan, conclude, watching
    from zoo_cli.pipeline.execution import execute
    from zoo_cli.pipeline.graph import Road
    from zoo_cli.pipeline.summary import summary
    from zoo_cli.recipe.loading import run_folder

    values = [*(overrides or ()), *([f"train.seed={seed}"] if seed is not None else [])]
    loaded = load_job(recipe, values, tiny, offline=offline)
    root = output_dir or run_folder(loaded, "run").parent
    road = Road(recipe, values, loaded, root, from_step, until_step, tuple(force_step or ()), device, nproc)
    if dry_run:
        announce_plan(road, as_json)
        return
    with watching(road, as_json) as watch:
        state = execute(road, watch)
    result = summary(road, state)
    if as_json:
        emit_json({"event": "result", **result})
    else:
        conclude(result)
