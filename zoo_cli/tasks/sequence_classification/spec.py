"""Options of sequence classification."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import Fraction, Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.sequence_classification.api import SequenceClassificationAnswer, SequenceClassificationInput


class SequenceClassificationOptions(Section):
    """The `task` section of a recipe for text classification and regression."""

    name: Literal["sequence_classification"] = "sequence_classification"
    """Name of the task."""
    kind: Literal["single_label", "multi_label", "regression"] = "single_label"
    """One class, any number of classes, or a number."""
    labels: list[str] | None = None
    """Class names in the order of their ids; by default those of the training data, sorted."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Most tokens of a text or pair; the longer of the two is cut at its end."""
    threshold: Fraction = 0.5
    """Multi-label: a class is named when its probability is greater."""
    thresholds: dict[str, Fraction] = Field(default_factory=dict)
    """Multi-label: class name -> threshold that differs from `threshold`."""
    tune_thresholds: bool = False
    """Multi-label: set `thresholds` to what gives each class its highest F1 on the development data."""
    all_scores: bool = False
    """Answer with the probability of every class, too."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "regression":
            if self.labels is not None:
                raise ValueError("regression has no labels")
        elif self.labels is not None:
            if len(set(self.labels)) != len(self.labels):
                raise ValueError("labels has a name twice")
            if len(self.labels) < 2:
                raise ValueError("labels needs two names or more")
            unknown = sorted(self.thresholds.keys() - set(self.labels))
            if unknown:
                raise ValueError(f"thresholds names {unknown[0]!r}, which is not in labels")
        if self.kind != "multi_label" and (self.thresholds or self.tune_thresholds):
            raise ValueError("thresholds are for kind multi_label")
        return self


TASK = TaskSpec(
    name="sequence_classification",
    options=SequenceClassificationOptions,
    implementation="zoo_cli.tasks.sequence_classification.task:SequenceClassificationTask",
    formats=("csv", "tsv", "jsonl", "cluewsc", "doccano", "label_studio"),
    metric="score",
    request=SequenceClassificationInput,
    answer=SequenceClassificationAnswer,
)
