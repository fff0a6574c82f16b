"""Options of the extraction task."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator

from zoo_cli.base.errors import DataError
from zoo_cli.data.conversion import ConversionOptions
from zoo_cli.recipe.schema import Fraction, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.extraction.api import ExtractionAnswer, ExtractionInput
from zoo_cli.tasks.extraction.schema import Language, parse_schema


def _language(value: Any) -> Any:
    """PaddleNLP spells Chinese `ch` in its converters and `zh` in its pipeline."""
    return "zh" if value == "ch" else value


with warnings.catch_warnings():
    # pydantic still carries a deprecated `BaseModel.schema`; the name in recipes and requests is older than its advice.
    warnings.filterwarnings("ignore", 'Field name "schema"', UserWarning)

    class ExtractionOptions(Section):
        """The `task` section of a recipe for information extraction."""

        name: Literal["extraction"] = "extraction"
        """Name of the task."""
        schema: Any = None
        """What to extract when a request does not say: names, lists of names, and dictionaries of them."""
        schema_lang: Annotated[Language, BeforeValidator(_language)] = "zh"
        """Language of the prompts: `zh` asks for `北京的区号`, `en` for `capital of France`."""
        max_length: Annotated[int, Field(ge=16)] = 512
        """Most tokens of prompt and text together; longer texts are read in windows."""
        overlap: Annotated[int, Field(ge=0)] = 64
        """Tokens that neighbouring windows share: every span of so many tokens lies whole in some window."""
        position_threshold: Fraction = 0.5
        """A span counts when the probabilities of its start and of its end are both greater."""
        tune_position_threshold: bool = False
        """Set `position_threshold` to what gives the highest F1 on the development data."""
        upstream_windows: bool = False
        """Answer as PaddleNLP does, faults included: windows without overlap, empty spans, answers out of prompts."""
        task_type: Literal["ext", "cls"] = "ext"
        """How annotations become prompts: `ext` asks for all that a text has, `cls` only for its class."""
        negative_ratio: Annotated[int, Field(ge=-1)] = 5
        """Prompts without answer for each with one when annotations become training prompts; -1 keeps all."""
        separator: Annotated[str, Field(min_length=1)] = "##"
        """What parts an entity's label from its class in annotations: `评价维度##正向`."""
        prompt_prefix: Annotated[str, Field(min_length=1)] = "情感倾向"
        """Name of the classification in prompts made from annotations."""
        options: Annotated[list[str], Field(min_length=2)] = Field(default=["正向", "负向"])
        """Classes in prompts made from annotations."""
        seed: Annotated[int, Field(ge=0)] = 1000
        """Seed of the sampling of prompts without answer, and of the order of classes."""

        def conversion(self) -> ConversionOptions:
            """How annotations become prompts."""
            return ConversionOptions(
                negative_ratio=self.negative_ratio,
                options=tuple(self.options),
                prompt_prefix=self.prompt_prefix,
                separator=self.separator,
                schema_lang=self.schema_lang,
                task_type=self.task_type,
                seed=self.seed,
            )

        @field_validator("schema")
        @classmethod
        def _check_schema(cls, value: Any) -> Any:
            if value is not None:
                try:
                    parse_schema(value)
                except DataError as error:
                    raise ValueError(error.message) from error
            return value


TASK = TaskSpec(
    name="extraction",
    options=ExtractionOptions,
    implementation="zoo_cli.tasks.extraction.task:ExtractionTask",
    formats=("prompt", "doccano", "label_studio", "bio", "bmes", "conll", "cluener", "csv", "tsv", "jsonl"),
    metric="f1",
    request=ExtractionInput,
    answer=ExtractionAnswer,
)
