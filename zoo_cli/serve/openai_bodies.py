"""Requests and responses of OpenAI's protocol, as far as it is understood here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from zoo_cli.serve.refusals import Refusal
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.decoding_options import DecodingSection

_Nothing = Annotated[float, Field(ge=0, le=0)] | None


class StreamOptions(RequestModel):
    """What a stream has beside the text."""

    include_usage: bool = False
    """Whether the last chunk tells the number of tokens."""


class CommonRequest(RequestModel):
    """What both endpoints understand."""

    model: str | None = None
    """Name of the model; by default the first one that fits."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Most tokens to write; by default as many as the model's own options say."""
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """0 takes the best token each time; otherwise tokens are drawn."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Tokens are drawn from the most probable ones that together have this probability."""
    n: Annotated[int, Field(ge=1)] = 1
    """Texts for each prompt; more than one are drawn."""
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    """The same seed gives the same text; without it, what is drawn differs each time."""
    stop: str | list[str] | None = None
    """Strings before which the text ends."""
    stream: bool | None = None
    """Send the text while it is written; of one prompt and with one text only."""
    stream_options: StreamOptions | None = None
    """What a stream has beside the text."""
    user: str | None = None
    """Not used."""
    presence_penalty: _Nothing = None
    """Only 0; `decoding.repetition_penalty` does something like it."""
    frequency_penalty: _Nothing = None
    """Only 0; `decoding.repetition_penalty` does something like it."""
    decoding: DecodingSection | None = None
    """Not in OpenAI's protocol: decoding options by their own names, which win over the ones above."""

    @property
    def stops(self) -> list[str]:
        """The strings before which the text ends."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [stop for stop in given if stop]

    def changes(self) -> dict[str, Any]:
        """Decoding options that differ from the model's own."""
        found: dict[str, Any] = {} if self.max_tokens is None else {"max_new_tokens": self.max_tokens}
        drawn = {name: value for name in ("temperature", "top_p") if (value := getattr(self, name)) is not None}
        if self.temperature == 0:
            found["decode_strategy"] = "greedy_search"
        elif drawn or self.n > 1:
            found |= {**drawn, "decode_strategy": "sampling", "seed": self.seed}
        elif self.seed is not None:
            found["seed"] = self.seed
        found["num_return_sequences"] = self.n
        return found | (self.decoding.model_dump(exclude_unset=True) if self.decoding else {})


class CompletionRequest(CommonRequest):
    """A text to continue, or to write something for."""

    prompt: str | Annotated[list[str], Field(min_length=1)]
    """The text, or several."""
    echo: bool | None = None
    """Give the text together with what follows."""


class TextPart(RequestModel):
    """A part of a message."""

    type: Literal["text"]
    """Only text is read."""
    text: str
    """The text."""


class Message(RequestModel):
    """What somebody said."""

    role: Literal["system", "developer", "user", "assistant"]
    """Who; `system` and `developer` say what the assistant is like."""
    content: str | list[TextPart]
    """What."""
    name: str | None = None
    """Not used."""

    @property
    def text(self) -> str:
        """The content as one text."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(CommonRequest):
    """A dialogue to go on with."""

    messages: Annotated[list[Message], Field(min_length=1)]
    """The turns so far; the user has the last word."""
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    """Newer name of `max_tokens`."""

    def changes(self) -> dict[str, Any]:
        """Decoding options that differ from the model's own."""
        newer = {} if self.max_completion_tokens is None else {"max_new_tokens": self.max_completion_tokens}
        return newer | super().changes()

    def value(self) -> dict[str, Any]:
        """The dialogue as the task takes it.

        Raises:
            Refusal: the last message is not the user's (`bad-request`).
        """
        turns = [message.text for message in self.messages if message.role in ("user", "assistant")]
        if self.messages[-1].role != "user":
            raise Refusal("bad-request", "the last message must be the user's", field="messages")
        persona = [message.text for message in self.messages if message.role in ("system", "developer")]
        return {"text": turns[-1], "history": turns[:-1], "persona": persona}


class Usage(BaseModel):
    """Numbers of tokens."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt_tokens: int
    """Of the prompts, as the model reads them."""
    completion_tokens: int
    """Written, end tokens included."""
    total_tokens: int
    """Both."""


class _Choice(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    index: int
    """Number of the text: all texts of the first prompt come first."""
    logprobs: None
    """Not told."""
    finish_reason: Literal["stop", "length"]
    """`stop` at the text's own end or before one of `stop`, `length` where it was cut off."""


class CompletionChoice(_Choice):
    """One text."""

    text: str
    """What was written, with the prompt in front where `echo` is true."""


class ChatAnswer(BaseModel):
    """What the model says."""

    role: Literal["assistant"]
    content: str


class ChatChoice(_Choice):
    """One reply."""

    message: ChatAnswer
    """The reply."""


class _Response(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    """Of the request."""
    created: int
    """When it came, in seconds since 1970."""
    model: str
    """Name of the model that answered."""
    system_fingerprint: str
    """Its version: a hash of its files."""
    usage: Usage
    """Numbers of tokens."""


class Completion(_Response):
    """The texts for the prompts."""

    object: Literal["text_completion"]
    choices: list[CompletionChoice]
    """The texts."""


class ChatCompletion(_Response):
    """The replies in a dialogue."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    """The replies."""
