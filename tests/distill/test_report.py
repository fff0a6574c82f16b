"""The figures of a distilled or pruned model beside the one that it was made from."""

from __future__ import annotations

from zoo_cli.distill.report import Row, figures


def rows(scores: dict[str, tuple[float, float]]) -> list[Row]:
    return [Row(name, 10, 40, score, None, alone, alone) for name, (score, alone) in scores.items()]


def test_models_that_no_other_beats_are_joined() -> None:
    widths = {"unpruned": (0.9, 4.0), "width 0.75": (0.88, 3.0), "width 0.5": (0.8, 2.0), "width 0.25": (0.7, 2.5)}
    page = figures("accuracy", rows(widths))
    (line,) = (part.split('"')[0] for part in page.split('class="dashed" points="')[1:])
    assert len(line.split()) == 3  # width 0.5 is better and faster than 0.25
    assert all(name in page for name in widths)


def test_of_losses_and_of_one_model_nothing_is_joined() -> None:
    widths = {"unpruned": (0.9, 4.0), "width 0.5": (0.8, 2.0)}
    assert 'class="dashed"' not in figures("loss", rows(widths))
    assert 'class="dashed"' not in figures("accuracy", rows({"unpruned": (0.9, 4.0)}))
    assert "svg" not in figures("accuracy", [Row("unpruned", 10, 40, None, None, 4.0, 3.0)])
