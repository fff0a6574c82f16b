"""Packages that another one imports and hardly ever needs, loaded when something asks for what is in them.

`importlib.util.LazyLoader` loads a package as soon as one of its modules is imported; this loads it when an attribute
is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

_LOADING = RLock()
_LOADER = "_zoo_loader"


class _Waiting(ModuleType):
    """A module whose code has not run."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # which are asked for by everyone who looks at modules
            with _LOADING:
                self._load()
            if name in self.__dict__:
                return self.__dict__[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def _load(self) -> None:
        loader = self.__dict__.pop(_LOADER, None)
        if loader is None:  # it has run, or runs and asks for what it does not have yet
            return
        try:
            loader.exec_module(self)
        except BaseException:
            self.__dict__[_LOADER] = loader
            raise


class _LaterLoader(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = _Waiting(spec.name)
        module.__dict__[_LOADER] = self._loader
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs yet."""


class _LaterFinder(MetaPathFinder):
    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname in self._names else None
        if found is not None and found.loader is not None:
            found.loader = _LaterLoader(found.loader)
        return found


@contextmanager
def loaded_later(*names: str) -> Iterator[None]:
    """Packages of these names that are imported inside run their code when something of theirs is wanted."""
    finder = _LaterFinder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
