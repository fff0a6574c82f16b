"""Counting how often a model is right in pretraining."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_cli.engine.objectives.pretraining import Term
from zoo_cli.engine.objectives.supervised import IGNORED


@dataclass
class Tally:
    """How often the model was right about the labels of one term.

    Args:
        count: labels that count.
        right: those that the model guessed.
        yes: labels 1 of a term with one score for each label; None where there are several classes.
        guessed: guesses 1 of such a term.
        found: labels 1 that the model guessed.
    """

    count: int = 0
    right: int = 0
    yes: int | None = None
    guessed: int = 0
    found: int = 0

    def add(self, term: Term) -> None:
        """Count a batch."""
        labels, guesses = term.labels.numpy(), term.guesses().numpy()
        counts = labels != IGNORED
        self.count += int(counts.sum())
        self.right += int((guesses == labels)[counts].sum())
        if term.is_binary:
            self.yes = (self.yes or 0) + int((labels == 1).sum())
            self.guessed += int(guesses[counts].sum())
            self.found += int(guesses[labels == 1].sum())

    def shares(self) -> dict[str, float]:
        """``accuracy``, and for yes or no ``precision`` and ``recall`` of yes; 0 where nothing was there to count."""
        shares = {"accuracy": self.right / max(1, self.count)}
        if self.yes is not None:
            shares |= {"precision": self.found / max(1, self.guessed), "recall": self.found / max(1, self.yes)}
        return shares
