"""Requests and answers of matching."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from zoo_cli.tasks.api import AnswerModel, RequestModel


class MatchingInput(RequestModel):
    """A text and what to compare it with."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"text": "借款逾期未还。", "candidates": ["欠款到期未偿还。", "房屋租赁合同。"]}]
        }
    )

    text: str
    """The text."""
    candidates: Annotated[list[str], Field(min_length=1)]
    """The texts of which one is to be found."""


class MatchingAnswer(AnswerModel):
    """The candidate that is most like the text."""

    index: int
    """Its number, from 0."""
    score: float
    """Its probability."""
    scores: list[float] | None = None
    """Probability of every candidate, where the model was told to give them."""
    truncated: bool | None = None
    """True where a text was too long to be read whole."""
