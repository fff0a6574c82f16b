"""`zoo finetune`."""

from __future__ import annotations

from zoo_cli.cli import options


def finetune(
    recipe: options.Recipe,
    overrides: options.Overrides = None,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    force: options.Force = False,
    resume: options.Resume = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    offline: options.Offline = False,
    device: options.Device = "cpu",
    seed: options.Seed = None,
    nproc: options.Processes = 1,
    nnodes: options.Nodes = 1,
    master: options.Master = None,
    as_json: options.Json = False,
) -> None:
    """Fine-tune a model on labelled text.

    zoo finetune --recipe uie/msra.yaml --tiny

    zoo finetune --recipe my.yaml train.epochs=5 data.train=train.jsonl
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.jobs import announce, is_worker, launch, load_job, run_result
    from zoo_cli.cli.progress import download_progress
    from zoo_cli.recipe.loading import run_folder

    loaded = load_job(recipe, overrides, tiny, seed, offline)
    folder = output_dir or run_folder(loaded, "finetune")
    if dry_run:
        announce("finetune", loaded, folder, source, as_json)
        return
    if (nproc > 1 or nnodes > 1) and not is_worker():
        launch(nproc, nnodes, master, device)
    else:
        from zoo_cli.engine.device import use_device

        use_device(device)
        from zoo_cli.engine.finetune import finetune as run

        with download_progress() as progress:
            run(loaded, folder, source, resume, force, progress)
    if is_worker():
        return
    result = run_result(folder)
    if as_json:
        emit_json(result)
    elif result["score"] is not None:
        say("best model: {model} ({metric} {score:.4f} at step {best_step})", **result)
        say("report: {report}", **result)
    else:
        say("model: {model}", **result)
