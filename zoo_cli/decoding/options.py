"""How to generate: one validated object with PaddleNLP's names."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

_ALIASES = {"max_length": "max_new_tokens", "min_length": "min_new_tokens"}


class GenerationOptions(BaseModel):
    """Options of `generate`, with the names and defaults of PaddleNLP 2.8.1.

    Options that belong to another strategy than `decode_strategy` have no effect, so that one set of options can be run
    with several strategies. PaddleNLP's old names `max_length` and `min_length` are understood; both
    count new tokens.

    Attributes:
        decode_strategy: ``greedy_search`` takes the best token, ``sampling`` draws one, ``beam_search`` keeps the
            `num_beams` best continuations.
        max_new_tokens: most tokens to generate, the end token included.
        min_new_tokens: the end token is forbidden until there are so many.
        temperature: sampling: logits are divided by it; below 1 sharpens the distribution.
        top_k: sampling: keep the tokens at least as probable as the k-th best; 0 keeps all.
        top_p: sampling: of those, in order of probability, keep the tokens up to and including the one whose cumulative
            probability exceeds it; 1.0 keeps all.
        repetition_penalty: scores of tokens in prompt or output are divided by it (positive) or multiplied (negative).
        no_repeat_ngram_size: no n-gram of this size occurs twice in prompt and output; 0 allows all.
        num_beams: beam search: continuations kept.
        num_beam_groups: beam search: the beams form so many groups that are steered apart (Vijayakumar et al. 2016).
        diversity_rate: beam search: with groups, the penalty for each earlier group's use of a token at the same step;
            without groups, the penalty for each better sibling of the same beam (Li et al. 2016).
        length_penalty: beam search: a finished sum of log-probabilities is divided by
            ``((length + 5) / 6) ** length_penalty``.
        early_stopping: beam search: stop at `num_beams` finished sequences instead of when no better one can follow.
        num_return_sequences: sequences for each prompt; more than one needs sampling, or at least as many beams.
        forced_bos_token_id: the token that must follow a sequence of length one.
        forced_eos_token_id: the token that must come last when `max_new_tokens` is reached.
        bos_token_id: what stands in for a prompt that is not given.
        eos_token_id: the token that ends a sequence; None runs to `max_new_tokens`.
        pad_token_id: fills up shorter rows of arrays; None uses `eos_token_id`.
        seed: sampling: the same seed and prompt give the same tokens, whatever else is in the batch; None draws one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    decode_strategy: Literal["greedy_search", "sampling", "beam_search"] = "greedy_search"
    max_new_tokens: int = Field(default=20, ge=1)
    min_new_tokens: int = Field(default=0, ge=0)
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    top_k: int = Field(default=0, ge=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    repetition_penalty: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    no_repeat_ngram_size: int = Field(default=0, ge=0)
    num_beams: int = Field(default=1, ge=1)
    num_beam_groups: int = Field(default=1, ge=1)
    diversity_rate: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    length_penalty: float = Field(default=1.0, allow_inf_nan=False)
    early_stopping: bool = False
    num_return_sequences: int = Field(default=1, ge=1)
    forced_bos_token_id: int | None = Field(default=None, ge=0)
    forced_eos_token_id: int | None = Field(default=None, ge=0)
    bos_token_id: int | None = Field(default=None, ge=0)
    eos_token_id: int | None = Field(default=None, ge=0)
    pad_token_id: int | None = Field(default=None, ge=0)
    seed: int | None = Field(default=None, ge=0, lt=2**64)

    @model_validator(mode="before")
    @classmethod
    def _accept_old_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for old, new in _ALIASES.items():
            if old not in values:
                continue
            if new in values:
                raise ValueError(f"{old} and {new} are two names of one option; keep {new}")
            values[new] = values.pop(old)
        return values

    @model_validator(mode="after")
    def _check_together(self) -> GenerationOptions:
        if self.min_new_tokens > self.max_new_tokens:
            raise ValueError(
                f"min_new_tokens ({self.min_new_tokens}) is larger than max_new_tokens ({self.max_new_tokens})"
            )
        if self.num_beams % self.num_beam_groups:
            raise ValueError(
                f"num_beams ({self.num_beams}) is not a multiple of num_beam_groups ({self.num_beam_groups})"
            )
        count = self.num_return_sequences
        if self.decode_strategy == "greedy_search" and count > 1:
            raise ValueError(f"greedy_search has one result, so num_return_sequences cannot be {count}; use sampling")
        if self.decode_strategy == "beam_search" and count > self.num_beams:
            raise ValueError(f"num_return_sequences ({count}) is larger than num_beams ({self.num_beams})")
        return self

    @property
    def width(self) -> int:
        """Rows of the running batch that one prompt takes."""
        return self.num_beams if self.decode_strategy == "beam_search" else self.num_return_sequences
