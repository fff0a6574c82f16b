"""Floor 4: the model families, their heads, and reading and writing their weights.

`build` makes a model from scratch, `load` reads a folder, `save` writes one, `load_config` reads a folder's
configuration without importing paddle, `generate` continues texts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_cli.models.checkpoint import load_config as load_config
    from zoo_cli.models.generation import generate as generate
    from zoo_cli.models.loading import LoadReport as LoadReport
    from zoo_cli.models.loading import build as build
    from zoo_cli.models.loading import load as load
    from zoo_cli.models.loading import load_weights as load_weights
    from zoo_cli.models.loading import save as save

__all__ = ["LoadReport", "build", "generate", "load", "load_config", "load_weights", "save"]

_PAGES = dict.fromkeys(__all__, "zoo_cli.models.loading") | {
    "generate": "zoo_cli.models.generation",
    "load_config": "zoo_cli.models.checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _PAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PAGES[name]), name)
