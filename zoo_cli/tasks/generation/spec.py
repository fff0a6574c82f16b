"""Options of text generation."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.decoding_options import DecodingSection, GenerationAnswer, PrefixOptions


class GenerationTaskOptions(PrefixOptions):
    """The `task` section of a recipe for text generation.

    The data are rows with a text (`columns.text`), the text to write for it (`columns.label`; a JSON list has several
    that are equally good), and perhaps a title or an answer to ask for (`columns.text_pair`).
    """

    name: Literal["generation"] = "generation"
    """Name of the task."""
    max_title_length: Annotated[int, Field(ge=2)] = 128
    """Most tokens of the title, its end token included."""
    max_target_length: Annotated[int, Field(ge=3)] = 128
    """Most tokens of the text to write, its start and end tokens included; training cuts longer ones."""
    continuous_position: bool = False
    """UNIMO: positions of what is written follow those of the text instead of starting anew."""
    source_template: str | None = None
    """What the model reads, made of `{text}` and `{title}`, e.g. `答案：{title}[SEP]上下文：{text}`; by default the
    title, a separator and the text."""
    target_prefix: str = ""
    """What every text to write begins with, e.g. `问题：`; answers are given without it."""

    @field_validator("source_template")
    @classmethod
    def _check_template(cls, value: str | None) -> str | None:
        if value is not None:
            fields = [field for _, field, _, _ in Formatter().parse(value) if field is not None]
            if "text" not in fields or not set(fields) <= {"text", "title"}:
                raise ValueError("source_template needs {text}, may have {title}, and no other braces")
        return value


class GenerationInput(RequestModel):
    """A text to write something for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "本市今天起开通三条新的公交线路。"}]})

    text: str
    """The text; its end is cut where it is too long."""
    title: str | None = None
    """A title of it, or the answer that a question is to be asked for."""
    decoding: DecodingSection | None = None
    """Decoding options that differ from the model's own."""


TASK = TaskSpec(
    name="generation",
    options=GenerationTaskOptions,
    implementation="zoo_cli.tasks.generation.task:GenerationTask",
    formats=("jsonl", "tsv", "csv"),
    metric="score",
    request=GenerationInput,
    answer=GenerationAnswer,
)
