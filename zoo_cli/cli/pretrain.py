"""`zoo pretrain`."""

from __future__ import annotations

from zoo_cli.cli import options


def pretrain(
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
    """Pretrain a model on text without labels. The result fine-tunes: name its folder in model.init.

    zoo pretrain --recipe ernie-3.0/pretrain.yaml --tiny

    zoo pretrain --recipe bert/pretrain.yaml pretrain.corpora=texts.txt train.max_steps=100000
    """
    from zoo_cli.cli.jobs import announce, load_job, run_training
    from zoo_cli.recipe.loading import run_folder

    loaded = load_job(recipe, overrides, tiny, seed, offline)
    folder = output_dir or run_folder(loaded, "pretrain")
    if dry_run:
        announce("pretrain", loaded, folder, source, as_json)
        return
    job = "zoo_cli.distill.text:distill_text" if loaded.recipe.distill else "zoo_cli.engine.pretrain:pretrain"
    run_training(job, loaded, folder, source, resume, force, device, nproc, nnodes, master, as_json)
