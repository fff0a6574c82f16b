"""The augmented training set of a recipe: where it is, and the `data` section that reads it."""

from __future__ import annotations

from pathlib import Path

from zoo_cli.base.errors import DataError, Location
from zoo_cli.base.resources import locate
from zoo_cli.data.augment.rows import written_format
from zoo_cli.recipe.loading import LoadedRecipe, run_folder
from zoo_cli.recipe.schema import DataSection


def augmented_files(loaded: LoadedRecipe) -> dict[str, Path]:
    """Each training file -> where `zoo data augment` puts it with its copies, beside the recipe's runs."""
    folder = run_folder(loaded, "augment")
    found: dict[str, Path] = {}
    for number, name in enumerate(loaded.recipe.data.train, 1):
        suffix = Path(locate(name).name.removesuffix(".gz")).suffix
        found[name] = folder / f"train{suffix}" if number == 1 else folder / f"train-{number}{suffix}"
    return found


def training_data(loaded: LoadedRecipe) -> DataSection:
    """The recipe's `data` section, with the augmented files for the training files if `distill.augmented` says so.

    Raises:
        DataError: they are not there (`no-augmented-data`).
    """
    section, distill = loaded.recipe.data, loaded.recipe.distill
    if distill is None or not distill.augmented:
        return section
    files = list(augmented_files(loaded).values())
    for file in files:
        if not file.is_file():
            raise DataError(
                "no-augmented-data",
                "the augmented training set is not there",
                at=Location.of(file),
                fix="make it with `zoo data augment --recipe {name}`",
                name=loaded.name,
            )
    changes: dict[str, object] = {"train": [str(file) for file in files]}
    assert section.format is not None  # the recipe has training files
    if written_format(section.format) != section.format:
        changes |= {"format": written_format(section.format), "options": {}}
    return section.model_copy(update=changes)
