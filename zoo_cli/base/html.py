"""Pages of charts and tables as single HTML files: no scripts, nothing from outside, for phones, darkness and paper.

What the functions return is well-formed XML, so that a part of a page can be checked or moved by any tool.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 240, 84, 12, 12, 28
_LINE, _NAME = 24, 200
"""Height and usual width of a name in a chart, as large as they are on a phone."""
_MOST_POINTS = 400
_COLOURS = "abcdefgh"

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5d6672; --line: #d9dee4; --page: #fff; --tint: 31 111 235;
  --a: #1f6feb; --b: #c2570c; --c: #177a43; --d: #8a3fd1; --e: #b3261e; --f: #0b7f8f; --g: #8a6d00; --h: #64748b }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --soft: #a0a9b5; --line: #39424d; --page: #14181d; --tint: 90 150 250;
    --a: #6ea8fe; --b: #f2a365; --c: #62c98b; --d: #c39bf0; --e: #f28b82; --f: #5cc6d6; --g: #d9c04a; --h: #a3b1c2 }
}
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 760px;
  margin: 0 auto; padding: 16px }
div { overflow-wrap: anywhere }
h1 { font-size: 1.25rem; overflow-wrap: anywhere; margin: 8px 0 16px }
h2 { font-size: 1.1rem; margin: 32px 0 8px; padding-top: 12px; border-top: 1px solid var(--line) }
h3 { font-size: 1rem; margin: 20px 0 4px }
p { margin: 6px 0 }
svg { width: 100%; height: auto; display: block } svg text { font-size: 13px; fill: var(--soft) }
.grid { stroke: var(--line) } polyline { fill: none; stroke-width: 2 } circle { stroke: var(--page) }
svg .dashed { stroke: var(--soft); stroke-dasharray: 4 4 }
.a { stroke: var(--a) } .b { stroke: var(--b) } .c { stroke: var(--c) } .d { stroke: var(--d) }
.e { stroke: var(--e) } .f { stroke: var(--f) } .g { stroke: var(--g) } .h { stroke: var(--h) }
circle.a { fill: var(--a) } circle.b { fill: var(--b) } circle.c { fill: var(--c) } circle.d { fill: var(--d) }
circle.e { fill: var(--e) } circle.f { fill: var(--f) } circle.g { fill: var(--g) } circle.h { fill: var(--h) }
.key-a { color: var(--a) } .key-b { color: var(--b) } .key-c { color: var(--c) } .key-d { color: var(--d) }
.key-e { color: var(--e) } .key-f { color: var(--f) } .key-g { color: var(--g) } .key-h { color: var(--h) }
.soft { color: var(--soft) } .keys { overflow-wrap: anywhere } .keys span { margin-right: 12px; display: inline-block }
.wide { overflow-x: auto; margin: 4px 0 } table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: 3px 14px 3px 0; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600; color: var(--soft) } th:first-child, td:first-child { text-align: left }
.matrix td { text-align: center; padding: 4px 8px; border: 1px solid var(--line) } .matrix th { padding: 4px 8px }
.matrix td:first-child { text-align: center }
code { font-size: .85em; overflow-wrap: anywhere; white-space: normal }
.case { border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; margin: 8px 0; overflow-wrap: anywhere }
mark { background: none; color: inherit; border-bottom: 3px solid var(--c) }
mark.missed { border-bottom: 3px dashed var(--e) } mark.wrong { border-bottom: 3px double var(--b) }
mark sub { color: var(--soft); font-size: .7em; margin-left: 2px }
@media (max-width: 520px) { svg text { font-size: 21px } body { padding: 12px } th, td { padding-right: 10px } }
@media print {
  :root { --ink: #000; --soft: #444; --line: #bbb; --page: #fff }
  body { max-width: none; font-size: 11pt } h2, h3 { break-after: avoid }
  svg, .case, tr { break-inside: avoid } td, mark { print-color-adjust: exact }
  svg { max-width: 480px } .wide { overflow: visible }
}
"""


