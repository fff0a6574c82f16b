"""Requests and answers of extraction."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, RootModel, SkipValidation
from typing_extensions import TypeAliasType

from zoo_cli.tasks.api import AnswerModel, RequestModel

Schema = TypeAliasType("Schema", "str | list[Schema] | dict[str, Schema]")


class ExtractionInput(RequestModel):
    """A text, and what to look for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "王芳在北京大学工作。", "schema": ["人物", {"组织机构": "成员"}]}]}
    )

    text: str
    """The text."""
    # The task itself checks it and says where it is wrong, which three branches of a union would not.
    schema_: Annotated[SkipValidation[Schema | None], Field(alias="schema")] = None
    """What to extract: a name, a list of names, or a mapping from names to what to ask about each find; a class is
    asked for as `情感倾向[正向,负向]`. By default what the model was made for."""
    schema_lang: Literal["zh", "ch", "en"] | None = None
    """Language of the questions that are made of the schema."""
    position_threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    """A span counts when the probabilities of its start and of its end are both greater."""
    max_length: Annotated[int, Field(ge=16)] | None = None
    """Most tokens read at once; at most what the model was made for."""


class Span(AnswerModel):
    """One find."""

    text: str
    """The words, or the class."""
    start: int | None = None
    """Place of the first character in the text; absent for classes."""
    end: int | None = None
    """Place after the last character; absent for classes."""
    probability: float
    """How sure the model is."""
    relations: dict[str, list[Span]] | None = None
    """What was found about it, by the schema's names."""


class ExtractionAnswer(RootModel[dict[str, list[Span]]]):
    """What was found, by the schema's names; names without a find are absent."""
