"""The face that all tokenizers show to tasks and data code."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike

import numpy as np


@dataclass(slots=True)
class Encoding:
    """One encoded text or pair of texts of S tokens, special tokens included.

    Args:
        ids: token ids, int64 [S].
        type_ids: 0 for the first text and its specials, 1 for the second, int64 [S].
        offsets: character offsets (start, end) of each token in its own text, int64 [S, 2]; (0, 0) for specials.
        special_tokens_mask: 1 where the token was added by the tokenizer, int64 [S].
        sequence_ids: 0 or 1 for the text that the token comes from, -1 for specials, int64 [S].
    """

    ids: np.ndarray
    type_ids: np.ndarray
    offsets: np.ndarray
    special_tokens_mask: np.ndarray
    sequence_ids: np.ndarray


class Tokenizer(ABC):
    """A tokenizer as tasks use it; each class documents how it agrees with PaddleNLP's of the same name."""

    @property
    def pad_token_id(self) -> int:
        """Id that fills a batch up."""
        return self.special_token_id("pad_token")

    @property
    def cls_token_id(self) -> int:
        """Id of the token in front of a text."""
        return self.special_token_id("cls_token")

    @property
    def sep_token_id(self) -> int:
        """Id of the token that ends a text."""
        return self.special_token_id("sep_token")

    @property
    def mask_token_id(self) -> int:
        """Id that stands for a hidden token."""
        return self.special_token_id("mask_token")

    @property
    def unk_token_id(self) -> int:
        """Id of whatever the vocabulary lacks."""
        return self.special_token_id("unk_token")

    @property
    def bos_token_id(self) -> int:
        """Id that starts a generated text."""
        return self.special_token_id("bos_token")

    @property
    def eos_token_id(self) -> int:
        """Id that ends a generated text."""
        return self.special_token_id("eos_token")

    @abstractmethod
    def special_token_id(self, name: str) -> int:
        """Id of a special token, by its name in `tokenizer_config.json` (`pad_token`, `cls_token`, ...).

        Raises:
            UsageError: this kind of tokenizer has no such token, or its vocabulary lacks it.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of tokens, added ones included: the least vocabulary size of a model that uses it."""

    @abstractmethod
    def encode_batch(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None = None,
        max_length: int | None = None,
        add_special_tokens: bool = True,
        upstream_offsets: bool = False,
    ) -> list[Encoding]:
        """Encode texts, or pairs of texts, as one batch.

        Args:
            texts: first texts.
            pairs: second texts, as many as `texts`.
            max_length: cut to this many tokens, specials included, one token at a time from the end of the longer
                text (`longest_first`).
            add_special_tokens: add the model's [CLS] and [SEP] (or what it has instead).
            upstream_offsets: give PaddleNLP's offsets even where they are not the token's place in the text
                (see `zoo_cli.tokenizers.offsets`), for results that must agree with it.

        Raises:
            UsageError: `texts` is one string, `pairs` has another length, or `max_length` leaves no room for the
                special tokens.
        """

    @abstractmethod
    def encode_words(
        self, words: Sequence[Sequence[str]], max_length: int | None = None
    ) -> list[tuple[Encoding, np.ndarray]]:
        """Encode texts that are already split; each word is tokenized by itself.

        Returns:
            For each text its encoding and, for each token, the index of its word (-1 for specials), int64 [S].
            Offsets are within the word.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int], skip_special_tokens: bool = False) -> str:
        """Text of the ids, cleaned up as PaddleNLP's `decode` does."""

    @abstractmethod
    def save(self, folder: str | PathLike[str]) -> None:
        """Write the vocabulary files under their published names, and `tokenizer_config.json`."""
