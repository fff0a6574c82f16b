"""Requests and answers of multiple choice."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from zoo_cli.tasks.api import AnswerModel, RequestModel


class MultipleChoiceInput(RequestModel):
    """A text, a question and what to choose from."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"context": "王芳在北京大学工作。", "question": "她在哪里工作？", "choices": ["医院", "大学"]}]
        }
    )

    context: str = ""
    """The text, with `#idiom#` where a choice belongs if it is a cloze."""
    question: str = ""
    """The question."""
    choices: Annotated[list[str], Field(min_length=1)]
    """What to choose from."""


class MultipleChoiceAnswer(AnswerModel):
    """The choice."""

    answer: str
    """The choice."""
    index: int
    """Its number, from 0."""
    score: float
    """Its probability."""
    scores: list[float] | None = None
    """Probability of every choice, where the model was told to give them."""
    truncated: bool | None = None
    """True where the text was too long to be read whole."""
