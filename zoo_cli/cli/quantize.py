"""`zoo quantize`."""

from __future__ import annotations

from zoo_cli.cli import options


def quantize(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    force: options.Force = False,
    resume: options.Resume = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Turn a fine-tuned model into a bundle that computes with integers, and measure what is lost and won.

    zoo quantize --recipe uie/msra.yaml

    zoo quantize --recipe uie/msra.yaml quantize.backend=openvino quantize.method=static

    zoo quantize --recipe gpt/poetry.yaml quantize.method=weight_only quantize.bits=4
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.jobs import announce, recipe_of, source_of
    from zoo_cli.recipe.loading import run_folder

    loaded = recipe_of(recipe, source, overrides, tiny)
    folder = output_dir or run_folder(loaded, "quantize")
    if dry_run:
        announce("quantize", loaded, folder, source, as_json)
        return
    model = source_of(loaded, source)
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    from zoo_cli.compress.quantize import quantize_recipe

    receipt = quantize_recipe(loaded, model, folder, force, resume)
    if as_json:
        emit_json(receipt)
        return
    say("bundle: {bundle}", bundle=receipt["bundle"])
    say(
        "{metric} {before:.4f} -> {after:.4f}; {size:.0%} of the size; {alone:.2f} times as fast alone, "
        "{batches:.2f} times in batches; {kept} layers back in float",
        metric=receipt["metric"],
        before=receipt["before"][receipt["metric"]],
        after=receipt["after"][receipt["metric"]],
        size=receipt["bytes_after"] / receipt["bytes_before"],
        alone=receipt["speed"]["alone"]["factor"],
        batches=receipt["speed"]["batches"]["factor"],
        kept=len(receipt["chosen"]["kept_in_float"]),
    )
    if "unpruned" in receipt:
        say("{share:.1%} of the model before pruning", share=receipt["unpruned"]["share"])
