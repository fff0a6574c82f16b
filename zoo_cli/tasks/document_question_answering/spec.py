"""Options of question answering on documents."""

from __future__ import annotations

from typing import Literal

from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.documents import DocumentOptions
from zoo_cli.tasks.question_answering.api import QuestionAnsweringAnswer, QuestionAnsweringInput
from zoo_cli.tasks.question_answering.spec import QuestionAnsweringOptions


class DocumentQuestionAnsweringOptions(DocumentOptions, QuestionAnsweringOptions):
    """The `task` section of a recipe for extractive reading comprehension of long documents."""

    name: Literal["document_question_answering"] = "document_question_answering"  # type: ignore[assignment]
    """Name of the task."""


TASK = TaskSpec(
    name="document_question_answering",
    options=DocumentQuestionAnsweringOptions,
    implementation="zoo_cli.tasks.document_question_answering.task:DocumentQuestionAnsweringTask",
    formats=("squad",),
    metric="f1",
    request=QuestionAnsweringInput,
    answer=QuestionAnsweringAnswer,
)
