"""A progress line on standard error, for people only: nothing is shown where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from zoo_cli.base.messages import translate


class Advance(Protocol):
    """Moves the line: `advance` units further, with new texts for some of its columns."""

    def __call__(self, advance: int = 1, /, **columns: str) -> None: ...


def _ignore(advance: int = 1, /, **columns: str) -> None:
    """Progress that nobody watches."""


@contextmanager
def progress(title: str, total: int, done: int = 0, columns: tuple[str, ...] = ()) -> Iterator[Advance]:
    """Show how far a long task is and how long it will still take.

    Args:
        title: message template, in English.
        total: number of units.
        done: units finished before, e.g. by the run that is resumed.
        columns: names of texts to show behind the bar, each set by a keyword of the function yielded.
    """
    if not sys.stderr.isatty():
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    texts = [TextColumn(f"{name} {{task.fields[{name}]}}") for name in columns]
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        *texts,
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        refresh_per_second=4,
    )
    with bar:
        task = bar.add_task(translate(title), total=total, completed=done, **dict.fromkeys(columns, "-"))  # type: ignore[arg-type]

        def show(advance: int = 1, /, **texts: str) -> None:
            bar.update(task, advance=advance, **texts)  # type: ignore[arg-type]

        yield show
