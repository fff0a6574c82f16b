"""`zoo explain`: what an error code means and what to do about it."""

from __future__ import annotations

from typing import Annotated

import typer

from zoo_cli.cli.completion import complete_codes
from zoo_cli.cli.options import Json


def explain(
    code: Annotated[
        str | None, typer.Argument(help="The name in brackets behind an error.", autocompletion=complete_codes)
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what an error code means and what to do about it; without a code list all.

    zoo explain bad-offset

    ZOO_LANG=zh zoo explain run-unfinished
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.base.explanations import explain as explain_code
    from zoo_cli.base.explanations import explanations
    from zoo_cli.base.messages import translate

    if code is None:
        known = explanations().values()
        if as_json:
            emit_json([each.as_dict() for each in known])
        else:
            rows = [(each.code, ", ".join(map(str, each.exit_codes)), each.status, each.cause) for each in known]
            show_table(["code", "exit code", "HTTP status", "cause"], rows)
        return
    found = explain_code(code.strip("[]"))
    if as_json:
        emit_json(found.as_dict())
        return
    print(found.code)
    print(f"  {translate('cause')}: {found.cause}")
    print(f"  {translate('fix')}: {found.fix}")
    if found.exit_codes:
        print(f"  {translate('exit code')}: {', '.join(map(str, found.exit_codes))}")
    if found.status:
        print(f"  {translate('HTTP status')}: {found.status}")
