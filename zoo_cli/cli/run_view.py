"""What `zoo run` shows: its plan, its steps as they go, and what it made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoo_cli.base.console import emit_json, say, show_table
from zoo_cli.base.messages import translate

if TYPE_CHECKING:
    from rich.table import Table

    from zoo_cli.pipeline.execution import Event
    from zoo_cli.pipeline.graph import Judgement, Road

_MARKS = {"waiting": "·", "running": "▸", "done": "✓", "kept": "=", "failed": "✗"}
_STYLES = {"waiting": "dim", "running": "bold", "done": "green", "kept": "dim", "failed": "red"}
_LINE_SECONDS = 30.0
"""How often a step that goes on says so where the screen cannot be redrawn."""


def announce_plan(road: Road, as_json: bool) -> None:
    """Say what would be done and what it will take."""
    from zoo_cli.pipeline.estimates import OPERATIONS_PER_SECOND, Estimates
    from zoo_cli.pipeline.graph import TO_DO
    from zoo_cli.pipeline.state import State

    state = State(road.root)
    judgements = road.plan(state)
    estimates = Estimates(road.loaded, state.records)
    costs = {each.step.name: estimates.of(each.step) for each in judgements if each.verdict in TO_DO}
    if as_json:
        rows = []
        for each in judgements:
            cost = costs.get(each.step.name)
            row: dict[str, Any] = {"step": each.step.name, "verdict": each.verdict, "reasons": each.reasons}
            row["command"] = ["zoo", *road.command(each.step)]
            rows.append(row | {"estimate": vars(cost) if cost is not None else None})
        emit_json({"recipe": str(road.loaded.path), "writes": str(road.root), "steps": rows})
        return
    show_table(
        ["step", "plan", "why", "time", "memory", "disk", "estimate"],
        [_plan_row(each, costs.get(each.step.name)) for each in judgements],
    )
    total = sum(cost.seconds for cost in costs.values())
    disk = sum(cost.disk_megabytes for cost in costs.values())
    memory = max((cost.megabytes for cost in costs.values()), default=0.0)
    say(
        "{count} of {total} steps to do: about {time}, {memory} of memory, {disk} on disk",
        count=len(costs),
        total=len(judgements),
        time=duration(total),
        memory=megabytes(memory),
        disk=megabytes(disk),
    )
    if any(cost.basis == "model" for cost in costs.values()):
        say(
            "estimates by model count arithmetic at {speed:.0f} GFLOP/s a core, right within a factor of three or so",
            speed=OPERATIONS_PER_SECOND / 1e9,
        )


def _plan_row(judgement: Judgement, cost: Any) -> list[str]:
    reasons = judgement.reasons
    why = "; ".join(reasons[:3]) + (f"; {len(reasons) - 3} more" if len(reasons) > 3 else "")
    row = [judgement.step.name, translate(judgement.verdict), why]
    if cost is None:
        return [*row, "", "", "", ""]
    return [*row, duration(cost.seconds), megabytes(cost.megabytes), megabytes(cost.disk_megabytes), cost.basis]


def duration(seconds: float) -> str:
    """``95.0`` -> ``1 min 35 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def megabytes(value: float) -> str:
    """``1234.5`` -> ``1.2 GB``; nothing for 0."""
    return f"{value / 1000:.1f} GB" if value >= 1000 else f"{value:.1f} MB" if value else ""


@contextmanager
def watching(road: Road, as_json: bool) -> Iterator[Callable[[Event], None]]:
    """Show the steps as they go: redrawn on a terminal, else a line for each change, or one of JSON."""
    names = [step.name for step in road.chosen]
    if as_json:
        yield _throttled(lambda event: emit_json({"event": "step", **vars(event)}))
    elif sys.stderr.isatty():
        with _drawn(names) as watch:
            yield watch
    else:
        yield _throttled(_say_event)


def _say_event(event: Event) -> None:
    note = f" ({event.note})" if event.note else ""
    if event.state == "running":
        say("{step}: running, {time}{note}", step=event.step, time=duration(event.seconds), note=note)
    elif event.state == "kept":
        say("{step}: nothing to do{note}", step=event.step, note=note)
    elif event.state == "done":
        say("{step}: done in {time}{note}", step=event.step, time=duration(event.seconds), note=note)
    else:
        say("{step}: failed after {time}{note}", step=event.step, time=duration(event.seconds), note=note)


def _throttled(show: Callable[[Event], None]) -> Callable[[Event], None]:
    """Every change of state, and of a step that goes on one event in a while."""
    last: dict[str, float] = {}

    def watch(event: Event) -> None:
        now = time.monotonic()
        if event.state == "running":
            if now - last.get(event.step, -_LINE_SECONDS) < _LINE_SECONDS:
                return
            last[event.step] = now
        show(event)

    return watch


@contextmanager
def _drawn(names: list[str]) -> Iterator[Callable[[Event], None]]:
    """A table that is drawn anew at each event. It has no thread of its own: the steps are forked from this process."""
    from rich.console import Console
    from rich.live import Live

    events: dict[str, Event] = {}
    with Live(_table(names, events), console=Console(stderr=True), auto_refresh=False) as live:

        def watch(event: Event) -> None:
            events[event.step] = event
            live.update(_table(names, events), refresh=True)

        yield watch


def _table(names: list[str], events: dict[str, Event]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name in names:
        event = events.get(name)
        state = event.state if event is not None else "waiting"
        seconds = duration(event.seconds) if event is not None and event.seconds else ""
        note = escape(event.note) if event is not None else ""
        table.add_row(_MARKS[state], name, seconds, note, style=_STYLES[state])
    return table


def conclude(result: dict[str, Any]) -> None:
    """Say what was made."""
    rows = [
        [
            each["step"],
            translate(each["state"]),
            duration(each["seconds"]) if each["seconds"] else "",
            megabytes(each["peak_megabytes"]),
            megabytes(each["disk_bytes"] / 1e6),
            each["result"],
        ]
        for each in result["steps"]
    ]
    show_table(["step", "state", "time", "memory", "disk", "result"], rows)
    for key in ("bundle", "report", "receipt"):
        if result.get(key):
            say("{what}: {path}", what=translate(key), path=result[key])
    if result.get("bundle"):
        say("serve it: zoo serve {bundle}", bundle=result["bundle"])
