"""`zoo runs`: what was produced: list it, look at it, compare it, clean it up, draw it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options
from zoo_cli.cli.help import Group

app = typer.Typer(
    cls=Group,
    help="List runs, look at them, compare them, clean up, draw reports.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Run = Annotated[Path, typer.Argument(help="A run folder, e.g. runs/uie/msra/finetune.", show_default=False)]
Root = Annotated[Path, typer.Option("--root", help="Folder with runs.")]
_LONGEST_VALUE = 60


@app.command("list")
def list_runs(root: Root = Path("runs"), as_json: options.Json = False) -> None:
    """List all runs, the latest first.

    zoo runs list
    """
    from datetime import datetime

    from zoo_cli.base.console import emit_json, say, show_error, show_table
    from zoo_cli.cli.run_view import duration, megabytes
    from zoo_cli.pipeline.history import listed

    entries, faults = listed(root)
    if as_json:
        emit_json([vars(entry) for entry in entries])
    else:
        rows = [
            [
                entry.path,
                entry.state,
                entry.task,
                "" if entry.score is None else f"{entry.metric} {entry.score:.4f}",
                "" if entry.steps is None else entry.steps,
                "" if entry.seconds is None else duration(entry.seconds),
                megabytes(entry.bytes / 1e6),
                datetime.fromtimestamp(entry.changed).strftime("%Y-%m-%d %H:%M"),
            ]
            for entry in entries
        ]
        show_table(["run", "state", "task", "score", "steps", "time", "size", "changed"], rows)
        if not entries:
            say("there are no runs in {root}", root=root)
    for fault in faults:
        show_error(fault)


@app.command()
def show(run: Run, as_json: options.Json = False) -> None:
    """Show a run: its scores, and the recipe that it was made with.

    zoo runs show runs/uie/msra/finetune
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.engine.folders import flatten
    from zoo_cli.pipeline.history import show as look

    found = look(run)
    if as_json:
        emit_json(found)
        return
    facts = [[key, value] for key, value in found.items() if not isinstance(value, dict) and value is not None]
    show_table(["run", ""], facts)
    show_table(["score", ""], [[name, _short(value)] for name, value in found["scores"].items()])
    show_table(["recipe", ""], [[key, _short(value)] for key, value in flatten(found["recipe"]).items()])


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", show_default=False)],
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the curves, too.")] = None,
    as_json: options.Json = False,
) -> None:
    """Compare runs: scores side by side, recipe values that differ, curves on one plot.

    zoo runs compare runs/uie/msra/finetune runs/uie/msra/prune --html compared.html
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.base.files import write_text
    from zoo_cli.pipeline.history import compare as side_by_side
    from zoo_cli.pipeline.history import comparison_page, short_names

    compared = side_by_side(runs)
    if html is not None:
        write_text(html, comparison_page(runs, compared))
    if as_json:
        emit_json(compared)
        return
    names = short_names(runs)
    for title in ("scores", "recipe"):
        show_table([title, *names], [[key, *map(_short, values)] for key, values in compared[title].items()])
    if html is not None:
        say("page: {page}", page=html)


@app.command()
def clean(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Runs to remove; without them what finished runs no longer need.")
    ] = None,
    root: Root = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: options.DryRun = False,
    as_json: options.Json = False,
) -> None:
    """Free space: remove checkpoints of finished runs and what gates rejected, or whole runs that are named.

    zoo runs clean

    zoo runs clean runs/uie/msra.tiny --yes

    Files that zoo did not write stay, and so do runs that a process works in.
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.base.errors import UsageError
    from zoo_cli.cli.run_view import megabytes
    from zoo_cli.pipeline.history import find_waste, remove, run_files

    waste = [each for run in runs for each in run_files(run)] if runs else find_waste(root)
    total = sum(each.bytes for each in waste)
    if not as_json:
        show_table(["what", "why", "size"], [[each.path, each.why, megabytes(each.bytes / 1e6)] for each in waste])
        say("{size} in {count} places", size=megabytes(total / 1e6) or "nothing", count=len(waste))
    freed, busy = 0, list[str]()
    if waste and not dry_run:
        if not yes and as_json:
            raise UsageError("not-confirmed", "nothing was removed", fix="add --yes, or --dry-run to look only")
        if yes or typer.confirm("remove them?", err=True):
            freed, busy = remove(waste)
            for run in busy:
                say("{run}: a process works there, so it stays", run=run)
            say("{size} freed", size=megabytes(freed / 1e6) or "nothing")
    if as_json:
        emit_json({"found": [vars(each) for each in waste], "bytes": total, "freed": freed, "busy": busy})


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a whole run, e.g. runs/uie/msra.", show_default=False)],
    as_json: options.Json = False,
) -> None:
    """Draw all that is known of a run on one page, report.html in its folder.

    zoo runs report runs/uie/msra
    """
    from zoo_cli.base.console import emit_json, say
    from zoo_cli.pipeline.page import write_page

    page = write_page(run)
    if as_json:
        emit_json({"report": str(page)})
    else:
        say("report: {report}", report=page)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = "" if value is None else str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
