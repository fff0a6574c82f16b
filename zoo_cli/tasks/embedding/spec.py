"""Options of embedding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo_cli.recipe.schema import Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.embedding.api import EmbeddingAnswer, EmbeddingInput


class EmbeddingOptions(Section):
    """What `zoo export --from FOLDER task.name=embedding` takes; nothing is learnt, so no recipe has this section."""

    name: Literal["embedding"] = "embedding"
    """Name of the task."""
    pooling: Literal["mean", "cls"] = "mean"
    """Mean of all tokens of the text, or its first token."""
    normalize: bool = True
    """Give vectors of length 1, whose products are cosines."""
    max_length: Annotated[int, Field(ge=3)] = 512
    """Most tokens of a text, whose end is cut."""


TASK = TaskSpec(
    name="embedding",
    options=EmbeddingOptions,
    implementation="zoo_cli.tasks.embedding.task:EmbeddingTask",
    formats=(),
    metric="",
    request=EmbeddingInput,
    answer=EmbeddingAnswer,
)
