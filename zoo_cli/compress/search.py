"""The best integer graph: calibrations side by side, then layers back to float until the accuracy holds."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import Location, PlatformError
from zoo_cli.compress.calibration import Arrays
from zoo_cli.compress.gates import lost
from zoo_cli.compress.routes import OnnxRoute
from zoo_cli.compress.scoring import DevelopmentSet, outputs_of, relative_error
from zoo_cli.runtime.backends import BACKENDS, Backend

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Candidate:
    """One integer graph, measured.

    Args:
        calibration: how its ranges were found.
        kept: products and tables that stay in float.
        integer_products: matrix products that are computed with integers.
        size: bytes of the file with the weights.
        metric: main score on the development set.
        scores: all scores.
        error: see `relative_error`, on the calibration texts.
    """

    calibration: str
    kept: tuple[str, ...]
    integer_products: int
    size: int
    metric: float
    scores: dict[str, Any]
    error: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "calibration": self.calibration,
            "kept_in_float": list(self.kept),
            "integer_products": self.integer_products,
            "bytes": self.size,
            "metric": self.metric,
            "relative_error": self.error,
        }


@dataclass
class Search:
    """Builds and measures candidates of one route.

    Args:
        route: writes graphs.
        develop: scores them.
        inputs: batches that the error is measured on.
        float_backend: the graph that is quantised.
        float_size: bytes of the weights before.
        metric: name of the main score.
        before: all scores before.
        scratch: folder for graphs.
    """

    route: OnnxRoute
    develop: DevelopmentSet
    inputs: Sequence[Arrays]
    float_backend: Backend
    float_size: int
    metric: str
    before: dict[str, Any]
    scratch: Path
    tried: list[Candidate] = field(default_factory=list)
    sensitivity: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._expected = outputs_of(self.float_backend, self.inputs)

    @property
    def metric_before(self) -> float:
        """Main score before."""
        return float(self.before[self.metric])

    def run(self, drop: float) -> tuple[Candidate, Path]:
        """Find the best candidate; its graph is in the folder beside it.

        Args:
            drop: how much of the metric may be lost; where more is lost, the layer whose rounding changes the outputs
                most returns to float, then the next, until the metric holds or none is left.

        Returns:
            The candidate, which may still lose more.

        Raises:
            PlatformError: a graph computes with fewer integers than it should, or is not smaller (`no-integers`).
        """
        results = [self._measure(name, (), self._folder(name)) for name in self.route.candidates()]
        best = min(results, key=lambda each: (lost(self.metric, self.metric_before, each.metric), each.error))
        place = self._folder(best.calibration)
        if self._holds(best.metric, drop):
            return best, place
        # What training with rounding has changed does not come back with float layers.
        attainable = float(self.develop.scores(self.float_backend)[self.metric])
        if not self._holds(attainable, drop):
            return best, place
        logger.warning(
            "%s goes from %.4f to %.4f: layers return to float", self.metric, self.metric_before, best.metric
        )
        units = self._by_sensitivity(best.calibration)
        place = self._folder("kept")
        for count in range(1, len(units)):
            best = self._measure(best.calibration, units[:count], place)
            if self._holds(best.metric, drop):
                break
        return best, place

    def _holds(self, score: float, drop: float) -> bool:
        # Scores are ratios of counts, so a difference of exactly `drop` must not fail by rounding.
        return lost(self.metric, self.metric_before, score) <= drop + 1e-9

    def _folder(self, name: str) -> Path:
        return self.scratch / name

    def _measure(self, calibration: str, kept: Collection[str], folder: Path) -> Candidate:
        shutil.rmtree(folder, ignore_errors=True)
        weights = self.route.build(calibration, kept, folder)
        products, size = self.route.integer_products(folder), weights.stat().st_size
        expected = sum(name not in kept for name in self.route.products)
        if products < expected or size >= self.float_size:
            raise PlatformError(
                "no-integers",
                "{products} of {expected} matrix products have integers; weights take {size} bytes, before {before}",
                at=Location.of(weights),
                fix="this is a fault of the quantiser; another quantize.backend may do",
                products=products,
                expected=expected,
                size=size,
                before=self.float_size,
            )
        backend = BACKENDS[self.route.backend](folder, self.route.precision)
        scores = self.develop.scores(backend)
        error = relative_error(outputs_of(backend, self.inputs), self._expected)
        found = Candidate(calibration, tuple(kept), products, size, float(scores[self.metric]), scores, error)
        logger.info("%s: %s %.4f, error %.4f", calibration, self.metric, found.metric, error)
        self.tried.append(found)
        return found

    def _by_sensitivity(self, calibration: str) -> list[str]:
        """Products and tables, the one first whose rounding alone changes the outputs most."""
        units = [*self.route.products, *self.route.tables]
        folder = self._folder("alone")
        for unit in units:
            self.route.build(calibration, [name for name in units if name != unit], folder)
            found = outputs_of(BACKENDS[self.route.backend](folder, self.route.precision), self.inputs)
            self.sensitivity[unit] = relative_error(found, self._expected)
        return sorted(units, key=lambda unit: -self.sensitivity[unit])
