"""Requests and answers of nested named entities."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import AnswerModel, RequestModel
from zoo_cli.tasks.token_classification.api import Entity


class NestedNERInput(RequestModel):
    """A text."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "患者右肺下叶可见阴影。"}]})

    text: str
    """The text."""


class NestedNERAnswer(AnswerModel):
    """The named things in the order of the text; some may lie inside of others."""

    entities: list[Entity]
    """The named things."""
