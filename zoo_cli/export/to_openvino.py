"""OpenVINO's own format, from an ONNX graph."""

from __future__ import annotations

from pathlib import Path

from zoo_cli.base.errors import PlatformError


def to_openvino(graph: Path, folder: Path) -> None:
    """Convert an ONNX graph, weights in the precision they have.

    Args:
        graph: the ONNX file.
        folder: gets `model.xml` and `model.bin`.

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
    openvino.save_model(openvino.Core().read_model(graph), folder / "model.xml", compress_to_fp16=False)
