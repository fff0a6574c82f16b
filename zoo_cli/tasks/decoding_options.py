"""What the generating tasks have in common for recipes, requests and answers: how to generate, and what came out."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from zoo_cli.base.errors import DataError
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.recipe.schema import PositiveInt, Section
from zoo_cli.tasks.api import AnswerModel

LEAST_PROMPT = 8
"""Tokens that a prompt must have room for, beside those to be generated."""


class DecodingSection(Section):
    """How to generate, with PaddleNLP's names; options of another strategy than the one chosen have no effect."""

    decode_strategy: Literal["greedy_search", "sampling", "beam_search"] = "greedy_search"
    """`greedy_search` takes the best token, `sampling` draws one, `beam_search` keeps the best continuations."""
    max_new_tokens: PositiveInt = 64
    """Most tokens to generate, the end token included."""
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    """The text does not end before it has so many tokens."""
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Sampling: below 1 favours probable tokens more, above 1 less."""
    top_k: Annotated[int, Field(ge=0)] = 0
    """Sampling: draw from so many of the most probable tokens; 0 draws from all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Sampling: draw from the most probable tokens that together have this probability."""
    repetition_penalty: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Above 1, tokens that occurred already are less likely."""
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    """No sequence of so many tokens occurs twice; 0 allows all."""
    num_beams: PositiveInt = 1
    """Beam search: continuations kept."""
    num_beam_groups: PositiveInt = 1
    """Beam search: groups of beams that are steered apart."""
    diversity_rate: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """Beam search: how strongly groups, or without groups siblings of a beam, are steered apart."""
    length_penalty: Annotated[float, Field(allow_inf_nan=False)] = 1.0
    """Beam search: above 0, higher values favour longer texts."""
    early_stopping: bool = False
    """Beam search: stop as soon as `num_beams` texts are finished."""
    num_return_sequences: PositiveInt = 1
    """Texts for each request; more than one needs sampling, or at least as many beams."""
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = 0
    """Sampling: the same seed gives the same text; null draws another each time."""

    def changed(self, changes: DecodingSection | None) -> DecodingSection:
        """This with the values that are set in `changes`.

        Raises:
            DataError: they do not fit together (`bad-decoding`).
        """
        if changes is None:
            return self
        merged = self.model_copy(update={key: getattr(changes, key) for key in changes.model_fields_set})
        merged.check()
        return merged

    def check(self) -> None:
        """See that the options fit together.

        Raises:
            DataError: they do not (`bad-decoding`).
        """
        try:
            self.options()
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise DataError("bad-decoding", "{reason}", fix="change the decoding options", reason=reason) from error

    def options(
        self, bos_token_id: int | None = None, eos_token_id: int | None = None, pad_token_id: int | None = None
    ) -> GenerationOptions:
        """The options of the decoding engine, with a model's special tokens."""
        return GenerationOptions(
            **self.model_dump(), bos_token_id=bos_token_id, eos_token_id=eos_token_id, pad_token_id=pad_token_id
        )


class GenerativeOptions(Section):
    """What the `task` sections of all generating tasks have."""

    max_length: Annotated[int, Field(ge=16)] = 512
    """Most tokens that the model reads at once."""
    decoding: DecodingSection = DecodingSection()
    """How `zoo predict`, `zoo evaluate`, `zoo generate` and the server generate unless a request says otherwise."""

    @model_validator(mode="after")
    def _check_decoding(self) -> Self:
        try:
            self.decoding.check()
        except DataError as error:
            raise ValueError(error.message) from error
        if self.decoding.max_new_tokens > self.max_length - LEAST_PROMPT:
            raise ValueError(f"decoding.max_new_tokens is at most max_length - {LEAST_PROMPT}")
        return self


class PrefixOptions(GenerativeOptions):
    """What the `task` sections of tasks with a prompt and an answer to learn have."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training loss that treats all tokens alike."""


class GeneratedText(AnswerModel):
    """One generated text."""

    text: str
    """The text."""
    score: float
    """Beam search: length-normalised sum of log-probabilities; sampling: their mean; greedy search: mean logit."""
    finish_reason: Literal["eos", "length", "exhausted"]
    """Why it ends: at the end token, at the most tokens allowed, or because every token was forbidden."""
    tokens: int
    """Number of generated tokens, the end token included."""


class GenerationAnswer(GeneratedText):
    """The best text, and all of them where several were asked for."""

    texts: list[GeneratedText] | None = None
    """All texts, the best one first, where `num_return_sequences` is above 1."""
    truncated: bool | None = None
    """True where the input was too long and a part of it was not read."""
