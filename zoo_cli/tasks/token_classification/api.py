"""Requests and answers of token classification."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, model_validator

from zoo_cli.tasks.api import AnswerModel, RequestModel


class TokenClassificationInput(RequestModel):
    """A text, or a text that is already cut into words."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "王芳在北京大学工作。"}]})

    text: str | None = None
    """The text."""
    tokens: list[str] | None = None
    """The words or characters of a text, instead of `text`."""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.text is None) == (self.tokens is None):
            raise ValueError("give either text or tokens")
        return self


class Entity(AnswerModel):
    """A named thing in the text."""

    text: str
    """Its words."""
    label: str
    """Its kind."""
    start: int
    """Place of the first character in `text`, or of the first word in `tokens`."""
    end: int
    """Place after the last one."""
    score: float
    """How sure the model is."""


class TokenClassificationAnswer(AnswerModel):
    """The named things in the order of the text."""

    entities: list[Entity]
    """The named things."""
