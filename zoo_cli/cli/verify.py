"""`zoo verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options


def verify(
    bundle: Annotated[
        Path,
        typer.Argument(help="What `zoo export`, `zoo quantize` or `zoo package` wrote.", show_default=False),
    ],
    as_json: options.Json = False,
) -> None:
    """Check the files of a bundle and ask it its golden requests again, with every back end that is installed.

    zoo verify runs/uie/msra/export/bundle
    """
    import json

    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.runtime.package import opened
    from zoo_cli.runtime.verification import verify as verify_bundle

    with opened(bundle) as folder:
        report = {**verify_bundle(folder), "bundle": str(bundle)}
    if as_json:
        emit_json(report)
    else:
        rows = [
            [
                graph["backend"],
                graph["precision"],
                graph["status"],
                len(graph["differences"]),
                f"{graph['seconds']:.1f}",
            ]
            for graph in report["graphs"]
        ]
        show_table(["back end", "precision", "answers", "differences", "seconds"], rows)
        for graph in report["graphs"]:
            for each in graph["differences"]:
                say("{backend}, golden request in line {line}:", backend=graph["backend"], line=each["line"])
                for name in ("expected", "found"):
                    say("  {name}: {answer}", name=name, answer=json.dumps(each[name], ensure_ascii=False))
    if not report["ok"]:
        say("error: {bundle}: the answers are not those that the bundle was made with [golden-mismatch]", bundle=bundle)
        raise typer.Exit(4)
    say(
        "{files} files and {requests} answers are as they should be", files=report["files"], requests=report["requests"]
    )
