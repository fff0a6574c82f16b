"""Options of unified text classification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import Fraction, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.utc.api import UTCAnswer, UTCInput


class UTCOptions(Section):
    """The `task` section of a recipe for unified text classification."""

    name: Literal["utc"] = "utc"
    """Name of the task."""
    choices: list[str] | None = None
    """What to choose from when a request or a row of data does not say; by default the labels of the training data,
    sorted."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Most tokens of choices and texts together; the longer text is cut at its end."""
    threshold: Fraction = 0.5
    """A choice holds when its probability is greater."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None and (not self.choices or len(set(self.choices)) < len(self.choices)):
            raise ValueError("choices is empty or has a name twice")
        return self


TASK = TaskSpec(
    name="utc",
    options=UTCOptions,
    implementation="zoo_cli.tasks.utc.task:UTCTask",
    formats=("utc", "csv", "tsv", "jsonl"),
    metric="f1",
    request=UTCInput,
    answer=UTCAnswer,
)
