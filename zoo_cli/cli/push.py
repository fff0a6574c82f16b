"""`zoo push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options


def push(
    bundle: Annotated[Path, typer.Argument(help="Folder that `zoo export` or `zoo quantize` wrote.")],
    target: Annotated[str, typer.Argument(help="A folder, http(s)://HOST/PATH, or s3://BUCKET/PREFIX.")],
    force: Annotated[bool, typer.Option("--force", help="Replace another bundle there.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a bundle to a store, from where `zoo pull` gets it.

    zoo push runs/uie/msra/export /mnt/models/msra

    zoo push runs/uie/msra/export https://files.example.org/models/msra

    zoo push runs/uie/msra/quantize s3://models/msra-int8

    A web server must take PUT. S3 needs `pip install 'zoo-cli[s3]'` and the usual AWS_... variables, of which
    AWS_ENDPOINT_URL names another server than Amazon's. An interrupted push goes on where it was.
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.pipeline.transfer import push as send

    result = send(bundle, target, force)
    if as_json:
        emit_json(result)
    else:
        say("{sent} of {files} files sent to {target}", **result)
