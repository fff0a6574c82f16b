"""Options of multiple choice."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo_cli.recipe.schema import Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.multiple_choice.api import MultipleChoiceAnswer, MultipleChoiceInput


class MultipleChoiceOptions(Section):
    """The `task` section of a recipe for multiple choice (C3) and cloze tests (ChID)."""

    name: Literal["multiple_choice"] = "multiple_choice"
    """Name of the task."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Most tokens of text, question and one choice together; the text is cut at its end, or around its blank."""
    num_choices: Annotated[int, Field(ge=2)] | None = None
    """Choices of every question in training, where fewer are filled up with invalid ones; by default the most that the
    training data have."""
    all_scores: bool = False
    """Answer with the probability of every choice, too."""


TASK = TaskSpec(
    name="multiple_choice",
    options=MultipleChoiceOptions,
    implementation="zoo_cli.tasks.multiple_choice.task:MultipleChoiceTask",
    formats=("c3", "chid", "choices"),
    metric="accuracy",
    request=MultipleChoiceInput,
    answer=MultipleChoiceAnswer,
)
