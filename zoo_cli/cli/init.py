"""`zoo init`: a folder for a project of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli.completion import complete_checkpoints, complete_formats, complete_tasks

IGNORED = """# What zoo writes, and what is not for a repository.
/runs/
/data/*
!/data/README.md
.partial-*
"""

README = """# {name}

    zoo recipes validate recipe.yaml         # is the recipe right?
    zoo data check --recipe recipe.yaml      # is the data right?
    zoo finetune --recipe recipe.yaml        # a model, under runs/
    zoo evaluate --recipe recipe.yaml
    zoo export --recipe recipe.yaml          # a bundle that is proven to answer as the model does
    zoo serve --recipe recipe.yaml           # an HTTP service

The labelled data lie in `data/`, which is not kept in the repository; `recipe.yaml` says which files and how they are
written. `zoo finetune --recipe recipe.yaml --dry-run` says what would be done.
"""

DATA_README = """# Data

`{train}` is what the recipe trains on. A development set beside it (`dev` in the place of `train`) chooses the best
checkpoint; without one a tenth of the rows is set apart.
"""


def init(
    folder: Annotated[Path, typer.Argument(help="Folder to make, or an existing one to add to.")] = Path(),
    train: Annotated[str | None, typer.Option("--train", help="Training file, relative to the folder.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="Task.", autocompletion=complete_tasks)] = None,
    data_format: Annotated[
        str | None, typer.Option("--format", help="How the file is written.", autocompletion=complete_formats)
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            "--init", help="Published checkpoint, model folder, or scratch.", autocompletion=complete_checkpoints
        ),
    ] = None,
) -> None:
    """Make a project folder: recipe, data folder, .gitignore and README. What is there already stays as it is.

    zoo init address-extraction --task extraction

    zoo init . --train data/doccano_ext.jsonl
    """
    from zoo_cli.base.console import say
    from zoo_cli.base.errors import Location, UsageError
    from zoo_cli.base.files import write_text
    from zoo_cli.cli.drafting import Draft

    if folder.exists() and not folder.is_dir():
        raise UsageError(
            "not-a-folder", "there is a file of this name", at=Location.of(folder), fix="choose another name"
        )
    # The paths in the recipe are relative to the folder, in which the commands are run.
    named = train or next((f"data/{path.name}" for path in sorted((folder / "data").glob("train.*"))), None)
    draft = Draft(named or "data/train.jsonl", task, data_format, checkpoint, folder=folder)
    files = {
        "recipe.yaml": draft.text,
        "README.md": lambda: README.format(name=folder.resolve().name),
        ".gitignore": lambda: IGNORED,
        "data/README.md": lambda: DATA_README.format(train=Path(draft.train).name),
    }
    for name, text in files.items():
        path = folder / name
        if path.exists():
            say("{path}: there already, not touched", path=path)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, text())
            say("{path}: written", path=path)
    draft.tell()
    say("next: `cd {folder}`, then `zoo recipes validate recipe.yaml`", folder=folder)
