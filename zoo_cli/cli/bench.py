"""`zoo bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from zoo_cli.cli import options


def bench(
    places: Annotated[
        list[Path], typer.Argument(metavar="PLACE...", help="Bundles, model folders, run folders, ONNX files.")
    ],
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", help="Only this back end, or dygraph for the model's own code; may be repeated."),
    ] = None,
    precision: Annotated[list[str] | None, typer.Option("--precision", help="Only this one; may be repeated.")] = None,
    batch: Annotated[str, typer.Option("--batch", help="Sequences in a batch, separated by commas.")] = "1,8,32",
    length: Annotated[str, typer.Option("--length", help="Tokens of a sequence, separated by commas.")] = "32,128",
    threads: Annotated[str, typer.Option("--threads", help="Threads of a back end, separated by commas.")] = "1",
    rounds: Annotated[int, typer.Option("--rounds", help="Measurements of each shape.", min=1)] = 10,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for JSON, table and curves.")] = None,
    as_json: options.Json = False,
) -> None:
    """Measure speed and memory of bundles, models, back ends and precisions side by side.

    zoo bench runs/uie/msra/export/bundle runs/uie/msra/quantize/bundle --batch 1,32 --length 64
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.pipeline.bench import bench as measure
    from zoo_cli.pipeline.bench import columns_and_rows, contestants, write_report

    runners = contestants(places, backend or (), precision or (), _numbers(threads, "--threads"))
    report = measure(runners, _numbers(batch, "--batch"), _numbers(length, "--length"), rounds)
    if output is not None:
        write_report(report, output)
    if as_json:
        emit_json(report)
        return
    show_table(*columns_and_rows(report))
    say("medians of {rounds} rounds in turn; MB is the peak of the whole process", rounds=rounds)
    if output is not None:
        say("written: {folder}", folder=output)


def _numbers(text: str, option: str) -> list[int]:
    """``"1,8"`` -> ``[1, 8]``."""
    from zoo_cli.base.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(
            "bad-list", "{option} {text!r} is no list of numbers", fix="for example 1,8", option=option, text=text
        )
    return [int(part) for part in parts]
