"""`zoo export`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo_cli.base.errors import UsageError
from zoo_cli.cli import options


class Layout(StrEnum):
    """What is written."""

    bundle = "bundle"
    triton = "triton"


def export(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    output_dir: options.OutputDir = None,
    layout: Annotated[
        Layout, typer.Option("--layout", help="triton also writes a model repository for Triton, beside the bundle.")
    ] = Layout.bundle,
    force: options.Force = False,
    tiny: options.Tiny = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Export a fine-tuned model to ONNX and Paddle Inference, prove that they agree with it, and write a bundle.

    zoo export --recipe uie/msra.yaml

    zoo export --from runs/uie/msra/export --layout triton

    zoo export --from FOLDER task.name=embedding task.pooling=cls
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.jobs import announce, recipe_of, show_plan, source_of
    from zoo_cli.cli.sections import sections_of, values_of
    from zoo_cli.engine.device import use_device
    from zoo_cli.recipe.loading import run_folder
    from zoo_cli.recipe.schema import ExportSection, ServeSection
    from zoo_cli.runtime.backends import graphs
    from zoo_cli.runtime.loading import bundle_folder, default_name

    overrides = overrides or []
    bundle = None if source is None else bundle_folder(source)
    if bundle is not None and layout is Layout.triton and graphs(bundle):  # it is passed on
        serving = sections_of(overrides, serve=ServeSection)["serve"]
        folder = output_dir or bundle.parent
        if dry_run:
            show_plan({"verb": "export", "model": str(bundle), "writes": str(folder)}, as_json)
            return
        report: dict[str, Any] = {"bundle": str(bundle)}
    elif values_of(overrides).get("task", {}).get("name") == "embedding":
        from zoo_cli.tasks.embedding.spec import EmbeddingOptions

        if source is None or recipe is not None:
            raise UsageError("no-recipe", "an encoder of vectors is no recipe's", fix="name its folder with --from")
        sections = sections_of(overrides, task=EmbeddingOptions, export=ExportSection, serve=ServeSection)
        serving = sections["serve"]
        folder = output_dir or Path("runs") / "embedding" / default_name(source) / "export"
        if dry_run:
            show_plan({"verb": "export", "model": str(source), "task": "embedding", "writes": str(folder)}, as_json)
            return
        use_device("cpu")
        from zoo_cli.engine.setup import find_model_folder
        from zoo_cli.export.embedding import export_embedding

        model = find_model_folder(bundle_folder(source))
        report = export_embedding(model, folder, sections["task"], sections["export"], force)
    else:
        loaded = recipe_of(recipe, source, overrides, tiny)
        folder, serving = output_dir or run_folder(loaded, "export"), loaded.recipe.serve
        if dry_run:
            announce("export", loaded, folder, source, as_json)
            return
        model = source_of(loaded, source)
        use_device("cpu")
        from zoo_cli.export.job import export_recipe

        report = export_recipe(loaded, model, folder, force)
    if layout is Layout.triton:
        from zoo_cli.export.triton import write_repository

        report["triton"] = str(folder / "triton")
        write_repository(Path(report["bundle"]), folder / "triton", serving.backend, serving.precision, force)
    if as_json:
        emit_json(report)
        return
    say("bundle: {bundle}", bundle=report["bundle"])
    if "parity" in report:
        worst = max(comparison["difference"] for comparison in report["parity"])
        say(
            "{count} comparisons, largest difference {worst:.2g}; {answers} requests answered alike",
            count=len(report["parity"]),
            worst=worst,
            answers=report["golden_requests"],
        )
    if "triton" in report:
        say("model repository: {folder}", folder=report["triton"])
