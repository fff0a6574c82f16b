"""Requests and answers of unified text classification."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from zoo_cli.tasks.api import AnswerModel, RequestModel
from zoo_cli.tasks.sequence_classification.api import LabelScore


class UTCInput(RequestModel):
    """A text, or a pair of texts, and what to choose from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "房间干净明亮，非常不错", "choices": ["这是一条差评", "这是一条好评"]}]
        }
    )

    text: str
    """The text."""
    text_pair: str | None = None
    """The second text of a pair."""
    choices: Annotated[list[str], Field(min_length=1)] | None = None
    """What to choose from; by default the model's own."""


class UTCAnswer(AnswerModel):
    """The choices that hold, in the order of the request."""

    predictions: list[LabelScore]
    """The choices."""
    truncated: bool | None = None
    """True where the text was too long and its end was not read."""
