"""Requests and answers of joint intent and slots."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel


class IntentSlotInput(RequestModel):
    """A command."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "来一首周华健的花心"}]})

    text: str
    """The command."""


class Slot(AnswerModel):
    """A part of the command that fills a slot."""

    slot: str
    """Name of the slot."""
    entity: str
    """Its words."""
    pos: tuple[int, int]
    """Places of the first and of the last character in the text."""
    score: float
    """How sure the model is."""


class IntentSlotAnswer(AnswerModel):
    """What the command wants."""

    intent: str
    """Name of the intent."""
    confidence: float
    """Its probability."""
    value: list[Slot]
    """The slots that are filled in, in the order of the text."""
