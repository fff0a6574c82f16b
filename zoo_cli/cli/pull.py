"""`zoo pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options


def pull(
    source: Annotated[str, typer.Argument(help="A folder, http(s)://HOST/PATH, or s3://BUCKET/PREFIX.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the bundle.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the folder that is there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Get a bundle that `zoo push` wrote, and check every file of it.

    zoo pull s3://models/msra-int8 msra && zoo serve msra

    An interrupted pull goes on where it was.
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.pipeline.transfer import pull as get

    result = get(source, folder, force)
    if as_json:
        emit_json(result)
    else:
        say("bundle: {bundle} ({files} files)", **result)
