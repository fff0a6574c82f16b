"""The curves of a run as one HTML file without scripts or outside resources."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

from zoo_cli.base.messages import translate

Point = tuple[float, float]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 240, 64, 24
_MOST_POINTS = 400

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #68717d; --line: #d9dee4; --page: #fff;
  --a: #1f6feb; --b: #d1651a }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #97a1ad; --line: #333b45; --page: #14181d; --a: #6ea8fe; --b: #f2a365 }
}
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 720px;
  margin: 0 auto; padding: 16px }
h1 { font-size: 1.2rem; overflow-wrap: anywhere } h2 { font-size: 1rem; margin: 24px 0 4px }
svg { width: 100%; height: auto } svg text { font-size: 13px; fill: var(--soft) }
.grid { stroke: var(--line) } .a, .b { fill: none; stroke-width: 2; stroke: var(--a) } .b { stroke: var(--b) }
.key-a { color: var(--a) } .key-b { color: var(--b) } .soft { color: var(--soft) }
.wide { overflow-x: auto } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 3px 12px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap }
"""


def render_report(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """HTML page with the curves of a run, readable on a phone and in the dark.

    Args:
        title: heading, e.g. the run folder.
        rows: the lines of `metrics.jsonl`: ``kind`` (``train`` or ``dev``), ``step`` and numbers by name.
    """
    train = [row for row in rows if row["kind"] == "train"]
    dev = [row for row in rows if row["kind"] == "dev"]
    scores = [name for name, value in (dev[-1] if dev else {}).items() if _is_number(value)]
    scores = [name for name in scores if name not in ("step", "epoch", "loss")]
    charts = [_chart(translate("Loss"), {"train": _series(train, "loss"), "dev": _series(dev, "loss")})]
    charts += [_chart(name, {"dev": _series(dev, name)}) for name in scores]
    charts += [
        _chart(translate(label), {"train": _series(train, name)})
        for label, name in (
            ("Learning rate", "learning_rate"),
            ("Gradient norm", "grad_norm"),
            ("Tokens per second", "tokens_per_second"),
        )
    ]
    columns = [name for name in ("step", "epoch", "loss", *scores) if any(name in row for row in dev)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{_number(row.get(name))}</td>" for name in columns) + "</tr>\n" for row in dev
    )
    table = f'<h2>{translate("Evaluations")}</h2>\n<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>'
    return (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{html.escape(title)}</h1>\n{''.join(charts)}{table if dev else ''}\n</body>\n</html>\n"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any) -> str:
    return f"{value:.5g}" if _is_number(value) else "–"


def _series(rows: Sequence[dict[str, Any]], name: str) -> list[Point]:
    points = [(row["step"], row[name]) for row in rows if _is_number(row.get(name))]
    stride = -(-len(points) // _MOST_POINTS) or 1
    # The last point stays, however many are left out.
    return points[-1::-stride][::-1]


def _chart(name: str, lines: dict[str, list[Point]]) -> str:
    """One figure with up to two lines; nothing where no line has a point."""
    lines = {label: points for label, points in lines.items() if points}
    if not lines:
        return ""
    steps = [step for points in lines.values() for step, _ in points]
    values = [value for points in lines.values() for _, value in points]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    first, last = min(steps), max(max(steps), min(steps) + 1)

    def place(point: Point) -> str:
        x = _LEFT + (point[0] - first) / (last - first) * (_WIDTH - _LEFT - 8)
        y = _HEIGHT - _BOTTOM - (point[1] - low) / (high - low) * (_HEIGHT - _BOTTOM - 12)
        return f"{x:.1f},{y:.1f}"

    marks = []
    for value in (low, (low + high) / 2, high):
        y = float(place((first, value)).split(",")[1])
        marks.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{y}" y2="{y}"/>')
        marks.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value:.3g}</text>')
    marks.append(f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{first}</text>')
    marks.append(f'<text x="{_WIDTH - 8}" y="{_HEIGHT - 4}" text-anchor="end">{last}</text>')
    keys = []
    for css, (label, points) in zip("ab", lines.items(), strict=False):
        dots = " ".join(map(place, points if len(points) > 1 else points * 2))
        marks.append(f'<polyline class="{css}" stroke-linecap="round" points="{dots}"/>')
        keys.append(f'<span class="key-{css}">{label} {_number(points[-1][1])}</span>')
    return (
        f'<h2>{html.escape(name)}</h2>\n<div class="soft">{" · ".join(keys)}</div>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(name)}">{"".join(marks)}</svg>\n'
    )
