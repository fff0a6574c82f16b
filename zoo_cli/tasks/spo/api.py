"""Requests and answers of triple extraction."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel


class SPOInput(RequestModel):
    """A text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "子宫内膜癌患者可出现皮疹、恶心。"}]})

    text: str
    """The text."""


class Mention(AnswerModel):
    """A piece of the text."""

    text: str
    """Its words."""
    start: int
    """Place of the first character."""
    end: int
    """Place after the last one."""


class Triple(AnswerModel):
    """A relation between two pieces of the text."""

    subject: Mention
    """What the relation is of."""
    predicate: str
    """Name of the relation."""
    object: Mention
    """What it is to."""
    score: float
    """Probability of the relation."""


class SPOAnswer(AnswerModel):
    """All relations in the order of their subjects."""

    triples: list[Triple]
    """The relations."""
