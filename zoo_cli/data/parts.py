"""The parts of a recipe's data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.sources import read_examples
from zoo_cli.data.splits import allot, assign
from zoo_cli.recipe.schema import DataSection


def read_parts(section: DataSection, seed: int, parts: Sequence[str]) -> dict[str, list[Any]]:
    """Examples of some of the parts `train`, `dev` and `test`.

    Args:
        section: the recipe's `data` section.
        seed: of the choice of development rows where `dev_fraction` sets some of the training rows apart.
        parts: which to read.

    Raises:
        DataError: a file cannot be read, or too few rows are left to set some apart.
    """
    files: Mapping[str, list[str]] = {"train": section.train, "dev": section.dev, "test": section.test}
    found = {part: list(read_examples(files[part], section)) for part in parts if part != "dev" or section.dev}
    if "dev" in parts and section.dev_fraction and not section.dev:
        rows = found.get("train") or list(read_examples(section.train, section))
        # The same rows as `zoo data split` and `zoo data convert` choose with these sizes and this seed.
        sizes = allot(len(rows), [round(1 - section.dev_fraction, 12), section.dev_fraction])
        chosen, count = np.zeros(len(rows), bool), sizes[1]
        chosen[assign(sizes, seed)[1]] = True
        if not 0 < count < len(rows):
            raise DataError(
                "small-data",
                "{rows} rows are too few to set {share:.0%} of them apart",
                fix="raise data.dev_fraction, or name a file in data.dev",
                rows=len(rows),
                share=section.dev_fraction,
            )
        found["dev"] = [row for row, apart in zip(rows, chosen, strict=True) if apart]
        if "train" in parts:
            found["train"] = [row for row, apart in zip(rows, chosen, strict=True) if not apart]
    return found
