"""`key.sub=value` where no recipe is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from zoo_cli.base.errors import UsageError
from zoo_cli.recipe.layers import Layered
from zoo_cli.recipe.overrides import parse_override


def values_of(overrides: Sequence[str]) -> dict[str, Any]:
    """The tree of values that overrides lay over a recipe.

    Raises:
        UsageError: one is not of the form ``key.sub=value``.
    """
    layered = Layered()
    for text in overrides:
        tree, document = parse_override(text, layered.value)
        layered.lay(tree, "command line", document)
    return layered.value


def sections_of(overrides: Sequence[str], **sections: type[BaseModel]) -> dict[str, Any]:
    """Sections of a recipe that the command line alone describes.

    Args:
        overrides: ``key.sub=value``.
        **sections: class of each section that they may be about.

    Raises:
        UsageError: a value is wrong, or about another section (`no-recipe`).
    """
    tree = values_of(overrides)
    unknown = [name for name in tree if name not in sections]
    if unknown:
        raise UsageError(
            "no-recipe",
            "{key} belongs to a recipe, and none is named",
            fix="name one with --recipe; without it only {known} are taken",
            key=unknown[0],
            known=" and ".join(f"{name}.KEY=VALUE" for name in sections),
        )
    found: dict[str, BaseModel] = {}
    for name, section in sections.items():
        try:
            found[name] = section.model_validate(tree.get(name, {}))
        except ValidationError as error:
            detail: Any = error.errors()[0]
            raise UsageError(
                "wrong-value",
                "{key}: {reason}",
                key=".".join((name, *map(str, detail["loc"]))),
                reason=detail["msg"],
            ) from error
    return found
