"""Options of triple extraction."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import Fraction, PositiveInt, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.spo.api import SPOAnswer, SPOInput


class SPOOptions(Section):
    """The `task` section of a recipe for subjects, predicates and objects (CMeIE, DuIE)."""

    name: Literal["spo"] = "spo"
    """Name of the task."""
    predicates: list[str] | None = None
    """Predicates in the order of their ids; by default those of the training data, sorted."""
    max_length: Annotated[int, Field(ge=16)] = 300
    """Most tokens that are read at once; longer texts are read in windows."""
    stride: PositiveInt | None = None
    """Tokens from the start of one window to the start of the next; by default half of `max_length`. A triple is found
    if a window holds its subject and its object."""
    threshold: Fraction = 0.5
    """Starts, ends and relations count when their probability is greater."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.predicates is not None and (not self.predicates or len(set(self.predicates)) < len(self.predicates)):
            raise ValueError("predicates is empty or has a name twice")
        return self


TASK = TaskSpec(
    name="spo",
    options=SPOOptions,
    implementation="zoo_cli.tasks.spo.task:SPOTask",
    formats=("spo", "doccano", "label_studio"),
    metric="f1",
    request=SPOInput,
    answer=SPOAnswer,
)
