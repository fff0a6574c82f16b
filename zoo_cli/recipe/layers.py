"""Values laid over one another, each remembering where it came from.

Lowest first: schema defaults, `configs/tasks`, the profile of `configs/deploy` that `deploy` names, the preset of
`configs/models` that `model.init` names, the recipe that `extends` names, the recipe itself, its `tiny` section (with
`--tiny`), the command line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from zoo_cli.base.errors import Location
from zoo_cli.recipe.yaml12 import Path


def value_at(tree: Any, *path: str) -> Any:
    """The value at a path of keys, or None where there is none."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def model_sections(tree: Any) -> list[tuple[str, ...]]:
    """Paths of the sections that describe a model, and may name a published checkpoint: `model`, and those students
    that there are."""
    students = value_at(tree, "distill", "students")
    named = [("distill", "students", str(name)) for name in students] if isinstance(students, dict) else []
    return [
        ("model",),
        *(path for path in (("distill", "student"), *named) if isinstance(value_at(tree, *path), dict)),
    ]


@dataclass(frozen=True)
class Origin:
    """Where a value came from: the layer, and the place in its file if it has one."""

    layer: str
    place: Location | None = None

    def __str__(self) -> str:
        return f"{self.layer} {self.place}" if self.place else self.layer


@dataclass
class Layered:
    """A merged tree; `origins` has an entry for each leaf and for each mapping key on the way to it."""

    value: dict[str, Any] = field(default_factory=dict)
    origins: dict[Path, Origin] = field(default_factory=dict)

    def lay(self, tree: dict[str, Any], layer: str, places: Any = None, path: Path = (), at: Path = ()) -> None:
        """Lay a tree over what is there: mappings merge, everything else replaces.

        Args:
            tree: the values to lay.
            layer: name of the layer.
            places: `Document` that the tree was read from, for its positions.
            path: where in the result the tree goes.
            at: where in the document the tree stands.
        """
        target = self.value
        for key in path:
            target = target.setdefault(str(key), {})
        for key, value in tree.items():
            here, there = (*path, key), (*at, key)
            origin = Origin(layer, places.place(there) if places else None)
            if isinstance(value, dict) and isinstance(target.get(key), dict | None) and value:
                if not isinstance(target.get(key), dict):
                    target[key] = {}
                self.origins[here] = origin
                self.lay(value, layer, places, here, there)
            else:
                self.drop(here)
                target[key] = value
                self.origins[here] = origin
                if places and isinstance(value, list):
                    for index in range(len(value)):
                        self.origins[(*here, index)] = Origin(layer, places.place((*there, index)))

    def drop(self, path: Path) -> None:
        """Forget the origins at and below `path`."""
        for known in [known for known in self.origins if known[: len(path)] == path]:
            del self.origins[known]

    def origin(self, path: Path) -> Origin | None:
        """Origin of a value, or of the nearest thing around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return None
