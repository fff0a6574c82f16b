"""Requests and answers of extraction under a closed schema: those of UIE, so that its clients can go on."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, SkipValidation

from zoo_cli.tasks.extraction.api import ExtractionInput, Schema


class ClosedExtractionInput(ExtractionInput):
    """A text. `schema_lang` means nothing here, since the model is asked no questions."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "王芳在北京大学工作。"}]})

    schema_: Annotated[SkipValidation[Schema | None], Field(alias="schema")] = None
    """Which part of the model's schema to answer; by default all of it."""
    position_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """A find counts when its probability is greater; at least what the model was made for."""
