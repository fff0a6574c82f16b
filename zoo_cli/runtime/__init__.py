"""Floor 4: reads a bundle and runs it, without paddle for ONNX. Imports neither models, engine nor export."""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def load(bundle: Any, **options: Any) -> Any:
    """Load a bundle as a pipeline; see `zoo_cli.runtime.loading.load`."""
    from zoo_cli.runtime.loading import load as load_bundle

    return load_bundle(bundle, **options)
