"""The process that converts graphs: what it loads, and what is said where it fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from zoo_cli.base.errors import PlatformError

pytest.importorskip("onnx")
pytest.importorskip("paddle2onnx")

LOADS = """
import sys
from zoo_cli.export import converter
assert callable(converter.compiled_converter().export)
assert "paddle.nn" not in sys.modules
"""
ALONE_IT_DOES_NOT = """
import sys
from zoo_cli.export import converter
load = converter.import_module

def load_with_its_package(name):
    if name == "paddle.base.libpaddle":
        raise ImportError("libcuda.so: cannot open shared object file")
    return load(name)

converter.import_module = load_with_its_package
assert callable(converter.compiled_converter().export)
assert "paddle.nn" in sys.modules
"""


@pytest.mark.parametrize("code", [LOADS, ALONE_IT_DOES_NOT], ids=["compiled modules only", "with the whole package"])
def test_the_compiled_module_is_found(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_it_says_last_is_the_reason(tmp_path: Path) -> None:
    from zoo_cli.export.to_onnx import convert

    for name in ("inference.json", "inference.pdiparams"):
        (tmp_path / name).touch()
    with pytest.raises(PlatformError, match="parse error") as caught:
        convert(tmp_path, tmp_path / "model.onnx", [], {})
    assert caught.value.code == "onnx-conversion"
    assert not (tmp_path / "model.onnx").exists()
