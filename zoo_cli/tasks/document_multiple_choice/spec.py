"""Options of multiple choice on documents."""

from __future__ import annotations

from typing import Literal

from zoo_cli.recipe.schema import PositiveInt
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.documents import DocumentOptions
from zoo_cli.tasks.multiple_choice.api import MultipleChoiceAnswer, MultipleChoiceInput
from zoo_cli.tasks.multiple_choice.spec import MultipleChoiceOptions


class DocumentMultipleChoiceOptions(DocumentOptions, MultipleChoiceOptions):
    """The `task` section of a recipe for multiple choice (C3) about long documents."""

    name: Literal["document_multiple_choice"] = "document_multiple_choice"  # type: ignore[assignment]
    """Name of the task."""
    stride: PositiveInt | None = None
    """Tokens from the start of one segment to the start of the next; by default as many as the model remembers."""


TASK = TaskSpec(
    name="document_multiple_choice",
    options=DocumentMultipleChoiceOptions,
    implementation="zoo_cli.tasks.document_multiple_choice.task:DocumentMultipleChoiceTask",
    formats=("c3", "chid", "choices"),
    metric="accuracy",
    request=MultipleChoiceInput,
    answer=MultipleChoiceAnswer,
)
