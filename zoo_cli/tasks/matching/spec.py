"""Options of matching."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo_cli.recipe.schema import Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.matching.api import MatchingAnswer, MatchingInput


class MatchingOptions(Section):
    """The `task` section of a recipe for choosing the most similar text (CAIL 2019's similar cases).

    Whether two texts mean the same is a question for `sequence_classification`.
    """

    name: Literal["matching"] = "matching"
    """Name of the task."""
    max_length: Annotated[int, Field(ge=16)] = 512
    """Most tokens of the text and one candidate together; the longer of the two is cut at its end."""
    num_choices: Annotated[int, Field(ge=2)] | None = None
    """Candidates of every text in training, where fewer are filled up with invalid ones; by default the most that the
    training data have."""
    all_scores: bool = False
    """Answer with the probability of every candidate, too."""


TASK = TaskSpec(
    name="matching",
    options=MatchingOptions,
    implementation="zoo_cli.tasks.matching.task:MatchingTask",
    formats=("cail_scm", "choices"),
    metric="accuracy",
    request=MatchingInput,
    answer=MatchingAnswer,
)
