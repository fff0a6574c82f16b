"""Ways from a float graph to an integer one: what each needs, and what each writes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import onnx

from zoo_cli.base.errors import PlatformError, UsageError
from zoo_cli.compress import onnx_int8, onnx_nbits
from zoo_cli.compress.calibration import Arrays, Histogram, find_moments, find_range, find_widths, observe
from zoo_cli.compress.onnx_int8 import Ranges
from zoo_cli.compress.smoothing import smooth, smoothable
from zoo_cli.recipe.schema import QuantizeSection

DYNAMIC, LEARNED, SMOOTH, NEAREST, GPTQ = "dynamic", "learned", "smooth", "nearest", "gptq"
"""Ranges found in each call; learnt in training; those of a graph with more even channels. Weights rounded to the
nearest integer; or so that errors make up for one another."""


class OnnxRoute:
    """Integer products for ONNX Runtime.

    Args:
        bundle: holds the float graph.
        options: the recipe's `quantize` section.
        inputs: batches to find ranges from; not needed for ranges that are found in each call.
        learned: ranges of activations that quantisation-aware training learnt; those of others are observed.
        fewer: batches of fewer examples, by their number, whose ranges are tried as well.

    Attributes:
        products: names of the weights whose products can be integer ones.
        tables: names of the tables that can be stored in integers.
        precision: folder of the graph in a bundle.
    """

    backend: ClassVar[str] = "onnx"
    methods: ClassVar[tuple[str, ...]] = ("min_max", "percentile", "entropy", "mse", SMOOTH)

    def __init__(
        self,
        bundle: Path,
        options: QuantizeSection,
        inputs: Sequence[Arrays],
        learned: Ranges | None = None,
        fewer: Mapping[int, Sequence[Arrays]] | None = None,
    ) -> None:
        self.options = options
        self.precision = f"int{options.bits}"
        self._inputs = inputs
        self._learned = learned
        self._fewer = fewer or {}
        self._model = onnx.load(str(bundle / "onnx" / "fp32" / "model.onnx"))
        self.products, self.tables = self._units()
        if not options.embeddings:
            self.tables = []
        self._ranges: dict[str, Ranges] = {}
        self._smooth: onnx.ModelProto | None = None

    def _units(self) -> tuple[list[str], list[str]]:
        return list(onnx_int8.find_products(self._model)), onnx_int8.tables(self._model)

    @cached_property
    def _histograms(self) -> dict[str, Histogram]:
        return self._observe(self._model, self._inputs)

    @cached_property
    def _histograms_of_fewer(self) -> dict[int, dict[str, Histogram]]:
        return {count: self._observe(self._model, inputs) for count, inputs in self._fewer.items()}

    def _observe(self, model: onnx.ModelProto, inputs: Sequence[Arrays]) -> dict[str, Histogram]:
        return observe(model, onnx_int8.weight_products(model).values(), inputs)

    def candidates(self) -> list[str]:
        """Calibrations to try; those that come to the same ranges as one before are left out.

        Raises:
            UsageError: none of those that the recipe names is possible with this model (`no-such-route`).
        """
        if self.options.method == "dynamic":
            return [DYNAMIC]
        if self._learned is not None:
            self._ranges[LEARNED] = {**self._ends(self._histograms, "min_max"), **self._learned}
            return [LEARNED]
        found: list[str] = []
        for name in self.options.calibration or self.methods:
            if name == SMOOTH:
                if not self._smoothed():
                    logging.getLogger(__name__).info("few layer normalisations can take the factors of %s", name)
                    continue
            elif name in OnnxRoute.methods:
                found += self._find_ranges(name)
                continue
            found.append(name)
        if not found:
            raise UsageError(
                "no-such-route",
                "the sums of this model read what its products read, so that channels cannot be smoothed",
                fix="leave quantize.calibration out",
            )
        return found

    def _find_ranges(self, method: str) -> list[str]:
        """Find the ranges of a calibration with all examples and with fewer, and name those that are new."""
        samples = {method: self._histograms}
        samples |= {f"{method}-{count}": each for count, each in self._histograms_of_fewer.items()}
        found = []
        for name, histograms in samples.items():
            ranges = self._ends(histograms, method)
            if ranges in self._ranges.values():
                logging.getLogger(__name__).info("%s finds the ranges of another calibration", name)
                continue
            self._ranges[name] = ranges
            found.append(name)
        return found

    def _smoothed(self) -> bool:
        """Make the graph with more even channels, unless few products would gain: of a model that normalises sums
        only those behind the last layer."""
        activations = smoothable(self._model)
        if 2 * sum(map(len, activations.values())) < len(onnx_int8.find_products(self._model)):
            return False
        self._smooth = smooth(self._model, find_widths(self._model, activations, self._inputs))
        self._ranges[SMOOTH] = self._ends(self._observe(self._smooth, self._inputs), "min_max")
        return True

    def _ends(self, histograms: dict[str, Histogram], method: str) -> dict[str, tuple[float, float]]:
        return {
            activation: find_range(histogram, method, self.options.percentile)
            for activation, histogram in histograms.items()
        }

    def _graph(self, calibration: str, keep: Collection[str]) -> onnx.ModelProto:
        names = [name for name in (*self.products, *self.tables) if name not in keep]
        ranges = None if calibration == DYNAMIC else self._ranges[calibration]
        model = self._smooth if calibration == SMOOTH and self._smooth is not None else self._model
        return onnx_int8.quantize(model, names, ranges, pairs=self.backend == "openvino")

    def build(self, calibration: str, keep: Collection[str], folder: Path) -> Path:
        """Write the graph below `folder` as a bundle has it.

        Args:
            calibration: of `candidates`.
            keep: products and tables that stay in float.
            folder: of a bundle to be.

        Returns:
            The file with the weights.
        """
        path = folder / "onnx" / self.precision / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self._graph(calibration, keep), str(path))
        return path

    def integer_products(self, folder: Path) -> int:
        """Matrix products that really are computed with integers."""
        return onnx_int8.count_integer_products(folder / "onnx" / self.precision / "model.onnx")


class WeightOnlyRoute(OnnxRoute):
    """Integer weights for ONNX Runtime, see `zoo_cli.compress.onnx_nbits`."""

    def _units(self) -> tuple[list[str], list[str]]:
        return list(onnx_nbits.weight_only_products(self._model)), onnx_nbits.weight_only_tables(self._model)

    @cached_property
    def _moments(self) -> dict[str, np.ndarray]:
        return find_moments(self._model, onnx_int8.weight_products(self._model).values(), self._inputs)

    def candidates(self) -> list[str]:
        if self.options.calibration is not None:
            return list(self.options.calibration)
        # The nearest of 256 integers is near enough.
        return [NEAREST] if self.options.bits == 8 else [NEAREST, GPTQ]

    def _graph(self, calibration: str, keep: Collection[str]) -> onnx.ModelProto:
        names = [name for name in (*self.products, *self.tables) if name not in keep]
        moments = self._moments if calibration == GPTQ else None
        return onnx_nbits.quantize_weights(self._model, names, self.options.bits, moments)


class OpenVinoRoute(OnnxRoute):
    """Integer graphs for OpenVINO, which reads those of `OnnxRoute`, or has its quantiser NNCF make one."""

    backend: ClassVar[str] = "openvino"
    methods: ClassVar[tuple[str, ...]] = (*OnnxRoute.methods, "nncf")

    def candidates(self) -> list[str]:
        found = super().candidates()
        tied = any(product.transposition for product in onnx_int8.find_products(self._model).values())
        if not tied or "nncf" not in found:
            return found
        # It leaves such a table in float and stores it twice.
        if found == ["nncf"]:
            raise UsageError(
                "no-such-route",
                "NNCF cannot quantise a table of tokens that also makes the scores of the vocabulary",
                fix="leave quantize.calibration out",
            )
        logging.getLogger(__name__).info("nncf is left out, since the table of tokens also makes scores")
        return [name for name in found if name != "nncf"]

    def build(self, calibration: str, keep: Collection[str], folder: Path) -> Path:
        import openvino

        path = folder / "openvino" / self.precision / "model.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        if calibration == "nncf":
            graph = self._by_nncf(keep)
        else:
            graph = openvino.Core().read_model(self._graph(calibration, keep).SerializeToString(), b"")
        openvino.save_model(graph, path, compress_to_fp16=False)
        return path.with_suffix(".bin")

    def _by_nncf(self, keep: Collection[str]) -> Any:
        import openvino

        nncf = load_nncf()
        tables = onnx_int8.tables(self._model)
        kept = {*keep, *(tables if not self.options.embeddings else ())}
        names = [node.name for node in self._model.graph.node if kept.intersection(node.input)]
        with contextlib.redirect_stdout(sys.stderr):
            return nncf.quantize(
                openvino.Core().read_model(self._model.SerializeToString(), b""),
                nncf.Dataset(self._inputs),
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(self._inputs),
                ignored_scope=nncf.IgnoredScope(names=names),
            )

    def integer_products(self, folder: Path) -> int:
        import openvino

        compiled = openvino.Core().compile_model(folder / "openvino" / self.precision / "model.xml", "CPU")
        nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        return sum(
            node["layerType"].astype(str) in ("FullyConnected", "MatMul")
            and node["runtimePrecision"].astype(str) in ("i8", "u8")
            for node in nodes
        )


def load_nncf() -> ModuleType:
    """The package NNCF, which would otherwise report its use to its makers unasked.

    Raises:
        PlatformError: it is not installed (`missing-extra`).
    """
    os.environ.setdefault("NNCF_CI", "1")  # read when it is imported; the only switch that it has
    try:
        with contextlib.redirect_stdout(sys.stderr):
            import nncf
    except ImportError as error:
        raise PlatformError(
            "missing-extra", "NNCF is not installed", fix="pip install 'zoo-cli[openvino]', or leave nncf out"
        ) from error
    nncf.set_log_level(logging.ERROR)
    return nncf


def route_class(options: QuantizeSection) -> type[OnnxRoute]:
    """The route that a recipe asks for."""
    if options.method == "weight_only":
        return WeightOnlyRoute
    return {"onnx": OnnxRoute, "openvino": OpenVinoRoute}[options.backend]
