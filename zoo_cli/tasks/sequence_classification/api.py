"""Requests and answers of sequence classification."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel


class SequenceClassificationInput(RequestModel):
    """A text, or a pair of texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "这家餐厅的菜很好吃。"}]})

    text: str
    """The text."""
    text_pair: str | None = None
    """The second text of a pair."""


class LabelScore(AnswerModel):
    """One class."""

    label: str
    """Name of the class."""
    score: float
    """Its probability."""


class SequenceClassificationAnswer(AnswerModel):
    """The class, the classes or the number."""

    label: str | None = None
    """The class, where a text has one."""
    score: float | None = None
    """Its probability; of a regression the number."""
    labels: list[LabelScore] | None = None
    """The classes, the surest first, where a text may have several."""
    scores: dict[str, float] | None = None
    """Probability of every class, where the model was told to give them."""
    truncated: bool | None = None
    """True where the text was too long and its end was not read."""
