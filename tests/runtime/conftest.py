from __future__ import annotations

from pathlib import Path

import pytest

from tests import artifacts

pytest.importorskip("onnxruntime")
pytest.importorskip("paddle2onnx")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of UIE with graphs for all back ends that are installed."""
    try:
        import openvino  # noqa: F401

        more = ["openvino"]
    except ImportError:
        more = []
    return artifacts.bundle("uie", tmp_path_factory.mktemp("exported"), "onnx", "paddle", *more)
