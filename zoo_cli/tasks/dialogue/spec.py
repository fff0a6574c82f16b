"""Options of dialogue."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from zoo_cli.registry import TaskSpec
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.decoding_options import LEAST_PROMPT, DecodingSection, GenerationAnswer, PrefixOptions


class DialogueOptions(PrefixOptions):
    """The `task` section of a recipe for dialogue."""

    name: Literal["dialogue"] = "dialogue"
    """Name of the task."""
    max_response_length: Annotated[int, Field(ge=3)] = 128
    """Most tokens of a response, its start and end tokens included; training cuts longer ones."""
    max_knowledge_length: Annotated[int, Field(ge=2)] = 128
    """Most tokens of knowledge and persona together, their end token included."""
    task_type: Literal["chitchat", "knowledge", "recommend"] | None = None
    """Kind of dialogue, told to the model by a token in front (PLATO-2)."""
    position_style: Literal["continuous", "relative"] = "continuous"
    """`relative`: positions of the turns count down to the response (PLATO-XL)."""
    roles: bool = False
    """Tell the model who speaks (PLATO-XL); it needs `model.config.role_type_size`."""
    segmented: bool = False
    """Words in the data are parted by spaces already; otherwise jieba finds them."""

    @model_validator(mode="after")
    def _check_room(self) -> Self:
        if self.max_response_length > self.max_length - LEAST_PROMPT:
            raise ValueError(f"max_response_length is at most max_length - {LEAST_PROMPT}")
        return self


class DialogueInput(RequestModel):
    """Turns to reply to."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"history": ["你好"], "text": "今天天气怎么样？"}]})

    text: str
    """The last turn."""
    history: list[str] = Field(default_factory=list)
    """The turns before it; the oldest ones are left out where they do not fit."""
    knowledge: list[str] = Field(default_factory=list)
    """Facts that the reply may use."""
    persona: list[str] = Field(default_factory=list)
    """Sentences that say what the speaker is like."""
    roles: list[int] | None = None
    """Number of the speaker of each turn and of the reply; by default two take turns."""
    decoding: DecodingSection | None = None
    """Decoding options that differ from the model's own."""


TASK = TaskSpec(
    name="dialogue",
    options=DialogueOptions,
    implementation="zoo_cli.tasks.dialogue.task:DialogueTask",
    formats=("dialogue", "kdconv", "lccc"),
    metric="score",
    request=DialogueInput,
    answer=GenerationAnswer,
)
