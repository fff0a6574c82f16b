"""The task of a student, which is not always its teacher's."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from zoo_cli import registry
from zoo_cli.recipe.schema import Recipe

LABELLED = {"extraction": "closed_extraction"}
"""Task of a teacher that labels texts -> task of the student that learns from them."""


def student_task(recipe: Recipe) -> str:
    """Name of the task of the student in the recipe's `distill` section."""
    name: str = recipe.task["name"]
    labels = recipe.distill is not None and recipe.distill.labelling is not None
    return LABELLED.get(name, name) if labels else name


def student_options(recipe: Recipe, task: Any) -> BaseModel:
    """Options of a student's own task: those of the recipe, with schema and separator of its teacher.

    Args:
        recipe: has a `distill` section with `labelling`.
        task: options of the teacher's task.

    Raises:
        ValidationError: a value is wrong.
    """
    assert recipe.distill is not None
    shared = {"schema": task.schema, "separator": task.separator}
    options: BaseModel = registry.task(student_task(recipe)).options.model_validate(
        {**shared, **recipe.distill.student.task}
    )
    return options
