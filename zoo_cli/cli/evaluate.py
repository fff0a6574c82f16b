"""`zoo evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo_cli.cli import options


def evaluate(
    overrides: options.Overrides = None,
    recipe: options.OptionalRecipe = None,
    source: options.From = None,
    part: Annotated[str, typer.Option("--part", help="dev, test or train: which of the recipe's files.")] = "dev",
    input_file: options.Input = None,
    tiny: options.Tiny = False,
    device: options.Device = "cpu",
    as_json: options.Json = False,
) -> None:
    """Score a fine-tuned model on labelled text.

    zoo evaluate --recipe uie/msra.yaml

    zoo evaluate --from runs/uie/msra/finetune --input my_test.txt data.format=bio
    """
    from zoo_cli.base.console import emit_json
    from zoo_cli.cli.jobs import recipe_of, source_of
    from zoo_cli.engine.device import use_device

    loaded = recipe_of(recipe, source, overrides, tiny)
    if input_file is not None:
        part, loaded.recipe.data.test = "test", [input_file]
    folder = source_of(loaded, source)
    use_device(device)
    from zoo_cli.engine.answering import evaluate_folder

    scores = evaluate_folder(folder, loaded, part)
    if as_json:
        emit_json(scores)
        return
    _show(scores, "scores")


def _show(scores: dict[str, Any], title: str) -> None:
    """Plain scores as one table, the scores of labels as another, and so on for what is nested deeper."""
    from zoo_cli.base.console import show_table

    plain = [[name, _number(value)] for name, value in scores.items() if not isinstance(value, dict)]
    if plain:
        show_table([title, "value"], plain)
    for name, table in scores.items():
        if not isinstance(table, dict):
            continue
        if table and all(_is_flat(row) for row in table.values()):
            columns = list(dict.fromkeys(key for row in table.values() for key in row))
            rows = [[label, *(_number(row.get(key)) for key in columns)] for label, row in table.items()]
            show_table([name, *columns], rows)
        else:
            _show(table, name)


def _is_flat(row: Any) -> bool:
    return isinstance(row, dict) and not any(isinstance(value, dict) for value in row.values())


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
