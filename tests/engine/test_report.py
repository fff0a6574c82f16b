"""The page with curves."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from zoo_cli.engine.report import render_report


def rows(count: int = 50) -> list[dict[str, Any]]:
    train = [
        {"kind": "train", "step": step, "epoch": step / 10, "loss": 1 / step, "learning_rate": 1e-5 * step}
        for step in range(1, count + 1)
    ]
    dev = [{"kind": "dev", "step": step, "loss": 0.5, "f1": step / 100, "PER": {"f1": 1.0}} for step in (10, 20)]
    return train + dev


def body(page: str) -> ET.Element:
    """The page's body; it is well-formed XML too."""
    return ET.fromstring(page[page.index("<body>") : page.index("</html>")])


def test_a_chart_for_each_number() -> None:
    found = body(render_report("runs/x", rows()))
    assert [svg.get("aria-label") for svg in found.iter("svg")] == ["Loss", "f1", "Learning rate"]
    first = next(found.iter("svg"))
    assert [line.get("class") for line in first.iter("polyline")] == ["a", "b"]
    assert [cell.text for cell in found.iter("td")] == ["10", "0.5", "0.1", "20", "0.5", "0.2", "1"]


def test_points_stay_inside_and_few() -> None:
    found = body(render_report("x", rows(5000)))
    for line in found.iter("polyline"):
        points = [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        assert len(points) <= 400
        assert all(0 <= x <= 640 and 0 <= y <= 240 for x, y in points)
    assert "learning_rate" not in "".join(found.itertext())


def test_nothing_outside_is_needed_and_text_is_escaped() -> None:
    page = render_report("<script>alert(1)</script>", rows())
    assert "<script" not in page and "http" not in page and "src=" not in page
    assert "prefers-color-scheme: dark" in page and "width=device-width" in page


def test_an_empty_run_has_a_page() -> None:
    assert not list(body(render_report("x", [])).iter("svg"))


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)), max_size=20))
def test_any_numbers_can_be_drawn(losses: list[float | None]) -> None:
    page = render_report("x", [{"kind": "train", "step": i, "loss": loss} for i, loss in enumerate(losses)])
    assert "nan" not in page.lower().replace("tenant", "")
    body(page)
