"""Options of extraction under a closed schema."""

from __future__ import annotations

import warnings
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from zoo_cli.base.errors import DataError
from zoo_cli.recipe.schema import Fraction, PositiveInt, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.closed_extraction.api import ClosedExtractionInput
from zoo_cli.tasks.closed_extraction.layout import Layout
from zoo_cli.tasks.extraction.api import ExtractionAnswer
from zoo_cli.tasks.extraction.schema import parse_schema

with warnings.catch_warnings():
    # As of the options of UIE: the name in recipes and requests is older than pydantic's advice.
    warnings.filterwarnings("ignore", 'Field name "schema"', UserWarning)

    class ClosedExtractionOptions(Section):
        """The `task` section of a recipe for extraction under a closed schema."""

        name: Literal["closed_extraction"] = "closed_extraction"
        """Name of the task."""
        schema: Any = None
        """What to extract, as UIE is asked for it: names, lists of names, and dictionaries of them; `人物: [任职于]`
        for relations, `评价维度: [观点词, '情感倾向[正向,负向]']` for opinions. By default what the training data
        have."""
        max_length: Annotated[int, Field(ge=16)] = 256
        """Most tokens that are read at once; longer texts are read in windows."""
        stride: PositiveInt | None = None
        """Tokens from the start of one window to the start of the next; by default half of `max_length`. A find counts
        if a window holds it whole, a relation if one holds both of its ends."""
        threshold: Fraction = 0.5
        """A find counts when its probability is greater."""
        separator: Annotated[str, Field(min_length=1)] = "##"
        """What parts an entity's label from its class in annotations: `评价维度##正向`."""

        @field_validator("schema")
        @classmethod
        def _check_schema(cls, value: Any) -> Any:
            if value is not None:
                try:
                    Layout(parse_schema(value))
                except DataError as error:
                    raise ValueError(error.message) from error
            return value


TASK = TaskSpec(
    name="closed_extraction",
    options=ClosedExtractionOptions,
    implementation="zoo_cli.tasks.closed_extraction.task:ClosedExtractionTask",
    formats=("doccano", "label_studio", "bio", "bmes", "conll", "cluener", "spo", "csv", "tsv", "jsonl"),
    metric="f1",
    request=ClosedExtractionInput,
    answer=ExtractionAnswer,
)
