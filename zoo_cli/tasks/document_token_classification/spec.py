"""Options of document token classification."""

from __future__ import annotations

from typing import Literal

from zoo_cli.recipe.schema import PositiveInt
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.documents import DocumentOptions
from zoo_cli.tasks.token_classification.api import TokenClassificationAnswer, TokenClassificationInput
from zoo_cli.tasks.token_classification.spec import TokenClassificationOptions


class DocumentTokenClassificationOptions(DocumentOptions, TokenClassificationOptions):
    """The `task` section of a recipe for named entities and other tagging of long documents."""

    name: Literal["document_token_classification"] = "document_token_classification"  # type: ignore[assignment]
    """Name of the task."""
    stride: PositiveInt | None = None
    """Tokens from the start of one segment to the start of the next; by default as many as the model remembers."""


TASK = TaskSpec(
    name="document_token_classification",
    options=DocumentTokenClassificationOptions,
    implementation="zoo_cli.tasks.document_token_classification.task:DocumentTokenClassificationTask",
    formats=("bio", "bmes", "conll", "cluener", "doccano", "label_studio"),
    metric="f1",
    request=TokenClassificationInput,
    answer=TokenClassificationAnswer,
)