def page(title: str, body: str) -> str:
    """A whole page.

    Args:
        title: heading.
        body: what stands below it, as HTML.
    """
    return (
        '<!doctype html>\n<html>\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Text that may stand in HTML; characters that XML does not know become U+FFFD."""
    known = (
        letter if (letter >= " " or letter in "\n\t") and letter not in "\ufffe\uffff" else "\ufffd"
        for letter in str(text)
    )
    return html.escape("".join(known).encode("utf-8", "replace").decode())


def section(title: str, *parts: str) -> str:
    """Parts below a heading; nothing where all parts are empty."""
    body = "".join(parts)
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def paragraph(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>\n'


def number(value: Any) -> str:
    """A number in few digits; a dash for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:,}".replace(",", " ") if isinstance(value, int) else f"{value:.5g}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str = "") -> str:
    """A table; strings are left as they are, numbers made short. Nothing where there are no rows.

    Args:
        columns: heads.
        rows: cells.
        title: heading above it.
    """
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    heading = f"<h3>{escape(title)}</h3>\n" if title else ""
    return f'{heading}<div class="wide"><table><tr>{head}</tr>\n{body}</table></div>\n'


def _cell(value: Any) -> str:
    return escape(value) if isinstance(value, str) else number(value)


def matrix(title: str, rows: Sequence[str], columns: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A matrix of counts whose cells are the darker the larger their share of the row.

    Args:
        title: heading.
        rows: names of the rows.
        columns: names of the columns.
        counts: numbers [R, C].
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", *columns))
    body = ""
    for name, line in zip(rows, counts, strict=True):
        total = sum(line) or 1
        cells = "".join(
            f'<td style="background: rgb(var(--tint) / {count / total * 0.6:.2f})">{count}</td>' for count in line
        )
        body += f"<tr><th>{escape(name)}</th>{cells}</tr>\n"
    return f'<h3>{escape(title)}</h3>\n<div class="wide"><table class="matrix"><tr>{head}</tr>\n{body}</table></div>\n'


@dataclass(frozen=True)
class _Axes:
    """Where numbers lie in a chart."""

    left: float
    right: float
    low: float
    high: float

    @classmethod
    def around(cls, points: Sequence[Point]) -> _Axes:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        low, high = _apart(min(ys), max(ys))
        step = _step(high - low)
        return cls(*_apart(min(xs), max(xs), whole=True), step * math.floor(low / step), step * math.ceil(high / step))

    def x(self, value: float) -> float:
        return _LEFT + (value - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - self.low) / (self.high - self.low) * (_HEIGHT - _BOTTOM - _TOP)

    def place(self, point: Point) -> str:
        return f"{self.x(point[0]):.1f},{self.y(point[1]):.1f}"

    def marks(self) -> list[str]:
        """Lines and numbers of the axes."""
        marks = []
        step = _step(self.high - self.low)
        for count in range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1):
            y = f"{self.y(count * step):.1f}"
            marks.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
            marks.append(f'<text x="{_LEFT - 6}" y="{y}" dy=".35em" text-anchor="end">{count * step:.6g}</text>')
        marks.append(f'<text x="{_LEFT}" y="{_HEIGHT - 6}">{_short(self.left)}</text>')
        marks.append(f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" text-anchor="end">{_short(self.right)}</text>')
        return marks


def _step(extent: float) -> float:
    """A round number that goes two to five times into an extent."""
    power = 10.0 ** math.floor(math.log10(extent))
    return next((power * part for part in (0.2, 0.5, 1.0) if extent / (power * part) <= 5), 2 * power)


def _apart(low: float, high: float, whole: bool = False) -> tuple[float, float]:
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    if whole:
        return low, low + max(1.0, abs(low) / 1e6)
    return low - (abs(low) or 1) / 20, high + (abs(high) or 1) / 20


def _short(value: float) -> str:
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.3g}"


def thinned(points: Sequence[Point]) -> list[Point]:
    """At most 400 of some points; the last one stays, however many are left out."""
    stride = -(-len(points) // _MOST_POINTS) or 1
    return list(points[-1::-stride][::-1])


def line_chart(
    title: str,
    lines: Mapping[str, Sequence[Point]],
    axis: str = "",
    marked: Mapping[str, float] | None = None,
    last: bool = True,
) -> str:
    """A figure with a line for each of some series, at most eight; nothing where no line has a point.

    Args:
        title: heading.
        lines: name -> points, from left to right.
        axis: what the numbers below count.
        marked: name -> place on that axis where an upright line stands.
        last: whether the last value of each line is told.
    """
    drawn = {name: thinned(points) for name, points in lines.items() if points}
    drawn = dict(list(drawn.items())[: len(_COLOURS)])
    if not drawn:
        return ""
    axes = _Axes.around([point for points in drawn.values() for point in points])
    marks, keys = axes.marks(), []
    for name, value in (marked or {}).items():
        x = f"{axes.x(value):.1f}"
        marks.append(f'<line class="dashed" x1="{x}" x2="{x}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        keys.append(f"<span>┆ {escape(name)} {number(value)}</span>")
    for colour, (name, points) in zip(_COLOURS, drawn.items(), strict=False):
        dots = " ".join(map(axes.place, points if len(points) > 1 else points * 2))
        marks.append(f'<polyline class="{colour}" stroke-linecap="round" points="{dots}"/>')
        end = f" {number(points[-1][1])}" if last else ""
        keys.append(f'<span class="key-{colour}">{escape(name)}{end}</span>')
    return _figure(title, marks, keys, axis)


def scatter(title: str, groups: Mapping[str, Sequence[tuple[str, float, float]]], axis: str) -> str:
    """A figure with named points, of a colour for each group; nothing where there is no point.

    A dashed line joins those of a group that no other point of it beats: none is further up and as far to the left.

    Args:
        title: heading.
        groups: name -> (name of the point, x, y).
        axis: what both axes count.
    """
    groups = {name: points for name, points in groups.items() if points}
    if not groups:
        return ""
    every = [(x, y) for points in groups.values() for _, x, y in points]
    axes = _Axes.around([(0.0, every[0][1]), (1.05 * max(x for x, _ in every), every[0][1]), *every])
    marks, keys = axes.marks(), []
    dots = [(axes.x(x), axes.y(y)) for x, y in every]
    named: list[Point] = []
    for colour, (group, points) in zip(_COLOURS, groups.items(), strict=False):
        keys.append(f'<span class="key-{colour}">● {escape(group)}</span>' if group else "")
        best = frontier([(x, y) for _, x, y in points]) if group else []
        if len(best) > 1:
            marks.append(f'<polyline class="dashed" points="{" ".join(map(axes.place, best))}"/>')
        for name, x, y in points:
            cx, cy = axes.x(x), axes.y(y)
            anchor, dx = ("end", -9) if cx > _WIDTH / 2 else ("start", 9)
            ty = _free(cx, cy, [*named, *(dot for dot in dots if dot != (cx, cy))])
            named.append((cx, ty))
            marks.append(f'<circle class="{colour}" cx="{cx:.1f}" cy="{cy:.1f}" r="6"/>')
            if ty != cy:
                marks.append(f'<line class="grid" x1="{cx:.1f}" y1="{cy:.1f}" x2="{cx + dx:.1f}" y2="{ty:.1f}"/>')
            marks.append(
                f'<text x="{cx + dx:.1f}" y="{ty:.1f}" dy=".35em" text-anchor="{anchor}">{escape(name)}</text>'
            )
    return _figure(title, marks, keys, axis)


def _free(x: float, y: float, taken: Sequence[Point]) -> float:
    """The height nearest to a point's own at which its name lies on none of the `taken` places, if there is one."""
    places = [y + sign * count * _LINE for count in range(_HEIGHT // _LINE) for sign in (1, -1)]
    return next(
        (
            place
            for place in places
            if _TOP <= place <= _HEIGHT - _BOTTOM
            and all(abs(place - other) >= _LINE or abs(x - left) > _NAME for left, other in taken)
        ),
        y,
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points, from left to right, that are further up than all that are not further right."""
    found: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or y > found[-1][1]:
            found.append((x, y))
    return found


def _figure(title: str, marks: Sequence[str], keys: Sequence[str], axis: str) -> str:
    below = f'<span class="soft">→ {escape(axis)}</span>' if axis else ""
    return (
        f'<h3>{escape(title)}</h3>\n<div class="keys">{"".join(keys)}{below}</div>\n'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(marks)}</svg>\n'
    )


def bars(title: str, counts: Mapping[str, float]) -> str:
    """Horizontal bars with their numbers; nothing where there are none."""
    if not counts:
        return ""
    most = max(counts.values()) or 1
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{number(value)}</td>"
        f'<td style="width: 60%; text-align: left"><svg viewBox="0 0 100 6" preserveAspectRatio="none" '
        f'style="height: 10px"><rect width="{value / most * 100:.1f}" height="6" fill="var(--a)"/></svg></td></tr>\n'
        for name, value in counts.items()
    )
    return f'<h3>{escape(title)}</h3>\n<div class="wide"><table style="width: 100%">{rows}</table></div>\n'


@dataclass(frozen=True)
class Span:
    """A part of a text to be marked.

    Args:
        start: of its first character.
        end: behind its last one.
        kind: ``right``, ``missed`` or ``wrong``.
        label: shown behind it.
    """

    start: int
    end: int
    kind: str
    label: str


def marked_text(text: str, spans: Sequence[Span]) -> str:
    """A text with marks. Of spans that overlap, the first one of those given is marked."""
    kept: list[Span] = []
    for span in spans:
        inside = 0 <= span.start < span.end <= len(text)
        if inside and not any(span.start < other.end and other.start < span.end for other in kept):
            kept.append(span)
    parts, position = [], 0
    for span in sorted(kept, key=lambda span: span.start):
        words, label = escape(text[span.start : span.end]), escape(span.label)
        parts += [escape(text[position : span.start]), f'<mark class="{span.kind}">{words}<sub>{label}</sub></mark>']
        position = span.end
    return "".join([*parts, escape(text[position:])])
