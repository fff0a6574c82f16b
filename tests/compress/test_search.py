"""The search: the best calibration, layers back to float in order of sensitivity, and no silent no-op."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.errors import PlatformError
from zoo_cli.compress import search as searching
from zoo_cli.compress.gates import breaches, lost
from zoo_cli.compress.search import Search
from zoo_cli.recipe.schema import GatesSection

DAMAGE = {"a": 0.01, "b": 0.3, "c": 0.02, "table": 0.1}
FACTOR = {"good": 1.0, "bad": 2.0}


class FakeRoute:
    """Its graph is a number: the damage of all that is in integers."""

    backend = "fake"
    precision = "int8"
    products = ("a", "b", "c")
    tables = ("table",)

    def __init__(self, lazy: bool = False, large: bool = False) -> None:
        self.lazy, self.large = lazy, large

    def candidates(self) -> list[str]:
        return ["bad", "good"]

    def build(self, calibration: str, keep: Collection[str], folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        self.quantized = [name for name in DAMAGE if name not in keep]
        damage = FACTOR[calibration] * sum(DAMAGE[name] for name in self.quantized)
        (folder / "damage").write_text(str(damage))
        weights = folder / "weights"
        weights.write_bytes(b"x" * (200 if self.large else 100 - 10 * len(self.quantized)))
        return weights

    def integer_products(self, folder: Path) -> int:
        return 0 if self.lazy else len(set(self.quantized) & set(self.products))


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(**options: bool) -> Search:
        monkeypatch.setitem(
            searching.BACKENDS, "fake", lambda folder, precision: float((folder / "damage").read_text())
        )
        monkeypatch.setattr(searching, "outputs_of", lambda backend, inputs: np.array([1.0 + backend]))
        develop = SimpleNamespace(scores=lambda backend: {"f1": 0.9 - backend})
        route: Any = FakeRoute(**options)
        return Search(route, develop, [], 0.0, 150, "f1", {"f1": 0.9}, tmp_path)  # type: ignore[arg-type]

    return make


def test_best_calibration_wins(search: Any) -> None:
    best, place = search().run(drop=0.5)
    assert (best.calibration, best.kept) == ("good", ())
    assert float((place / "damage").read_text()) == pytest.approx(0.43)


def test_most_sensitive_layers_return_first(search: Any) -> None:
    searching_ = search()
    best, place = searching_.run(drop=0.05)
    assert best.kept == ("b", "table")
    assert best.metric == pytest.approx(0.87)
    assert float((place / "damage").read_text()) == pytest.approx(0.03)
    assert list(searching_.sensitivity) == ["a", "b", "c", "table"]
    assert [candidate.kept for candidate in searching_.tried] == [(), (), ("b",), ("b", "table")]


def test_layers_stay_where_floats_are_no_better(search: Any) -> None:
    searching_ = search()
    searching_.before = {"f1": 0.99}
    best, _ = searching_.run(drop=0.05)
    assert (best.calibration, best.kept, searching_.sensitivity) == ("good", (), {})


def test_exactly_the_limit_holds(search: Any) -> None:
    assert search().run(drop=0.43)[0].kept == ()


def test_of_a_loss_less_is_better(search: Any) -> None:
    searching_ = search()
    searching_.metric, searching_.before = "loss", {"loss": 2.0}
    searching_.develop = SimpleNamespace(scores=lambda backend: {"loss": 2.0 + backend})
    best, _ = searching_.run(drop=0.05)
    assert (best.calibration, best.kept) == ("good", ("b", "table"))
    assert lost("loss", 2.0, 2.1) == pytest.approx(0.1) and lost("f1", 0.9, 0.8) == pytest.approx(0.1)


def test_what_cannot_hold_keeps_one_layer(search: Any) -> None:
    best, _ = search().run(drop=0.0)
    assert best.kept == ("b", "table", "c")
    assert best.integer_products == 1


@pytest.mark.parametrize("fault", ["lazy", "large"])
def test_silent_no_op_is_an_error(search: Any, fault: str) -> None:
    with pytest.raises(PlatformError) as caught:
        search(**{fault: True}).run(drop=0.5)
    assert caught.value.code == "no-integers"


@pytest.mark.parametrize(
    ("gates", "after", "size", "speed", "words"),
    [
        ({}, 0.80, 0.9, 0.5, []),
        ({}, 0.79, 0.9, 0.5, []),
        ({}, 0.78, 0.9, 0.5, ["f1 falls from 0.8000 to 0.7800"]),
        ({}, float("nan"), 0.9, 0.5, ["f1 falls"]),
        ({"size_ratio": 0.3}, 0.8, 0.31, 1.0, ["31% of its size"]),
        ({"speed_up": 1.5}, 0.8, 0.3, 1.4, ["1.40 times as fast"]),
        ({"speed_up": 1.5, "size_ratio": 0.3, "metric_drop": 0.0}, 0.7, 0.4, 1.4, ["f1", "size", "fast"]),
        ({"speed_up": 1.5, "size_ratio": 0.3, "metric_drop": 0.0}, 0.8, 0.3, 1.5, []),
    ],
)
def test_gates(gates: dict[str, float], after: float, size: float, speed: float, words: list[str]) -> None:
    found = breaches(GatesSection(**gates), "f1", 0.8, after, size, speed)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))
