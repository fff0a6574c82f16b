"""The options that say how a file of labelled data is written."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo_cli.cli.completion import complete_formats

_FORMATS = "bio, bmes, conll, cluener, doccano, label_studio, prompt, csv, ..."
Format = Annotated[str, typer.Option("--format", help=_FORMATS, autocompletion=complete_formats)]
OptionalFormat = Annotated[
    str | None, typer.Option("--format", help=_FORMATS, autocompletion=complete_formats, show_default=False)
]
FormatOptions = Annotated[
    list[str] | None,
    typer.Option("--option", help="Option of the format as KEY=VALUE, e.g. columns.text=sentence.", show_default=False),
]


def format_options(format_name: str, options: list[str] | None) -> dict[str, Any]:
    """Options of a format from `--option`, read by their types as recipe values are."""
    from zoo_cli.recipe.overrides import parse_override

    tree: dict[str, Any] = {}
    for text in options or ():
        parsed, _ = parse_override(f"data.options.{text}", {"data": {"format": format_name}})
        _merge(tree, parsed["data"]["options"])
    return tree


def _merge(tree: dict[str, Any], other: dict[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, dict) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value
