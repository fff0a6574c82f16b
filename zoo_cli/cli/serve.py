"""`zoo serve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo_cli.cli import options

if TYPE_CHECKING:
    from zoo_cli.recipe.loading import LoadedRecipe
    from zoo_cli.recipe.schema import ServeSection

_ARGUMENTS = "[BUNDLE]... [KEY=VALUE]..."


def serve(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar=_ARGUMENTS,
            help="Bundles to serve, and recipe values to replace, e.g. serve.limits.timeout=5.",
            show_default=False,
        ),
    ] = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    host: Annotated[str | None, typer.Option("--host", help="Same as serve.host=ADDRESS.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Same as serve.port=N; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Same as serve.workers=N.", min=1)] = None,
    check: Annotated[bool, typer.Option("--check", help="Answer the golden requests of the bundles and exit.")] = False,
    tiny: options.Tiny = False,
    as_json: options.Json = False,
) -> None:
    """Serve bundles over HTTP until a stop signal.

    zoo serve --recipe uie/msra.yaml

    zoo serve runs/uie/msra/export/bundle runs/bert/sst2/export/bundle --port 8080
    """
    from zoo_cli.base.console import emit_json, say

    bundles = [argument for argument in arguments or () if "=" not in argument or Path(argument).is_dir()]
    overrides = [argument for argument in arguments or () if argument not in bundles]
    for name, value in (("host", host), ("port", port), ("workers", workers)):
        if value is not None:
            overrides.append(f"serve.{name}={value}")
    settings = settings_of(bundles, overrides, recipe, source, tiny)

    from zoo_cli.serve import server

    if check:
        report = server.check(settings)
        if as_json:
            emit_json({"models": report})
        for model in report if not as_json else ():
            say("{model}: {golden} golden requests are answered as they should be (version {version})", **model)
        return
    listening = server.bind(settings)
    place = server.address(settings, listening)

    def started() -> None:
        if as_json:
            emit_json({"url": place, "models": list(settings.models)})
        say("serving {models} on {url}", models=", ".join(settings.models), url=place)

    if settings.workers == 1:
        server.serve(settings, listening, started)
        return
    from zoo_cli.serve.workers import Supervisor

    status = Supervisor(settings, listening).run(started)
    if status:
        raise typer.Exit(status)


def settings_of(
    bundles: list[str], overrides: list[str], recipe: str | None, source: Path | None, tiny: bool
) -> ServeSection:
    """The server's settings with all its models: those named, or else what the recipe exports.

    Raises:
        UsageError: a value is wrong, or there is nothing to serve.
    """
    from zoo_cli.cli.sections import sections_of
    from zoo_cli.recipe.schema import ServedModel, ServeSection
    from zoo_cli.runtime.loading import bundle_folder, default_name

    if source is not None:
        bundles = [str(source), *bundles]
    loaded: LoadedRecipe | None = None
    if recipe is not None:
        from zoo_cli.cli.jobs import load_job

        loaded = load_job(recipe, overrides, tiny)
        settings = loaded.recipe.serve
    else:
        settings = sections_of(overrides, serve=ServeSection)["serve"]
    if loaded is not None and not bundles:
        bundles = [str(_bundle_of(loaded))]
    models: dict[str, ServedModel] = {}
    for index, place in enumerate(bundles):
        folder = bundle_folder(Path(place))
        name = default_name(folder)
        if name in models:
            name = f"{name}-{index + 1}"
        models[name] = ServedModel(bundle=str(folder), routes=settings.routes if index == 0 else [])
    return settings.model_copy(update={"models": models | settings.models})


_BUNDLERS = {
    "export": "zoo_cli.export.job:export_recipe",
    "quantize": "zoo_cli.compress.quantize:quantize_recipe",
}
"""Verbs that write bundles, and the functions that do it."""


def _bundle_of(loaded: LoadedRecipe) -> Path:
    """The bundle at the end of the recipe's road, of `zoo quantize` or of `zoo export`; a tiny one is made first."""
    from zoo_cli.base.errors import ArtifactError, Location
    from zoo_cli.pipeline.steps import served
    from zoo_cli.recipe.loading import run_folder

    verb = served(loaded.recipe)
    folder = run_folder(loaded, verb)
    bundle = folder / "bundle"
    if bundle.is_dir():
        return bundle
    if not loaded.tiny:
        fix = "run `zoo {verb}` first"
        raise ArtifactError("no-bundle", "there is no bundle here", at=Location.of(bundle), fix=fix, verb=verb)
    from zoo_cli.base.console import say
    from zoo_cli.cli.jobs import source_of
    from zoo_cli.engine.device import use_device

    use_device("cpu")
    source = source_of(loaded, None)
    say("{folder}: nothing there yet, so `zoo {verb}` is run first", folder=folder, verb=verb)
    from zoo_cli.registry import resolve

    resolve(_BUNDLERS[verb])(loaded, source, folder)
    return bundle
