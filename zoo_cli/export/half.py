"""Graphs in half precision: half of the size, and faster on devices that multiply it."""

from __future__ import annotations

from pathlib import Path

import onnx

from zoo_cli.base.errors import PlatformError
from zoo_cli.base.files import atomic_file

HALF = "fp16"


def to_half(graph: Path, target: Path) -> None:
    """Convert an ONNX graph; its inputs and outputs stay as they are.

    Weights and constants that float16 does not reach become its largest number, as masks of -1e9 do.

    Args:
        graph: in float32.
        target: file to write.

    Raises:
        PlatformError: ONNX Runtime is not installed (`missing-extra`).
    """
    try:
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise PlatformError(
            "missing-extra", "ONNX Runtime is not installed", fix="pip install 'zoo-cli[serve]'"
        ) from error
    model = convert_float_to_float16(onnx.load(str(graph)), keep_io_types=True, disable_shape_infer=True)
    OnnxModel(model).topological_sort()  # the converter appends its casts
    onnx.checker.check_model(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(target) as partial:
        onnx.save(model, str(partial))
