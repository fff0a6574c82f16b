"""The curves of a training run as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo_cli.base.html import Point, line_chart, page, section, table
from zoo_cli.base.messages import translate

_NO_SCORES = frozenset(("kind", "step", "epoch", "loss"))
_MOST_SCORES = 12


def render_report(title: str, rows: Sequence[Mapping[str, Any]], head: str = "") -> str:
    """Page with the curves of a run.

    Args:
        title: heading, e.g. the run folder.
        rows: the lines of `metrics.jsonl`: ``kind`` (``train`` or ``dev``), ``step`` and numbers by name.
        head: what stands above the curves, as HTML.
    """
    return page(title, head + curves({"": rows}) + evaluations(rows))


def curves(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Charts of loss, scores, learning rate, gradient norm and speed; several runs share the charts.

    Args:
        runs: name of each run -> the lines of its `metrics.jsonl`.
    """
    parts = {name: _parts(rows) for name, rows in runs.items()}
    loss: dict[str, list[Point]] = {}
    for name, (train, dev) in parts.items():
        loss |= {_named(name, "train"): _series(train, "loss"), _named(name, "dev"): _series(dev, "loss")}
    charts = [line_chart(translate("Loss"), loss, translate("steps"))]
    charts += _score_charts({name: dev for name, (_, dev) in parts.items()})
    for label, key in (
        ("Learning rate", "learning_rate"),
        ("Gradient norm", "grad_norm"),
        ("Tokens per second", "tokens_per_second"),
    ):
        lines = {_named(name, "train"): _series(train, key) for name, (train, _) in parts.items()}
        charts.append(line_chart(translate(label), lines, translate("steps")))
    return "".join(charts)


def _score_charts(runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """A chart for each score; many shares of one run in one chart."""
    names = list(dict.fromkeys(name for dev in runs.values() for name in score_names(dev)))
    lines = {name: {_named(run, "dev"): _series(dev, name) for run, dev in runs.items()} for name in names}
    shares = [name for name in names if all(0 <= y <= 1 for points in lines[name].values() for _, y in points)]
    charts = []
    if len(runs) == 1 and len(shares) > 2:
        drawn = {name: next(iter(lines.pop(name).values())) for name in shares}
        charts.append(line_chart(translate("Scores"), drawn, translate("steps")))
    return charts + [line_chart(name, each, translate("steps")) for name, each in lines.items()]


def _named(run: str, part: str) -> str:
    return f"{run} {part}".strip()


def _parts(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    return [row for row in rows if row["kind"] == "train"], [row for row in rows if row["kind"] == "dev"]


def score_names(dev: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the scores of the last evaluation, tables apart."""
    last = dev[-1] if dev else {}
    return [name for name, value in last.items() if name not in _NO_SCORES and _is_number(value)][:_MOST_SCORES]


def evaluations(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of all evaluations, and the last one's scores of each label."""
    _, dev = _parts(rows)
    if not dev:
        return ""
    columns = [name for name in ("step", "epoch", "loss", *score_names(dev)) if any(name in row for row in dev)]
    cells = [[row.get(name) for name in columns] for row in dev]
    return section(translate("Evaluations"), table(columns, cells), label_tables(dev[-1]))


def label_tables(scores: Mapping[str, Any]) -> str:
    """The nested tables among some scores, e.g. those of each label."""
    found = ""
    for name, value in scores.items():
        if not isinstance(value, Mapping):
            continue
        nested = {str(key): row for key, row in value.items() if isinstance(row, Mapping)}
        if not nested:
            found += table(list(value), [list(value.values())], name)
            continue
        columns = list(dict.fromkeys(key for row in nested.values() for key, item in row.items() if _is_number(item)))
        cells = [[key, *(row.get(column) for column in columns)] for key, row in nested.items()]
        found += table([name, *columns], cells, translate("Scores of each of {name}").format(name=name))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _series(rows: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    return [(row["step"], row[name]) for row in rows if _is_number(row.get(name))]
