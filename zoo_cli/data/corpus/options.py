"""Options of pretraining data, as recipes write them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from zoo_cli.recipe.schema import Fraction, PositiveInt, Section


class MaskingOptions(Section):
    """Which tokens are masked and what stands in their place."""

    masked_lm_prob: Fraction = 0.15
    """Share of the tokens that is masked."""
    max_predictions: PositiveInt | None = None
    """Most tokens that are masked in one text."""
    whole_word: bool = True
    """Mask words as a whole; `false` makes each token a word."""
    independent: bool = False
    """Draw for each word on its own whether it is masked (ELECTRA, ERNIE-Health) instead of choosing n-grams."""
    max_ngrams: PositiveInt = 3
    """Most words that are masked in a row."""
    favor_longer_ngram: bool = False
    """Turn the probabilities of the lengths around: of three words 6/11 instead of 2/11."""
    geometric: bool = False
    """Draw the number of words from the geometric distribution with p = 0.2, cut at `max_ngrams` (SpanBERT)."""
    random_from: Literal["vocabulary", "sequence"] = "vocabulary"
    """Where random tokens come from."""
    permutation: bool = False
    """Exchange as many other tokens among each other, which are then guessed too."""
    style: Literal["bert", "t5"] = "bert"
    """`bert` replaces 80 % by the mask token and 10 % by random tokens and leaves 10 %; `t5` masks all of them."""

    @model_validator(mode="after")
    def _check(self) -> MaskingOptions:
        if self.independent and self.permutation:
            raise ValueError("permutation goes with n-grams, not with independent masking")
        return self


class PretrainingOptions(Section):
    """What the model learns from a corpus, and how samples are cut out of it."""

    objective: Literal["mlm", "rtd", "two_views", "causal"] = "mlm"
    """`mlm`: masked language model (BERT, ERNIE). `rtd`: replaced-token detection (ELECTRA). `two_views`: the same with
    two maskings of each text (ERNIE-Health). `causal`: the next token (GPT)."""
    max_length: Annotated[int, Field(ge=8)] = 512
    """Tokens of a sample, special tokens included."""
    pair: Literal["none", "nsp", "sop"] = "none"
    """Second objective of `mlm`: next sentence (BERT) or order of sentences (ERNIE)."""
    short_seq_prob: Fraction = 0.1
    """Share of samples that are shorter than they could be."""
    split: str = "949,50,1"
    """Weights of the training, development and test part of each corpus."""
    word_marks: Literal["ernie", "health"] = "ernie"
    """Which ids mark characters that continue a word: those of ERNIE's corpora or of ERNIE-Health's."""
    masking: MaskingOptions = Field(default_factory=MaskingOptions)
    """Which tokens are masked and what stands in their place."""

    @model_validator(mode="after")
    def _check(self) -> PretrainingOptions:
        if self.pair != "none" and self.objective != "mlm":
            raise ValueError(f"pair goes with the objective mlm, not with {self.objective}")
        return self
