"""Options of nested named entities."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import PositiveInt, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.nested_ner.api import NestedNERAnswer, NestedNERInput
from zoo_cli.tasks.token_classification.spec import Scheme, Split, TokenClassificationOptions


class NestedNEROptions(Section):
    """The `task` section of a recipe for entities of which one kind may enclose the others (CMeEE)."""

    name: Literal["nested_ner"] = "nested_ner"
    """Name of the task."""
    enclosing: Annotated[list[str], Field(min_length=1)] = Field(default=["sym"])
    """Types that may enclose entities of other types, and have tags of their own: CMeEE's symptoms."""
    labels: list[str] | None = None
    """Tags of the other types in the order of their ids, e.g. `[O, B-bod, I-bod, ...]`; by default those that the
    training data need."""
    enclosing_labels: list[str] | None = None
    """Tags of the enclosing types in the order of their ids; by default those that the training data need."""
    scheme: Scheme = "bioes"
    """Tags of the entities."""
    split: Split = "characters"
    """What bears a tag: `characters`, or `words` (a Chinese character, a run of letters or digits, a sign)."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Most tokens that are read at once; longer texts are read in windows."""
    stride: PositiveInt | None = None
    """Tokens from the start of one window to the start of the next; by default half of `max_length`."""

    def row(self, enclosing: bool) -> TokenClassificationOptions:
        """Options of one row of tags."""
        return TokenClassificationOptions(
            labels=self.enclosing_labels if enclosing else self.labels,
            scheme=self.scheme,
            split=self.split,
            max_length=self.max_length,
            stride=self.stride,
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for enclosing in (False, True):
            for tag in self.row(enclosing).labels or ():
                if tag != "O" and (tag[2:] in self.enclosing) != enclosing:
                    key = "enclosing_labels" if enclosing else "labels"
                    raise ValueError(
                        f"{key} has the tag {tag!r}, whose type is {'not ' if enclosing else ''}in enclosing"
                    )
        return self


TASK = TaskSpec(
    name="nested_ner",
    options=NestedNEROptions,
    implementation="zoo_cli.tasks.nested_ner.task:NestedNERTask",
    formats=("cmeee", "cluener", "doccano", "label_studio"),
    metric="f1",
    request=NestedNERInput,
    answer=NestedNERAnswer,
)
