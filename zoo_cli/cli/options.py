"""The options that verbs share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli.completion import complete_recipes

Recipe = Annotated[
    str,
    typer.Option("--recipe", "-r", help="Name of a shipped recipe, or a path.", autocompletion=complete_recipes),
]
OptionalRecipe = Annotated[
    str | None,
    typer.Option("--recipe", "-r", help="Name of a shipped recipe, or a path.", autocompletion=complete_recipes),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Recipe values to replace, e.g. train.epochs=5.", show_default=False),
]
From = Annotated[Path | None, typer.Option("--from", help="Input: a run folder, a model folder or a bundle.")]
FromOrName = Annotated[
    Path | None,
    typer.Option(
        "--from", help="Input: a run folder, a model folder, a bundle, or the name of a published checkpoint."
    ),
]
OutputDir = Annotated[Path | None, typer.Option("--output-dir", help="Run folder instead of runs/FAMILY/NAME/VERB.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a finished run.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an unfinished run.")]
Tiny = Annotated[
    bool, typer.Option("--tiny", help="Run on bundled sample data with a two-layer model; needs no network.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done; write nothing.")]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.", envvar="ZOO_OFFLINE")]
Device = Annotated[str, typer.Option("--device", help="cpu, gpu, or gpu:0,1.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Same as train.seed=N.", min=0)]
Processes = Annotated[int, typer.Option("--nproc", help="Processes on this machine.", min=1)]
Nodes = Annotated[int, typer.Option("--nnodes", help="Machines.", min=1)]
Master = Annotated[str | None, typer.Option("--master", help="HOST:PORT of the first machine.")]
Input = Annotated[str | None, typer.Option("--input", help="Input file, or - for standard input.")]
Output = Annotated[str, typer.Option("--output", help="Output file, or - for standard output.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output; all else on standard error.")]
