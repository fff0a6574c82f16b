"""Options of joint intent and slots."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import Section
from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.intent_slot.api import IntentSlotAnswer, IntentSlotInput
from zoo_cli.tasks.token_classification.spec import Scheme, Split, TokenClassificationOptions


class IntentSlotOptions(Section):
    """The `task` section of a recipe for spoken commands."""

    name: Literal["intent_slot"] = "intent_slot"
    """Name of the task."""
    intents: list[str] | None = None
    """Intents in the order of their ids; by default those of the training data, sorted."""
    labels: list[str] | None = None
    """Slot tags in the order of their ids, e.g. `[O, B-song, I-song]`; by default those that the training data need."""
    scheme: Scheme = "bio"
    """Tags made for slots."""
    split: Split = "words"
    """What bears a tag: `characters`, or `words` (a Chinese character, a run of letters or digits of another script, a
    sign)."""
    max_length: Annotated[int, Field(ge=8)] = 64
    """Most tokens that are read at once; longer texts are read in windows, whose intents are averaged."""

    def slots(self) -> TokenClassificationOptions:
        """Options of the tagging half."""
        return TokenClassificationOptions(
            labels=self.labels, scheme=self.scheme, split=self.split, max_length=self.max_length
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.intents is not None and (len(set(self.intents)) < 2 or len(set(self.intents)) < len(self.intents)):
            raise ValueError("intents needs two different names or more")
        self.slots()
        return self


TASK = TaskSpec(
    name="intent_slot",
    options=IntentSlotOptions,
    implementation="zoo_cli.tasks.intent_slot.task:IntentSlotTask",
    formats=("nlu", "label_studio"),
    metric="exact_match",
    request=IntentSlotInput,
    answer=IntentSlotAnswer,
)
