"""Options of document classification."""

from __future__ import annotations

from typing import Literal

from zoo_cli.recipe.schema import PositiveInt
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.document_classification.api import DocumentClassificationInput
from zoo_cli.tasks.documents import DocumentOptions
from zoo_cli.tasks.sequence_classification.api import SequenceClassificationAnswer
from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions


class DocumentClassificationOptions(DocumentOptions, SequenceClassificationOptions):
    """The `task` section of a recipe for classification and regression of long documents."""

    name: Literal["document_classification"] = "document_classification"  # type: ignore[assignment]
    """Name of the task."""
    stride: PositiveInt | None = None
    """Tokens from the start of one segment to the start of the next; by default as many as the model remembers."""
    strip_html: bool = False
    """Read documents without their HTML tags: the line breaks of IMDB, the markup of Hyperpartisan news."""


TASK = TaskSpec(
    name="document_classification",
    options=DocumentClassificationOptions,
    implementation="zoo_cli.tasks.document_classification.task:DocumentClassificationTask",
    formats=("csv", "tsv", "jsonl", "doccano", "label_studio"),
    metric="score",
    request=DocumentClassificationInput,
    answer=SequenceClassificationAnswer,
)
