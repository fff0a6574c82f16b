"""Pages of charts and tables."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.base.html import (
    Span,
    bars,
    frontier,
    line_chart,
    marked_text,
    matrix,
    number,
    page,
    scatter,
    table,
    thinned,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NUMBER = st.floats(allow_nan=False, allow_infinity=False, width=32)


def parsed(text: str) -> ET.Element:
    return ET.fromstring(f"<body>{text}</body>")


@given(st.dictionaries(TEXT, st.lists(st.tuples(NUMBER, NUMBER), max_size=5), max_size=9))
def test_any_points_can_be_drawn(lines: dict[str, list[tuple[float, float]]]) -> None:
    ordered = {name: sorted(points) for name, points in lines.items()}
    drawn = parsed(line_chart("title", ordered, marked=None))
    for polyline in drawn.iter("polyline"):
        for point in (polyline.get("points") or "").split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= 640 and 0 <= y <= 240
    named = {name: [("p", *point) for point in points] for name, points in lines.items()}
    parsed(scatter("title", named, "axis"))


@given(TEXT, TEXT, st.lists(st.tuples(st.integers(-3, 25), st.integers(-3, 25), TEXT), max_size=6))
def test_marks_lose_nothing_of_a_text(title: str, text: str, spans: list[tuple[int, int, str]]) -> None:
    marked = parsed(marked_text(text, [Span(start, end, "right", label) for start, end, label in spans]))
    for label in list(marked.iter("sub")):
        label.text = ""
    plain = "".join(marked.itertext())
    assert len(plain) == len(text) and all(
        a == b or b == "\ufffd" for a, b in zip(text, plain, strict=True) if a != "\r"
    )
    whole = page(title, "<p/>")
    ET.fromstring(whole[whole.index("<body>") : whole.index("</html>")])


def test_the_first_of_overlapping_spans_is_marked() -> None:
    spans = [Span(2, 4, "missed", "a"), Span(0, 6, "wrong", "b"), Span(4, 5, "wrong", "c")]
    marks = list(parsed(marked_text("abcdef", spans)).iter("mark"))
    assert [(mark.get("class"), mark.text) for mark in marks] == [("missed", "cd"), ("wrong", "e")]


def test_tables() -> None:
    cells = [cell.text for cell in parsed(table(["a", "b"], [["<x>", 12345], [None, 0.123456]])).iter("td")]
    assert cells == ["<x>", number(12345), "–", "0.12346"]
    assert number(12345).replace(" ", "") == "12345"
    assert table(["a"], []) == bars("x", {}) == line_chart("x", {"a": []}) == scatter("x", {}, "y") == ""
    shaded = parsed(matrix("m", ["a", "b"], ["a", "b"], [[3, 1], [0, 0]]))
    assert [cell.text for cell in shaded.iter("td")] == ["3", "1", "0", "0"]


def test_the_last_point_stays() -> None:
    points = [(float(x), 0.0) for x in range(1001)]
    kept = thinned(points)
    assert len(kept) <= 400 and kept[-1] == points[-1] and kept == sorted(kept)


def test_frontier() -> None:
    assert frontier([(3, 0.8), (1, 0.5), (2, 0.4), (2, 0.7), (4, 0.8)]) == [(1, 0.5), (2, 0.7), (3, 0.8)]


def test_scores_that_differ_by_rounding_can_be_drawn() -> None:
    parsed(line_chart("x", {"a": [(1, 0.98), (2, 0.9800000000000002)]}))


def test_names_of_points_that_lie_together_do_not_lie_on_each_other() -> None:
    drawn = parsed(scatter("x", {"a": [(name, 5.0 + number / 100, 1.0) for number, name in enumerate("pqrs")]}, "y"))
    heights = sorted(float(each.get("y") or 0) for each in drawn.iter("text") if each.text in list("pqrs"))
    assert len(heights) == 4
    assert all(above + 20 < below for above, below in pairwise(heights))
