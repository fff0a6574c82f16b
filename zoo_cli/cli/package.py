"""`zoo package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options


def package(
    source: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Bundle or its run folder; with --extract an archive.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="FILE.tar.gz or FILE.zip; with --extract a folder.")],
    extract: Annotated[bool, typer.Option("--extract", help="Unpack an archive instead, and check it.")] = False,
    as_json: options.Json = False,
) -> None:
    """Put a bundle into one file, the same for the same bundle.

    zoo package runs/uie/msra/export/bundle -o msra.tar.gz

    zoo package msra.tar.gz --extract -o msra
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.runtime.loading import bundle_folder
    from zoo_cli.runtime.package import pack, unpack

    report = unpack(source, output) if extract else pack(bundle_folder(source), output)
    if as_json:
        emit_json(report)
    elif extract:
        say("{bundle}: {files} files, all as the manifest says", **report)
    else:
        say("{archive}: {files} files, {size:.1f} MB, SHA-256 {sha256}", size=report["bytes"] / 1e6, **report)
