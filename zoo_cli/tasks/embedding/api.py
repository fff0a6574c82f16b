"""Requests and answers of embedding."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel


class EmbeddingInput(RequestModel):
    """A text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "这家餐厅的菜很好吃。"}]})

    text: str
    """The text."""


class EmbeddingAnswer(AnswerModel):
    """The vector of a text."""

    embedding: list[float]
    """The vector; of length 1 unless the model was told otherwise."""
    tokens: int
    """Tokens of the text that were read, special tokens included."""
    truncated: bool | None = None
    """True where the text was too long and its end was not read."""
