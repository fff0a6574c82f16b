"""Several corpora as one training set, each with the weight that it is wanted with."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import numpy as np

from zoo_cli.base.errors import UsageError
from zoo_cli.base.resources import locate
from zoo_cli.data.corpus.draws import hashes, key, permute
from zoo_cli.data.corpus.format import find_corpora
from zoo_cli.data.corpus.samples import Samples
from zoo_cli.data.splits import allot

_WEIGHT = re.compile(r"\d+(?:\.\d*)?|\.\d+")


def parse_blend(entries: Sequence[str]) -> list[tuple[str, float | None]]:
    """Prefixes of corpora and their weights.

    Args:
        entries: each is a prefix, a folder of corpora, or as in PaddleNLP weights and prefixes in turn, separated by
            spaces: ``5.0 /data/wiki 7.0 /data/news``. The weight of a folder is that of each corpus in it. Paths of
            raw text may stand in the place of prefixes, and are left as they are.

    Returns:
        For each corpus its prefix and its weight, None where none has one.

    Raises:
        UsageError: there are none, or only some have a weight (`bad-blend`).
    """
    found: list[tuple[str, float | None]] = []
    for entry in entries:
        words = entry.split()
        if len(words) > 1 and not os.path.exists(entry) and _WEIGHT.fullmatch(words[0]):  # noqa: PTH110
            if len(words) % 2 or not all(_WEIGHT.fullmatch(word) for word in words[::2]):
                raise UsageError(
                    "bad-blend", "{entry!r} is not weights and corpora in turn", fix="write 5.0 a 7.0 b", entry=entry
                )
            pairs = [(words[at + 1], float(words[at])) for at in range(0, len(words), 2)]
        else:
            pairs = [(entry, None)]  # type: ignore[list-item]
        found += [(prefix, weight) for name, weight in pairs for prefix in find_corpora(locate(name))]
    weighted = [weight for _, weight in found if weight is not None]
    if not found or len(weighted) not in (0, len(found)) or (weighted and not sum(weighted) > 0):
        raise UsageError("bad-blend", "all corpora or none have a weight, and not all weights are 0")
    return found


class Blend:
    """Samples of several corpora under common row numbers.

    An epoch has as many rows as there are samples. Each corpus has its weight's share of them, in which it goes on
    where it stopped in the epoch before, through a new random order each time it begins anew. Nothing is stored: the
    sample of a row is computed.

    Args:
        parts: the corpora's samples.
        weights: of the corpora, or None for once through each of them in an epoch.
        seed: of the orders.
    """

    def __init__(self, parts: Sequence[Samples], weights: Sequence[float] | None = None, seed: int = 0) -> None:
        self.parts = tuple(parts)
        self._sizes = np.array([len(part) for part in self.parts], np.int64)
        total = int(self._sizes.sum())
        if weights is None:
            self.counts = self._sizes
        else:
            self.counts = np.array(allot(total, [weight / sum(weights) for weight in weights]), np.int64)
        self._bounds = np.cumsum(self.counts)
        self._seed = seed

    def __len__(self) -> int:
        return int(self._bounds[-1])

    def order(self, epoch: int, places: np.ndarray) -> np.ndarray:
        """Rows at some places of an epoch's random order, int64 [N]."""
        return permute(places, len(self), key(self._seed, 1, epoch))

    def locate(self, epoch: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Corpus, sample and random key of each row [B] in an epoch, int64, int64 and uint64 [B].

        A key belongs to the sample and to how often its corpus had been gone through before.
        """
        corpus = np.searchsorted(self._bounds, rows, side="right")
        samples = np.empty(len(rows), np.int64)
        keys = np.empty(len(rows), np.uint64)
        for number in np.unique(corpus).tolist():
            these = corpus == number
            size, count = int(self._sizes[number]), int(self.counts[number])
            place = epoch * count + rows[these] - (self._bounds[number] - count)
            rounds = place // size
            own = np.empty(len(place), np.int64)
            for round_ in np.unique(rounds).tolist():
                now = rounds == round_
                own[now] = permute(place[now] % size, size, key(self._seed, 2, number, round_))
            samples[these] = own
            keys[these] = hashes(hashes(key(self._seed, 3, number), rounds), own)
        return corpus, samples, keys
