"""`zoo evaluate`."""

from __future__ import annotations

from typing import Annotated

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
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.cli.jobs import flat_scores, recipe_of, source_of
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
    tables = {name: value for name, value in scores.items() if isinstance(value, dict)}
    show_table(["score", "value"], [row for row in flat_scores(scores) if row[0].split(".")[0] not in tables])
    for name, table in tables.items():
        columns = sorted({key for row in table.values() if isinstance(row, dict) for key in row})
        rows = [[label, *(_number(row.get(key)) for key in columns)] for label, row in table.items() if isinstance(row, dict)]
        if rows:
            show_table([name, *columns], rows)
        else:
            show_table([name, "value"], [[key, _number(value)] for key, value in table.items()])


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "" if value is None else str(value)
