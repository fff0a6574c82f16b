"""What shells complete: names of recipes, checkpoints, data sets, families, tasks, formats and error codes."""

from __future__ import annotations

from collections.abc import Iterable


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def complete_recipes(incomplete: str) -> list[str]:
    """Recipes that can be named."""
    from zoo_cli.recipe.loading import recipe_names

    return _beginning((f"{name}.yaml" for name in recipe_names()), incomplete)


def complete_checkpoints(incomplete: str) -> list[str]:
    """Published checkpoints."""
    from zoo_cli.recipe.presets import preset_names

    return _beginning(preset_names(), incomplete)


def complete_datasets(incomplete: str) -> list[str]:
    """Data sets that `zoo data fetch` downloads."""
    from zoo_cli.data.datasets import dataset_names

    return _beginning(dataset_names(), incomplete)


def complete_families(incomplete: str) -> list[str]:
    """Model families."""
    from zoo_cli.registry import FAMILIES

    return _beginning(FAMILIES, incomplete)


def complete_tasks(incomplete: str) -> list[str]:
    """Tasks."""
    from zoo_cli.registry import TASKS

    return _beginning(TASKS, incomplete)


def complete_formats(incomplete: str) -> list[str]:
    """Formats of labelled data."""
    from zoo_cli.data.formats import FORMATS

    return _beginning(FORMATS, incomplete)


def complete_codes(incomplete: str) -> list[str]:
    """Error codes."""
    from zoo_cli.base.explanations import explanations

    return _beginning(explanations(), incomplete)
