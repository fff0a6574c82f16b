"""`zoo weights` and `zoo cache`: published checkpoints and the folder they are kept in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli.completion import complete_checkpoints, complete_families
from zoo_cli.cli.help import Group
from zoo_cli.cli.options import Json, Offline

app = typer.Typer(
    cls=Group, help="Published checkpoints: list, fetch, verify, convert.", no_args_is_help=True, rich_markup_mode=None
)
cache_app = typer.Typer(cls=Group, help="What takes up space in ZOO_HOME.", no_args_is_help=True, rich_markup_mode=None)


Names = Annotated[list[str], typer.Argument(help="Names of checkpoints.", autocompletion=complete_checkpoints)]


@app.command("list")
def list_weights(
    family: Annotated[
        str | None, typer.Option("--family", help="Only this family, e.g. ernie.", autocompletion=complete_families)
    ] = None,
    language: Annotated[str | None, typer.Option("--language", help="Only zh, en or multilingual.")] = None,
    as_json: Json = False,
) -> None:
    """List the published checkpoints, their sizes and licences.

    zoo weights list --family ernie --language zh
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.recipe.presets import is_fetched, load_preset, preset_names

    rows = []
    for name in preset_names(family):
        preset = load_preset(name)
        if language is None or preset.language == language:
            rows.append(
                {
                    "name": name,
                    "family": preset.family,
                    "millions": preset.parameters,
                    "language": preset.language,
                    "licence": preset.licence,
                    "fetched": is_fetched(name),
                    "description": preset.description,
                }
            )
    if as_json:
        emit_json(rows)
    else:
        show_table(list(rows[0]) if rows else ["name"], [list(row.values()) for row in rows])


@app.command()
def fetch(names: Names, offline: Offline = False, as_json: Json = False) -> None:
    """Download checkpoints, or go on with an interrupted download.

    zoo weights fetch uie-base ernie-3.0-nano-zh
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.cli.progress import download_progress, go_offline
    from zoo_cli.recipe.presets import fetch as fetch_preset
    from zoo_cli.recipe.presets import load_preset

    if offline:
        go_offline()
    for name in names:  # a wrong name is refused before anything is downloaded
        load_preset(name)
    folders = {}
    for name in names:
        with download_progress() as progress:
            folders[name] = str(fetch_preset(name, progress))
        say("{name} is in {folder}", name=name, folder=folders[name])
    if as_json:
        emit_json(folders)


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names; by default all that are there.", autocompletion=complete_checkpoints),
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every byte of downloaded checkpoints and compare it with what was fetched.

    zoo weights verify uie-base
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.recipe.presets import cache_list
    from zoo_cli.recipe.presets import verify as verify_preset

    chosen = names or [entry.name for entry in cache_list() if entry.kind == "weights" and entry.complete]
    for name in chosen:
        verify_preset(name)
        say("{name}: every file is as it was fetched", name=name)
    if as_json:
        emit_json({"verified": chosen})


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="Model folder: PaddleNLP's, Hugging Face's or zoo's own.")],
    target: Annotated[Path, typer.Argument(help="Folder to write.")],
    layout: Annotated[str, typer.Option("--to", help="zoo, paddlenlp or huggingface.")] = "zoo",
    architecture: Annotated[str | None, typer.Option("--architecture", help="Class to read it as.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing folder.")] = False,
    as_json: Json = False,
) -> None:
    """Convert a model folder between PaddleNLP's, Hugging Face's and zoo's own layout.

    zoo weights convert my_paddlenlp_model my_hf_model --to huggingface
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.engine.device import use_device
    from zoo_cli.engine.transfer import convert_folder

    if target.exists() and not force:
        raise UsageError("folder-exists", "the folder is there already", at=Location.of(target), fix="add --force")
    use_device("cpu")
    report = convert_folder(source, target, layout, architecture)
    if as_json:
        emit_json(report)
    else:
        say("{path}: {count} tensors written as {layout}", path=target, count=report["tensors"], layout=layout)


@cache_app.command("list")
def list_cache(as_json: Json = False) -> None:
    """List what was downloaded, and unfinished downloads.

    zoo cache list
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.recipe.presets import cache_list

    entries = cache_list()
    if as_json:
        emit_json(
            [
                {"name": e.name, "kind": e.kind, "path": str(e.path), "bytes": e.size, "complete": e.complete}
                for e in entries
            ]
        )
    else:
        rows = [(e.name, e.kind, f"{e.size / 1e6:.1f} MB", "yes" if e.complete else "no") for e in entries]
        show_table(["name", "kind", "size", "complete"], rows)


@cache_app.command()
def prune(
    names: Annotated[
        list[str] | None, typer.Argument(help="Checkpoints and data sets; by default what is unfinished.")
    ] = None,
    unused_days: Annotated[
        float | None, typer.Option("--unused-days", help="Also what was not used for so long.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove checkpoints, data sets and unfinished downloads from the cache.

    zoo cache prune --unused-days 90
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.recipe.presets import cache_prune

    removed = cache_prune(names or (), unused_days=unused_days, dry_run=dry_run)
    if as_json:
        emit_json([entry.name for entry in removed])
    else:
        size = sum(entry.size for entry in removed) / 1e6
        say("{count} removed, {size:.1f} MB", count=len(removed), size=size)
