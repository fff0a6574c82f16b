"""What a person or a program reads: answers on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import IO, Any

from zoo_cli.base.errors import ErrorGroup, ZooError
from zoo_cli.base.messages import translate


def emit_json(value: Any, stream: IO[str] | None = None) -> None:
    """Write one line of JSON to standard output (or `stream`) and flush it, so that pipes see it at once."""
    print(json.dumps(value, ensure_ascii=False), file=stream or sys.stdout, flush=True)


def say(template: str, **values: Any) -> None:
    """Tell the user something in their language, on standard error."""
    print(translate(template).format(**values), file=sys.stderr, flush=True)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str | None = None) -> None:
    """Print a table to standard output: drawn for a terminal, tab-separated for a pipe."""
    rows = [["" if cell is None else str(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(translate(name) for name in columns), box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    Console().print(table)


def show_error(error: ZooError, as_json: bool = False) -> None:
    """Print an error, or each of a group: one line with place and message, one with the fix."""
    errors = error.errors if isinstance(error, ErrorGroup) else (error,)
    if as_json:
        emit_json({"error": errors[0].as_dict(), "errors": [each.as_dict() for each in errors]})
        return
    for each in errors:
        place = f"{each.at}: " if each.at else ""
        print(f"{translate('error')}: {place}{each.message} [{each.code}]", file=sys.stderr)
        if each.fix:
            print(f"  {translate('fix')}: {each.fix}", file=sys.stderr)
