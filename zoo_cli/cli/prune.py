"""`zoo prune`."""

from __future__ import annotations

from zoo_cli.cli import options


def prune(
    recipe: options.Recipe,
    overrides: options.Overrides = None,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    force: options.Force = False,
    resume: options.Resume = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    device: options.Device = "cpu",
    seed: options.Seed = None,
    as_json: options.Json = False,
) -> None:
    """Cut smaller models out of a fine-tuned one, and train them to answer as it does.

    zoo prune --recipe ernie-3.0/tnews.yaml --tiny 'prune.widths=[0.75, 0.5]'

    zoo prune --recipe my.yaml --from runs/bert/my/finetune prune.vocabulary=8000
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.cli.jobs import announce, load_job, run_result, source_of
    from zoo_cli.recipe.loading import run_folder

    loaded = load_job(recipe, overrides, tiny, seed)
    folder = output_dir or run_folder(loaded, "prune")
    if dry_run:
        announce("prune", loaded, folder, source, as_json)
        return
    from zoo_cli.engine.device import use_device

    use_device(device)
    from zoo_cli.compress.prune import prune as run
    from zoo_cli.compress.prune import section_of

    section_of(loaded.recipe)
    run(loaded, folder, source_of(loaded, source, "prune"), resume, force)
    result = run_result(folder)
    if as_json:
        emit_json(result)
        return
    from zoo_cli.distill.report import cells, columns, from_json

    show_table(columns(result["metric"]), cells(from_json(result["table"])))
    say("chosen: {chosen}, {model}", **result)
    say("table: {run}/pruning.md", **result)
