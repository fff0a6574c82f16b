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
    from zoo_cli.cli.jobs import announce, load_job, run_training
    from zoo_cli.recipe.loading import run_folder

    loaded = load_job(recipe, overrides, tiny, seed, offline)
    folder = output_dir or run_folder(loaded, "finetune")
    if dry_run:
        announce("finetune", loaded, folder, source, as_json)
        return
    job = "zoo_cli.engine.finetune:finetune"
    run_training(job, loaded, folder, source, resume, force, device, nproc, nnodes, master, as_json)
