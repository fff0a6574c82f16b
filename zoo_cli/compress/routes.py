"""Ways from a float graph to an integer one: what each needs, and what each writes."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import onnx

from zoo_cli.base.errors import PlatformError
from zoo_cli.compress import onnx_int8
from zoo_cli.compress.calibration import Arrays, find_range, observe
from zoo_cli.recipe.schema import QuantizeSection

PRECISION = "int8"
DYNAMIC = "dynamic"
"""Ranges are found in each call."""


class OnnxRoute:
    """Integer graphs for ONNX Runtime.

    Args:
        bundle: holds the float graph.
        options: the recipe's `quantize` section.
        inputs: batches to find ranges from; not needed for ranges that are found in each call.
    """

    backend: ClassVar[str] = "onnx"
    methods: ClassVar[tuple[str, ...]] = ("min_max", "percentile", "entropy", "mse")

    def __init__(self, bundle: Path, options: QuantizeSection, inputs: Sequence[Arrays]) -> None:
        self.options = options
        self._inputs = inputs
        self._model = onnx.load(str(bundle / "onnx" / "fp32" / "model.onnx"))
        self.products = list(onnx_int8.weight_products(self._model))
        self.tables = onnx_int8.tables(self._model) if options.embeddings else []
        self._ranges: dict[str, onnx_int8.Ranges] = {}

    @cached_property
    def _histograms(self) -> dict[str, Any]:
        return observe(self._model, onnx_int8.weight_products(self._model).values(), self._inputs)

    def candidates(self) -> list[str]:
        """Calibrations to try; those that come to the same ranges as one before are left out."""
        if self.options.method == DYNAMIC:
            return [DYNAMIC]
        found: list[str] = []
        for name in self.options.calibration or self.methods:
            if name in OnnxRoute.methods:
                ranges = {
                    activation: find_range(histogram, name, self.options.percentile)
                    for activation, histogram in self._histograms.items()
                }
                if ranges in self._ranges.values():
                    logging.getLogger(__name__).info("%s finds the ranges of another calibration", name)
                    continue
                self._ranges[name] = ranges
            found.append(name)
        return found

    def _graph(self, calibration: str, keep: Collection[str]) -> onnx.ModelProto:
        names = [name for name in (*self.products, *self.tables) if name not in keep]
        ranges = None if calibration == DYNAMIC else self._ranges[calibration]
        return onnx_int8.quantize(self._model, names, ranges, pairs=self.backend == "openvino")

    def build(self, calibration: str, keep: Collection[str], folder: Path) -> Path:
        """Write the graph below `folder` as a bundle has it.

        Args:
            calibration: of `candidates`.
            keep: products and tables that stay in float.
            folder: of a bundle to be.

        Returns:
            The file with the weights.
        """
        path = folder / "onnx" / PRECISION / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(self._graph(calibration, keep), str(path))
        return path

    def integer_products(self, folder: Path) -> int:
        """Matrix products that really are computed with integers."""
        return onnx_int8.count_integer_products(folder / "onnx" / PRECISION / "model.onnx")


class OpenVinoRoute(OnnxRoute):
    """Integer graphs for OpenVINO, which reads those of `OnnxRoute`, or has its quantiser NNCF make one."""

    backend: ClassVar[str] = "openvino"
    methods: ClassVar[tuple[str, ...]] = (*OnnxRoute.methods, "nncf")

    def build(self, calibration: str, keep: Collection[str], folder: Path) -> Path:
        import openvino

        path = folder / "openvino" / PRECISION / "model.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        if calibration == "nncf":
            graph = self._by_nncf(keep)
        else:
            graph = openvino.Core().read_model(self._graph(calibration, keep).SerializeToString(), b"")
        openvino.save_model(graph, path, compress_to_fp16=False)
        return path.with_suffix(".bin")

    def _by_nncf(self, keep: Collection[str]) -> Any:
        import openvino

        try:
            with contextlib.redirect_stdout(sys.stderr):
                import nncf
        except ImportError as error:
            raise PlatformError(
                "missing-extra", "NNCF is not installed", fix="pip install 'zoo-cli[openvino]', or leave nncf out"
            ) from error
        nncf.set_log_level(logging.ERROR)
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

        compiled = openvino.Core().compile_model(folder / "openvino" / PRECISION / "model.xml", "CPU")
        nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
        return sum(
            node["layerType"].astype(str) in ("FullyConnected", "MatMul")
            and node["runtimePrecision"].astype(str) in ("i8", "u8")
            for node in nodes
        )


ROUTES: dict[str, type[OnnxRoute]] = {"onnx": OnnxRoute, "openvino": OpenVinoRoute}
