"""Counting how often a model is right in pretraining."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from zoo_cli.engine.objectives.pretraining import Term
from zoo_cli.engine.objectives.supervised import IGNORED


@dataclass
class Tally:
    """How often the model was right about the labels of one term.

    Args:
        count: labels that count.
        right: those that the model guessed.
        seen: how often each label was there.
        chance: right guesses that are to be expected without looking, where the labels do not tell; else None.
        yes: labels 1 of a term with one score for each label; None where there are several classes.
        guessed: guesses 1 of such a term.
        found: labels 1 that the model guessed.
    """

    count: int = 0
    right: int = 0
    seen: Counter[int] = field(default_factory=Counter)
    chance: float | None = None
    yes: int | None = None
    guessed: int = 0
    found: int = 0

    def add(self, term: Term) -> None:
        """Count a batch."""
        labels, guesses = term.labels.numpy(), term.guesses().numpy()
        counts = labels != IGNORED
        self.count += int(counts.sum())
        if term.chance is None:
            values, times = np.unique(labels[counts], return_counts=True)
            self.seen.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
        else:
            self.chance = (self.chance or 0.0) + term.chance * int(counts.sum())
        self.right += int((guesses == labels)[counts].sum())
        if term.is_binary:
            self.yes = (self.yes or 0) + int((labels == 1).sum())
            self.guessed += int(guesses[counts].sum())
            self.found += int(guesses[labels == 1].sum())

    def shares(self) -> dict[str, float]:
        """Scores by name; 0 where nothing was there to count.

        ``accuracy``; ``baseline``, the accuracy of one who always gives the most frequent label, or guesses where
        labels are equally frequent; for yes or no also ``precision``, ``recall`` and ``f1`` of yes.
        """
        trivial = max(self.seen.values(), default=0) if self.chance is None else self.chance
        shares = {"accuracy": self.right / max(1, self.count), "baseline": trivial / max(1, self.count)}
        if self.yes is not None:
            shares |= {
                "precision": self.found / max(1, self.guessed),
                "recall": self.found / max(1, self.yes),
                "f1": 2 * self.found / max(1, self.guessed + self.yes),
            }
        return shares
