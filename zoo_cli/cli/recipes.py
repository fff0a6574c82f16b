"""`zoo recipes`: look at, copy, make and check recipes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli.completion import (
    complete_checkpoints,
    complete_families,
    complete_formats,
    complete_recipes,
    complete_tasks,
)
from zoo_cli.cli.help import Group
from zoo_cli.cli.options import Json, Overrides, Tiny

app = typer.Typer(cls=Group, help="Look at, copy, make and check recipes.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="Name of a shipped recipe, or a path.", autocompletion=complete_recipes)]


@app.command("list")
def list_recipes(
    family: Annotated[str | None, typer.Option("--family", help="Only this folder, e.g. uie or ernie-3.0.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Only this task.", autocompletion=complete_tasks)] = None,
    as_json: Json = False,
) -> None:
    """List the recipes that can be used by name.

    zoo recipes list --family uie
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.recipe.loading import PRETRAINING, load_recipe, recipe_names

    rows = []
    for name in recipe_names():
        if family is None or name.startswith(f"{family}/"):
            loaded = load_recipe(name)
            task_name = loaded.recipe.task.get("name", PRETRAINING)
            if task is None or task_name == task:
                rows.append(
                    {
                        "name": f"{name}.yaml",
                        "task": task_name,
                        "model": loaded.recipe.model.init,
                        "description": loaded.recipe.description,
                    }
                )
    if as_json:
        emit_json(rows)
    else:
        show_table(["name", "task", "model", "description"], [list(row.values()) for row in rows])


@app.command()
def show(
    recipe: Name,
    overrides: Overrides = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="With every default filled in.")] = False,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    tiny: Tiny = False,
    as_json: Json = False,
) -> None:
    """Print a recipe as written, or as it is understood.

    zoo recipes show uie/msra.yaml --resolved --origin
    """
    from zoo_cli.base.console import emit_json
    from zoo_cli.recipe.loading import find_recipe, load_recipe
    from zoo_cli.recipe.render import resolved_tree, to_yaml

    if not (resolved or origin or overrides or tiny or as_json):
        print(find_recipe(recipe)[1].read_text(encoding="utf-8"), end="")
        return
    loaded = load_recipe(recipe, overrides or (), tiny)
    if as_json:
        emit_json(resolved_tree(loaded))
    else:
        print(to_yaml(loaded, defaults=resolved, origins=origin), end="")


@app.command()
def copy(
    recipe: Name,
    target: Annotated[Path, typer.Argument(help="New file, or a folder.")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Copy a shipped recipe to change it.

    zoo recipes copy uie/custom.yaml my.yaml
    """
    from zoo_cli.base.console import say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.base.files import write_text
    from zoo_cli.recipe.loading import find_recipe

    source = find_recipe(recipe)[1]
    path = target / source.name if target.is_dir() else target
    if path.exists() and not force:
        raise UsageError("file-exists", "the file is there already", at=Location.of(path), fix="add --force")
    write_text(path, source.read_text(encoding="utf-8"))
    say("{path}: copied from {source}", path=path, source=recipe)


@app.command()
def new(
    target: Annotated[Path, typer.Argument(help="File to write.")],
    train: Annotated[str | None, typer.Option("--train", help="Training file; what is there is looked at.")] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="Task; by default what the data are for.", autocompletion=complete_tasks),
    ] = None,
    data_format: Annotated[
        str | None,
        typer.Option(
            "--format", help="How the file is written; by default what it looks like.", autocompletion=complete_formats
        ),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init", help="Published checkpoint, model folder, or scratch.", autocompletion=complete_checkpoints
        ),
    ] = None,
    family: Annotated[
        str | None, typer.Option("--family", help="Family of a model from scratch.", autocompletion=complete_families)
    ] = None,
    ask: Annotated[
        bool | None, typer.Option("--ask/--no-ask", help="Ask for each; by default in a terminal without options.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented recipe for your own data; format, columns, labels and lengths are read off the file.

    zoo recipes new my.yaml --train data/train.jsonl

    zoo recipes new my.yaml --train ner.txt --task token_classification --init ernie-3.0-nano-zh --format bio
    """
    from zoo_cli.base.console import say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.base.files import write_text
    from zoo_cli.cli.drafting import Draft

    if target.exists() and not force:
        raise UsageError("file-exists", "the file is there already", at=Location.of(target), fix="add --force")
    draft = Draft(train or "data/train.jsonl", task, data_format, init, family)
    if ask if ask is not None else sys.stdin.isatty() and not any((train, task, data_format, init, family)):
        draft.ask()
    write_text(target, draft.text())
    draft.tell()
    say("{path}: written; check it with `zoo recipes validate {path}`", path=target)


@app.command()
def validate(
    recipe: Annotated[
        list[str], typer.Argument(help="Names or paths, then KEY=VALUE.", autocompletion=complete_recipes)
    ],
    as_json: Json = False,
) -> None:
    """Check recipes in full, the tiny values included; exit code 2 if one is wrong.

    zoo recipes validate my.yaml train.epochs=5
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.base.errors import ErrorGroup, ZooError, raise_all
    from zoo_cli.recipe.loading import load_recipe

    names = [item for item in recipe if "=" not in item]
    overrides = [item for item in recipe if "=" in item]
    errors: list[ZooError] = []
    for name in names:
        try:
            load_recipe(name, overrides)
        except ErrorGroup as group:
            errors += group.errors
        except ZooError as error:
            errors.append(error)
    raise_all(errors)
    if as_json:
        emit_json({"valid": names})
    else:
        say("valid: {names}", names=", ".join(names))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors.

    zoo recipes schema > recipe.schema.json
    """
    from zoo_cli.base.console import emit_json
    from zoo_cli.recipe.render import json_schema

    emit_json(json_schema())
