"""`zoo export`."""

from __future__ import annotations

from zoo_cli.cli import options


def export(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    force: options.Force = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Export a fine-tuned model to ONNX and Paddle Inference, prove that they agree with it, and write a bundle.

    zoo export --recipe uie/msra.yaml
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.jobs import announce, recipe_of, source_of
    from zoo_cli.recipe.loading import run_folder

    loaded = recipe_of(recipe, source, overrides, tiny)
    folder = output_dir or run_folder(loaded, "export")
    if dry_run:
        announce("export", loaded, folder, source, as_json)
        return
    model = source_of(loaded, source)
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    from zoo_cli.export.job import export_recipe

    receipt = export_recipe(loaded, model, folder, force)
    if as_json:
        emit_json(receipt)
    else:
        worst = max(comparison["difference"] for comparison in receipt["parity"])
        say("bundle: {bundle}", bundle=receipt["bundle"])
        say(
            "{count} comparisons, largest difference {worst:.2g}; {answers} requests answered alike",
            count=len(receipt["parity"]),
            worst=worst,
            answers=receipt["golden_requests"],
        )
