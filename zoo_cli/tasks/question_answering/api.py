"""Requests and answers of question answering."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel


class QuestionAnsweringInput(RequestModel):
    """A question, and the text that holds the answer."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"question": "王芳在哪里工作？", "context": "王芳在北京大学工作。"}]}
    )

    question: str
    """The question."""
    context: str
    """The text."""


class TextAnswer(AnswerModel):
    """A piece of the text, or nothing."""

    answer: str
    """The words; empty where the text has no answer."""
    start: int | None
    """Place of the first character in the text."""
    end: int | None
    """Place after the last character."""
    score: float
    """Share of this answer among all that were compared."""


class QuestionAnsweringAnswer(TextAnswer):
    """The best answer."""

    answers: list[TextAnswer] | None = None
    """All answers that were compared, where the model was told to give them."""
