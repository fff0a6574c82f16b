"""`zoo distill`."""

from __future__ import annotations

from zoo_cli.cli import options


def distill(
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
    """Teach a smaller model what a fine-tuned one knows, or what a pretrained one makes of text without labels.

    zoo distill --recipe tinybert/sst2.yaml --tiny

    zoo distill --recipe uie/msra_distill.yaml --tiny

    zoo distill --recipe my.yaml --from runs/bert/my/finetune distill.baseline=true
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.cli.augment import augment_tiny
    from zoo_cli.cli.jobs import announce, load_job, run_job, run_training, source_of
    from zoo_cli.distill.strategies import section_of
    from zoo_cli.recipe.loading import run_folder

    loaded = load_job(recipe, overrides, tiny, seed, offline)
    section_of(loaded.recipe)
    folder = output_dir or run_folder(loaded, "distill")
    on_text = loaded.recipe.pretrain is not None
    if dry_run:
        announce("pretrain" if on_text else "distill", loaded, folder, source, as_json)
        return
    if on_text:
        job = "zoo_cli.distill.text:distill_text"
        run_training(job, loaded, folder, source, resume, force, device, nproc, nnodes, master, as_json)
        return
    teacher = source_of(loaded, source, "distill")
    if loaded.tiny:
        augment_tiny(loaded)
    job = "zoo_cli.distill.job:distill"
    result = run_job(job, loaded, folder, teacher, resume, force, device, nproc, nnodes, master)
    if result is None:
        return
    if as_json:
        emit_json(result)
        return
    from zoo_cli.distill.report import cells, columns, from_json

    show_table(columns(result["metric"]), cells(from_json(result["table"])))
    say("student: {model}", **result)
    say("table: {run}/distillation.md", **result)
