"""jieba's segmentation of many texts at once.

The words are exactly those of `jieba.cut(text)`: the same dictionary, the same most probable path, the same hidden
Markov model for what the dictionary lacks, and the same choice between equal probabilities. Where jieba walks through
one text character by character, here each step is taken for all texts of a batch together, on arrays: the dictionary is
a trie in a hash table, and both dynamic programmes run over runs of characters that are sorted by length, so that the
runs still in work at a step are a prefix of them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from zoo_cli.base.errors import PlatformError

_CODES = 0x110000
_EMPTY = np.int64(-1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_WORST = -3.14e100  # jieba's logarithm of the probability 0
_LONGEST_RUN = 400
"""A longer run of characters goes through jieba itself: it would hold up all others of its batch."""

_CHUNK_CHARACTERS = 1 << 16
_OTHER, _HAN, _LATIN = range(3)

_STATES = "BEMS"  # in alphabetical order: of equally probable states jieba takes the last one
_BEFORE = ((1, 3), (0, 2), (0, 2), (1, 3))
"""The two states that may stand before each."""


@cache
def _jieba() -> Any:
    """jieba's tokenizer with its dictionary loaded.

    Raises:
        PlatformError: jieba is not installed (`missing-package`).
    """
    try:
        import jieba
    except ImportError as error:
        raise PlatformError(
            "missing-package",
            "Chinese word segmentation needs the package jieba",
            fix="pip install jieba, which the extra 'serve' includes",
        ) from error
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    tokenizer.initialize()
    return tokenizer


class _Trie:
    """Prefixes of words, found for whole arrays of (node, next character).

    Args:
        words: word or prefix -> count, 0 for what is only a prefix; with each word all its prefixes.
        total: sum of the counts.
    """

    def __init__(self, words: dict[str, int], total: int) -> None:
        names = sorted(words, key=len)
        number = {name: index + 1 for index, name in enumerate(names)}  # node 0 is the root
        number[""] = 0
        logtotal = math.log(total)
        self.weights = np.full(len(names) + 1, -np.inf)
        self.weights[1:] = [math.log(words[name]) - logtotal if words[name] else -np.inf for name in names]
        self.lone_weight = math.log(1) - logtotal  # of a character that is no word
        keys = np.array([number[name[:-1]] * _CODES + ord(name[-1]) for name in names], np.int64)
        self._bits = np.uint64(64 - max(4, (2 * len(names)).bit_length()))
        self._keys = np.full(1 << int(64 - self._bits), _EMPTY)
        self._nodes = np.zeros(len(self._keys), np.int32)
        self._insert(keys, np.arange(1, len(names) + 1, dtype=np.int32))

    def _slots(self, keys: np.ndarray) -> np.ndarray:
        return ((keys.view(np.uint64) * _MULTIPLIER) >> self._bits).view(np.int64)

    def _insert(self, keys: np.ndarray, nodes: np.ndarray) -> None:
        slots, mask = self._slots(keys), len(self._keys) - 1
        while len(keys):
            free = self._keys[slots] == _EMPTY
            self._keys[slots[free]] = keys[free]  # of several keys for one slot the last one gets it
            placed = self._keys[slots] == keys
            self._nodes[slots[placed]] = nodes[placed]
            keys, nodes, slots = keys[~placed], nodes[~placed], (slots[~placed] + 1) & mask

    def step(self, nodes: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """The node behind each node [N] by a character [N]; 0 where there is none."""
        keys = nodes.astype(np.int64) * _CODES + codes
        slots, mask = self._slots(keys), len(self._keys) - 1
        found = self._keys[slots]
        result = np.where(found == keys, self._nodes[slots], 0)
        open_ = np.flatnonzero((found != keys) & (found != _EMPTY))
        while len(open_):
            slots[open_] = (slots[open_] + 1) & mask
            found = self._keys[slots[open_]]
            hit = found == keys[open_]
            result[open_[hit]] = self._nodes[slots[open_[hit]]]
            open_ = open_[~hit & (found != _EMPTY)]
        return result


class _Runs:
    """Runs of characters in step order: step t holds the t-th character of every run that has one.

    Args:
        starts, lengths: of the runs, int64 [R]; a run is `starts + arange(length)` of some flat array.
        backwards: count characters from the end of the run instead of from its start.
    """

    def __init__(self, starts: np.ndarray, lengths: np.ndarray, backwards: bool) -> None:
        order = np.argsort(-lengths, kind="stable")
        self.starts, self.lengths = starts[order], lengths[order]
        steps = int(self.lengths[0]) if len(order) else 0
        # Runs in work at each step: those longer than it.
        self.active = np.searchsorted(-self.lengths, -np.arange(steps), side="left")
        self.offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.active)])
        rank = np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], self.active)
        step = np.repeat(np.arange(steps), self.active)
        along = self.lengths[rank] - 1 - step if backwards else step
        self.places = self.starts[rank] + along
        """Place in the flat array of each character, in step order."""

    def slices(self, step: int) -> slice:
        """Where the characters of a step lie in step order."""
        return slice(self.offsets[step], self.offsets[step + 1])


class JiebaWords:
    """Cuts texts into jieba's words. Building one takes about two seconds."""

    def __init__(self) -> None:
        self._tokenizer = _jieba()
        self._words: dict[str, int] = self._tokenizer.FREQ
        self._trie = _Trie(self._words, self._tokenizer.total)
        self._first = self._trie.step(np.zeros(_CODES, np.int64), np.arange(_CODES))
        kinds = np.zeros(_CODES, np.uint8)
        kinds[0x4E00:0x9FD6] = _HAN
        kinds[[ord(char) for char in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+#&._%-"]] = _LATIN
        self._kinds = kinds
        self._read_markov_model()

    def _read_markov_model(self) -> None:
        from jieba import finalseg

        self._finalseg = finalseg
        self._start = np.array([finalseg.start_P[state] for state in _STATES])
        self._change = np.array([[finalseg.trans_P[a].get(b, _WORST) for b in _STATES] for a in _STATES])
        self._emit = np.full((len(_STATES), _CODES), _WORST)
        for row, state in zip(self._emit, _STATES, strict=True):
            table = finalseg.emit_P[state]
            row[np.fromiter(map(ord, table), np.int64, len(table))] = np.fromiter(table.values(), float, len(table))

    def cut(self, texts: Sequence[str]) -> list[list[str]]:
        """Words of each text, white space included; joined they give the text again."""
        results: list[list[str]] = []
        start = size = 0
        for index, text in enumerate(texts):
            if size and size + len(text) > _CHUNK_CHARACTERS:
                results += self._cut(texts[start:index])
                start, size = index, 0
            size += len(text) + 1
        return results + self._cut(texts[start:])

    def _cut(self, texts: Sequence[str]) -> list[list[str]]:
        joined = "\0".join(texts)  # no word holds it, so none reaches over the end of a text
        if not joined:
            return [[] for _ in texts]
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        begins = self._begins(joined, codes)
        # The separators become words of their own, which `ends` skips.
        places = np.append(np.flatnonzero(begins), len(codes))
        words = [joined[a:b] for a, b in pairwise(places.tolist())]
        text_starts = np.cumsum([0, *(len(text) + 1 for text in texts)])
        bounds = np.searchsorted(places, text_starts).tolist()
        bounds[-1] = len(words) + 1  # behind the last text there is no separator
        return [words[a : b - 1] for a, b in pairwise(bounds)]

    def _begins(self, joined: str, codes: np.ndarray) -> np.ndarray:
        """Whether a word begins at each character [N]."""
        kinds = self._kinds[codes]
        in_run = kinds != _OTHER
        begins = np.ones(len(codes), bool)
        begins[1:] = ~((codes[1:] == 10) & (codes[:-1] == 13))  # CR LF is one word
        edges = np.flatnonzero(np.diff(np.concatenate([[False], in_run, [False]])))
        starts, lengths = edges[::2], edges[1::2] - edges[::2]
        for start, length in zip(starts[lengths > _LONGEST_RUN], lengths[lengths > _LONGEST_RUN], strict=True):
            self._cut_alone(joined, begins, int(start), int(start + length))
        starts, lengths = starts[lengths <= _LONGEST_RUN], lengths[lengths <= _LONGEST_RUN]
        if len(starts):
            runs = _Runs(starts, lengths, backwards=True)
            self._follow(runs, self._best_words(codes, runs), begins)
            self._join_singles(joined, codes, kinds, starts, lengths, begins)
        return begins

    def _cut_alone(self, joined: str, begins: np.ndarray, start: int, end: int) -> None:
        begins[start:end] = False
        for word in self._tokenizer.cut(joined[start:end]):
            begins[start] = True
            start += len(word)

    def _best_words(self, codes: np.ndarray, runs: _Runs) -> np.ndarray:
        """Length of the word that begins at each character on the most probable path, in step order."""
        places = runs.places
        room = np.repeat(np.arange(len(runs.active)), runs.active) + 1  # characters to the end of the run
        nodes = self._first[codes[places]]
        weights = self._trie.weights[nodes]
        # By length: the words there are, by their place in step order.
        by_length: list[tuple[np.ndarray, np.ndarray]] = []
        has_word = weights > -np.inf
        at = np.flatnonzero((nodes > 0) & (room > 1))
        nodes, length = nodes[at], 1
        while len(at):
            nodes = self._trie.step(nodes, codes[places[at] + length])
            length += 1
            found = self._trie.weights[nodes]
            is_word = found > -np.inf
            by_length.append((at[is_word], found[is_word]))
            has_word[at[is_word]] = True
            keep = (nodes > 0) & (room[at] > length)
            at, nodes = at[keep], nodes[keep]
        weights = np.where(has_word, weights, self._trie.lone_weight)

        limits = [np.searchsorted(at, runs.offsets) for at, _ in by_length]
        score = np.zeros(len(places))
        chosen = np.ones(len(places), np.int64)
        for step in range(len(runs.active)):
            here = runs.slices(step)
            if step:
                score[here] = weights[here] + score[runs.offsets[step - 1] : runs.offsets[step - 1] + runs.active[step]]
            else:
                score[here] = weights[here]
            for length, ((at, found), limit) in enumerate(zip(by_length, limits, strict=True), 2):
                if length > step + 1:
                    break
                first, last = limit[step], limit[step + 1]
                if first == last:
                    continue
                these = at[first:last]
                rest = 0.0
                if length <= step:
                    rest = score[these - runs.offsets[step] + runs.offsets[step - length]]
                candidate = found[first:last] + rest
                better = candidate >= score[these]  # of equal paths jieba takes the longer word
                score[these[better]] = candidate[better]
                chosen[these[better]] = length
        return chosen

    @staticmethod
    def _follow(runs: _Runs, chosen: np.ndarray, begins: np.ndarray) -> None:
        """Mark where words begin when each run is walked from its start by the chosen lengths."""
        begins[runs.places] = False
        rank = np.arange(len(runs.starts))
        left = runs.lengths.copy()
        while len(rank):
            at = runs.offsets[left - 1] + rank
            begins[runs.places[at]] = True
            left = left - chosen[at]
            keep = left > 0
            rank, left = rank[keep], left[keep]

    def _join_singles(
        self,
        joined: str,
        codes: np.ndarray,
        kinds: np.ndarray,
        starts: np.ndarray,
        lengths: np.ndarray,
        begins: np.ndarray,
    ) -> None:
        """Let the hidden Markov model look at consecutive words of one character."""
        single = begins & np.append(begins[1:], True) & (kinds != _OTHER)
        border = np.zeros(len(codes) + 1, bool)  # runs next to each other stay apart
        border[starts], border[starts + lengths] = True, True
        before = np.concatenate([[False], single[:-1]])
        after = np.append(single[1:], False)
        first = np.flatnonzero(single & (~before | border[:-1]))
        last = np.flatnonzero(single & (~after | border[1:]))
        several = last > first
        first, end = first[several], last[several] + 1
        chinese = np.append(0, np.cumsum(kinds == _HAN))
        pure = chinese[end] - chinese[first] == end - first
        words, known = self._words, np.zeros(len(first), bool)
        for index, (a, b) in enumerate(zip(first.tolist(), end.tolist(), strict=True)):
            text = joined[a:b]
            if words.get(text):
                known[index] = True
            elif not pure[index]:
                begins[a:b] = False
                for word in self._finalseg.cut(text):
                    begins[a] = True
                    a += len(word)
        unknown = pure & ~known
        if unknown.any():
            self._markov(codes, _Runs(first[unknown], (end - first)[unknown], backwards=False), begins)

    def _markov(self, codes: np.ndarray, runs: _Runs, begins: np.ndarray) -> None:
        """Mark where words begin by the most probable states of the hidden Markov model."""
        emit = self._emit[:, codes[runs.places]]
        score = np.empty_like(emit)
        origin = np.zeros(emit.shape, np.int8)
        for step in range(len(runs.active)):
            here = runs.slices(step)
            if not step:
                score[:, here] = self._start[:, None] + emit[:, here]
                continue
            earlier = score[:, runs.offsets[step - 1] : runs.offsets[step - 1] + runs.active[step]]
            for state, (low, high) in enumerate(_BEFORE):
                from_low = earlier[low] + self._change[low, state] + emit[state, here]
                from_high = earlier[high] + self._change[high, state] + emit[state, here]
                later = from_high >= from_low
                score[state, here] = np.where(later, from_high, from_low)
                origin[state, here] = np.where(later, high, low)
        states = np.empty(len(runs.places), np.int8)
        current = np.empty(0, np.int8)
        for step in reversed(range(len(runs.active))):
            here = runs.slices(step)
            ending = score[:, here][:, len(current) :]
            current = np.concatenate([current, np.where(ending[3] >= ending[1], 3, 1).astype(np.int8)])
            states[here] = current
            current = origin[current, np.arange(here.start, here.stop)]
        # A word begins at B and S, and wherever the word before has ended, which E and S do.
        ended = np.ones(len(runs.places), bool)
        previous = np.empty(len(codes), np.int8)
        previous[runs.places] = states
        ended[runs.active[0] :] = np.isin(previous[runs.places[runs.active[0] :] - 1], (1, 3))
        begins[runs.places] = ended
