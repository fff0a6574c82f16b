"""Program that converts one Paddle graph to ONNX, in a process that `zoo_cli.export.to_onnx` starts.

    python -m zoo_cli.export.converter GRAPH WEIGHTS TARGET OPSET

The conversion is done by paddle2onnx's compiled module, which needs no more than Paddle's. To import the two packages
as a whole takes longer than to convert most graphs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

_PACKAGES = ("paddle", "paddle.base", "paddle2onnx")
_CONVERTER = "paddle2onnx.paddle2onnx_cpp2py_export"


def compiled_converter() -> Any:
    """paddle2onnx's compiled module; the packages around it and around Paddle's are not run.

    Where Paddle's module does not load by itself, as it does with the libraries of its own package, they are.

    Raises:
        ImportError: Paddle or paddle2onnx is not installed.
    """
    for name in _PACKAGES:
        spec = find_spec(name)
        if spec is None:
            raise ImportError(f"{name} is not installed")
        sys.modules[name] = module_from_spec(spec)
    try:
        import_module("paddle.base.libpaddle")
    except ImportError:
        for name in _PACKAGES:
            del sys.modules[name]
        import_module("paddle")
    return import_module(_CONVERTER)


def main(graph: str, weights: str, target: str, opset: str) -> None:
    """Convert `graph` with its `weights`, and write `target`."""
    model = compiled_converter().export(
        graph,
        weights,
        int(opset),
        False,  # choose a higher opset where an operator needs one
        False,  # say what is done
        True,  # check the result
        True,  # convert operators whose conversion is experimental
        True,  # optimise
        {},  # operators of one's own
        "onnxruntime",
        "",  # calibration file
        "",  # file for large weights
        False,  # half precision
    )
    Path(target).write_bytes(model)


if __name__ == "__main__":
    main(*sys.argv[1:])
