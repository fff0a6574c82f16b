"""Options of token classification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.data.tagged import parse_tag
from zoo_cli.recipe.schema import PositiveInt, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.token_classification.api import TokenClassificationAnswer, TokenClassificationInput

Scheme = Literal["bio", "bioes"]
Split = Literal["characters", "words"]


class TokenClassificationOptions(Section):
    """The `task` section of a recipe for named entities and other tagging."""

    name: Literal["token_classification"] = "token_classification"
    """Name of the task."""
    labels: list[str] | None = None
    """Tags in the order of their ids, e.g. `[O, B-PER, I-PER]`; by default those that the training data need."""
    scheme: Scheme = "bio"
    """Tags made for entity annotations; data that have tags keep their own."""
    split: Split | None = None
    """How a raw text is cut into what bears a tag: `characters`, or `words` (a Chinese character, a run of letters or
    digits of another script, a sign). By default `characters` if all tokens of the training data are single ones."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Most tokens that are read at once; longer texts are read in windows."""
    stride: PositiveInt | None = None
    """Tokens from the start of one window to the start of the next; by default half of `max_length`."""
    label_all_pieces: bool = False
    """Train on all pieces of a word and not on the first only."""
    strict: bool = False
    """Only faultless tag sequences make an entity (seqeval's strict mode); by default `I-` without `B-` makes one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for label in self.labels or ():
            try:
                parse_tag(label)
            except ValueError as error:
                raise ValueError(f"{label!r} is no tag: O, or one of B, I, M, E, S, a hyphen and a type") from error
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            raise ValueError("labels has a tag twice")
        return self


TASK = TaskSpec(
    name="token_classification",
    options=TokenClassificationOptions,
    implementation="zoo_cli.tasks.token_classification.task:TokenClassificationTask",
    formats=("bio", "bmes", "conll", "cluener", "doccano", "label_studio"),
    metric="f1",
    request=TokenClassificationInput,
    answer=TokenClassificationAnswer,
)
