"""Options of matching long texts."""

from __future__ import annotations

from typing import Literal

from zoo_cli.recipe.schema import PositiveInt
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.documents import DocumentOptions
from zoo_cli.tasks.matching.api import MatchingAnswer, MatchingInput
from zoo_cli.tasks.matching.spec import MatchingOptions


class DocumentMatchingOptions(DocumentOptions, MatchingOptions):
    """The `task` section of a recipe for choosing the most similar of long texts (CAIL 2019's similar cases)."""

    name: Literal["document_matching"] = "document_matching"  # type: ignore[assignment]
    """Name of the task."""
    stride: PositiveInt | None = None
    """Tokens from the start of one segment to the start of the next, in both texts; by default as many as the model
    remembers."""


TASK = TaskSpec(
    name="document_matching",
    options=DocumentMatchingOptions,
    implementation="zoo_cli.tasks.document_matching.task:DocumentMatchingTask",
    formats=("cail_scm", "choices"),
    metric="accuracy",
    request=MatchingInput,
    answer=MatchingAnswer,
)
