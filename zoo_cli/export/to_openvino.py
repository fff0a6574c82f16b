"""OpenVINO's own format, from an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from zoo_cli.base.errors import PlatformError


def to_openvino(graph: Path, folder: Path, half: bool = False) -> None:
    """Convert an ONNX graph, weights in the precision they have unless told otherwise.

    Args:
        graph: the ONNX file.
        folder: gets `model.xml` and `model.bin`.
        half: store the weights in half precision.

    Raises:
        PlatformError: OpenVINO is not installed (`missing-extra`).
    """
    try:
        import openvino
    except ImportError as error:
        raise PlatformError(
            "missing-extra", "OpenVINO is not installed", fix="pip install 'zoo-cli[openvino]'"
        ) from error
    folder.mkdir(parents=True)
    openvino.save_model(openvino.Core().read_model(graph), folder / "model.xml", compress_to_fp16=half)
