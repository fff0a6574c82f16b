"""Requests of document classification; its answers are those of sequence classification."""

from __future__ import annotations

from pydantic import ConfigDict

from zoo_cli.tasks.api import RequestModel


class DocumentClassificationInput(RequestModel):
    """A document."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "这部小说讲的是一个小镇三代人的故事。"}]})

    text: str
    """The document, of any length."""
