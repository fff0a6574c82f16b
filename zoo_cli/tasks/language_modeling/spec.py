"""Options of language modelling."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ConfigDict, model_validator

from zoo_cli.recipe.schema import PositiveInt
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.decoding_options import DecodingSection, GenerationAnswer, GenerativeOptions


class LanguageModelingOptions(GenerativeOptions):
    """The `task` section of a recipe for language modelling.

    Training reads blocks of `max_length` tokens of all documents one after another, each ended by the end token.
    """

    name: Literal["language_modeling"] = "language_modeling"
    """Name of the task."""
    evaluation: Literal["perplexity", "cloze"] = "perplexity"
    """`perplexity` of all tokens, or accuracy in guessing the last word of each text (`cloze`, LAMBADA)."""
    stride: PositiveInt | None = None
    """Perplexity: tokens by which the window moves on; all but its last `stride` tokens are context. By default
    windows do not overlap."""
    join_documents: bool = False
    """Perplexity: the documents of a file are one text, as in the published figures for WikiText."""
    detokenizer: Literal["none", "wikitext"] = "none"
    """`wikitext` takes back what WikiText's tokenisation did to spaces and punctuation; words are counted before."""

    @model_validator(mode="after")
    def _check_stride(self) -> Self:
        if self.stride is not None and self.stride > self.max_length:
            raise ValueError("stride is at most max_length")
        return self


class LanguageModelingInput(RequestModel):
    """A text to continue."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "从前有座山，"}]})

    text: str
    """The text; empty for a new one. Its beginning is cut where it is too long."""
    decoding: DecodingSection | None = None
    """Decoding options that differ from the model's own."""


TASK = TaskSpec(
    name="language_modeling",
    options=LanguageModelingOptions,
    implementation="zoo_cli.tasks.language_modeling.task:LanguageModelingTask",
    formats=("documents", "jsonl", "tsv", "csv"),
    metric="loss",
    request=LanguageModelingInput,
    answer=GenerationAnswer,
)
