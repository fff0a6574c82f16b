"""`zoo plan`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from zoo_cli.cli import options


def plan(
    recipe: options.Recipe,
    overrides: options.Overrides = None,
    devices: Annotated[int, typer.Option("--devices", help="How many devices there are.", min=1)] = 1,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Memory of each device, e.g. 40GiB or 80GB.", show_default=False)
    ] = None,
    tiny: options.Tiny = False,
    as_json: options.Json = False,
) -> None:
    """Compute the memory that training takes on each device, and say which ways to spread it fit.

    Needs neither weights nor data nor devices. Each line is one layout: groups that read other batches (data), devices
    that compute each layer together (tensor), what the groups share (sharding), whether layers keep their inputs only
    (recompute), and the precision of matrix products.

    zoo plan --recipe plato-xl/dialogue.yaml --devices 8 --memory 40GiB

    zoo plan --recipe gpt/pretrain.yaml train.batch_size=4 --devices 4 --json
    """
    from zoo_cli.base.console import emit_json, say, show_table
    from zoo_cli.cli.jobs import load_job
    from zoo_cli.pipeline.plan import parse_bytes
    from zoo_cli.pipeline.plan import plan as compute

    size = None if memory is None else parse_bytes(memory)
    report = compute(load_job(recipe, overrides, tiny), devices, size)
    if as_json:
        emit_json(report)
        return
    say(
        "{architecture}: {parameters:.1f} million weights; batches of {rows} rows of {length} tokens on each device",
        architecture=report["architecture"],
        parameters=report["parameters"] / 1e6,
        **report["batch"],
    )
    columns = ["data", "tensor", "sharding", "recompute", "precision"]
    columns += ["weights", "gradients", "optimizer", "activations", "total", "fits"]
    show_table(columns, [_row(layout) for layout in report["layouts"]])
    say("GiB on each device; layouts in brackets are not trained by zoo, see docs/large-models.md")
    if size is not None and not any(layout["fits"] and layout["trains"] for layout in report["layouts"]):
        say("no layout fits: take more devices, a smaller train.batch_size, or shorter texts")


def _row(layout: dict[str, Any]) -> list[Any]:
    sizes = [f"{layout[name] / 2**30:.2f}" for name in ("weights", "gradients", "optimizer", "activations", "total")]
    fits = {True: "yes", False: "no", None: ""}[layout["fits"]]
    ways = [layout["data"], layout["tensor"], layout["sharding"], "yes" if layout["recompute"] else "no"]
    return [*ways, layout["precision"], *sizes, fits if layout["trains"] else f"({fits})"]
