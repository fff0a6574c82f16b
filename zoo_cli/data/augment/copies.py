"""Which words of a text are replaced by which, after TinyBERT (Jiao et al., 2019, algorithm 1).

A masked language model proposes other words for those that are one token of its vocabulary, word vectors for the
others. Each copy of a text replaces each word that has proposals with a probability of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zoo_cli.data.augment.vectors import WordVectors
from zoo_cli.data.augment.words import Word

MaskedWords = Callable[[Sequence[str], Sequence[Sequence[Word]], int], list[list[list[str] | None]]]
"""Proposes words: from texts, words of each and a number to at most so many proposals for each word, the likeliest
first, or None for a word that is not one token."""


class Edit(NamedTuple):
    """A word, and what stands in its place."""

    word: Word
    text: str


@dataclass(frozen=True)
class CopyOptions:
    """How copies come about; the values of the paper.

    Args:
        copies: most copies of each text; fewer where they would be alike.
        candidates: most proposals for a word.
        probability: of a word to be replaced in a copy.
        seed: of all random choices.
    """

    copies: int = 20
    candidates: int = 15
    probability: float = 0.4
    seed: int = 1000


def propose(
    texts: Sequence[str],
    words: Sequence[Sequence[Word]],
    masked: MaskedWords | None,
    vectors: WordVectors | None,
    count: int,
) -> list[list[list[str]]]:
    """What each word may be replaced by.

    Args:
        texts: texts.
        words: words of each.
        masked: asked first; None leaves every word to the vectors.
        vectors: asked for words that are not one token; None leaves these as they are.
        count: most proposals for a word.
    """
    nothing: list[list[list[str] | None]] = [[None] * len(own) for own in words]
    found = masked(texts, words, count) if masked is not None else nothing
    return [
        [
            (vectors.neighbours(word.text, count) if vectors is not None else []) if others is None else others
            for word, others in zip(own, proposals, strict=True)
        ]
        for own, proposals in zip(words, found, strict=True)
    ]


def copies(
    words: Sequence[Word], proposals: Sequence[Sequence[str]], options: CopyOptions, generator: np.random.Generator
) -> list[list[Edit]]:
    """The edits that make each copy of a text, without those that change nothing or what an earlier one changed.

    Args:
        words: words of the text, in order.
        proposals: for each word what it may be replaced by.
        options: how many copies and how often a word is replaced.
        generator: of the random choices.
    """
    changed = [(word, others) for word, others in zip(words, proposals, strict=True) if others]
    found: dict[tuple[Edit, ...], None] = {}
    for _ in range(options.copies):
        hits = generator.random(len(changed)) < options.probability
        picks = generator.random(len(changed))
        edits = tuple(
            Edit(word, others[int(pick * len(others))])
            for (word, others), hit, pick in zip(changed, hits, picks, strict=True)
            if hit
        )
        if edits:
            found.setdefault(edits)
    return [list(edits) for edits in found]


def rewrite(text: str, edits: Sequence[Edit]) -> str:
    """The text with its words replaced; edits are in order."""
    parts, end = [], 0
    for word, new in edits:
        parts += [text[end : word.start], new]
        end = word.end
    return "".join([*parts, text[end:]])


def moved(offset: int, edits: Sequence[Edit]) -> int:
    """Where an offset that is in no replaced word is after the edits."""
    return offset + sum(len(new) - len(word.text) for word, new in edits if word.end <= offset)
