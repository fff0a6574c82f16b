"""What one request does with the logits of its rows: which tokens come next, and from which rows they follow.

A search knows nothing of the model. `Search.advance` takes one row of logits for each row that the request has in the
running batch and says how these rows go on; `zoo_cli.decoding.engine` makes the model follow.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo_cli.decoding.numeric import log_softmax, top
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.processors import LOWEST, TokenLogits, apply_rules, set_token_logits
from zoo_cli.decoding.sampling import sample, uniform

FinishReason = Literal["eos", "length", "exhausted"]


@dataclass(frozen=True, slots=True)
class Generated:
    """One finished sequence.

    Attributes:
        ids: int64 [length]: the new tokens, with the end token where there is one.
        score: as PaddleNLP gives it: the mean logit of the chosen tokens (greedy search), their mean log-probability
            (sampling), the length-normalised sum of log-probabilities (beam search).
        finish_reason: ``eos``, ``length`` (`max_new_tokens` reached) or ``exhausted`` (every token was forbidden).
    """

    ids: np.ndarray
    score: float
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class Advance:
    """How a request's rows go on after one step.

    Attributes:
        parents: int64 [m]: for each next row the present row that it continues; empty once the request is done.
        tokens: int64 [m]: the token that each next row reads.
        emitted: (sequence, token) pairs that are final now; beam search emits all of them when it is done.
    """

    parents: np.ndarray
    tokens: np.ndarray
    emitted: list[tuple[int, int]]


class Search(ABC):
    """The state of one request.

    Args:
        options: how to search.
        history: int64 [length]: ids that count as seen before, usually the prompt.
        token_logits: logits that the model family fixes.

    Attributes:
        rows: rows of logits that `advance` expects: one for the prompt, then as many as it returned last.
    """

    def __init__(self, options: GenerationOptions, history: np.ndarray, token_logits: TokenLogits) -> None:
        self.options = options
        self.rows = 1
        self._token_logits = token_logits
        self._prompt_length = len(history)
        self._step = 0
        self._ids = np.zeros((1, len(history) + options.max_new_tokens), dtype=np.int64)
        self._ids[:, : len(history)] = history

    @abstractmethod
    def advance(self, logits: np.ndarray) -> Advance:
        """Choose the next tokens.

        Args:
            logits: float32 [rows, V]; not changed.
        """

    @abstractmethod
    def results(self) -> list[Generated]:
        """The `num_return_sequences` sequences, once no rows are left.

        Beam search has fewer where rules forbid so many tokens that there are not as many to choose from.
        """

    @property
    def _history(self) -> np.ndarray:
        """Prompt and output of each row, int64 [rows, length]."""
        return self._ids[:, : self._prompt_length + self._step]

    @property
    def _output(self) -> np.ndarray:
        """Output of each row, int64 [rows, step]."""
        return self._history[:, self._prompt_length :]

    def _take(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A private copy of the logits, one row for each sequence, barred tokens set, and the row each came from."""
        origins = np.arange(self.rows) if self._step else np.zeros(self.options.width, dtype=np.int64)
        if not self._step:
            self._ids = self._ids[origins]
        scores = np.asarray(logits, dtype=np.float32)[origins]
        set_token_logits(scores, self._token_logits)
        return scores, origins

    def _append(self, parents: np.ndarray, tokens: np.ndarray) -> None:
        self._ids = self._ids[parents]
        self._ids[:, self._prompt_length + self._step] = tokens
        self._step += 1
        self.rows = len(tokens)


class IndependentSearch(Search):
    """Greedy search and sampling: every sequence goes its own way and leaves the batch when it ends."""

    def __init__(self, options: GenerationOptions, history: np.ndarray, token_logits: TokenLogits) -> None:
        super().__init__(options, history, token_logits)
        self._sampling = options.decode_strategy == "sampling"
        self._seed = secrets.randbits(64) if options.seed is None else options.seed
        self._live = list(range(options.width))  # row -> sequence
        self._scores = [0.0] * options.width  # sums
        self._results: dict[int, Generated] = {}

    def advance(self, logits: np.ndarray) -> Advance:
        scores, origins = self._take(logits)
        apply_rules(scores, self._history, self._step, self.options)
        emitted: list[tuple[int, int]] = []
        rows: list[int] = []
        tokens: list[int] = []
        live: list[int] = []
        for row, sequence in enumerate(self._live):
            token, score = self._choose(scores[row], sequence)
            if score <= LOWEST:
                self._finish(sequence, self._output[row], self._step, "exhausted")
                continue
            emitted.append((sequence, token))
            self._scores[sequence] += score
            if token == self.options.eos_token_id or self._step + 1 == self.options.max_new_tokens:
                reason: FinishReason = "eos" if token == self.options.eos_token_id else "length"
                self._finish(sequence, np.append(self._output[row], token), self._step + 1, reason)
            else:
                rows.append(row)
                tokens.append(token)
                live.append(sequence)
        self._live = live
        parents, next_tokens = np.array(rows, dtype=np.int64), np.array(tokens, dtype=np.int64)
        self._append(parents, next_tokens)
        return Advance(origins[parents], next_tokens, emitted)

    def results(self) -> list[Generated]:
        return [self._results[sequence] for sequence in range(self.options.width)]

    def _choose(self, scores: np.ndarray, sequence: int) -> tuple[int, float]:
        """A token and its part of the score."""
        best = int(scores.argmax())
        if not self._sampling or scores[best] <= LOWEST:
            return best, float(scores[best])
        return sample(scores, self.options, uniform(self._seed, sequence, self._step))

    def _finish(self, sequence: int, ids: np.ndarray, length: int, reason: FinishReason) -> None:
        self._results[sequence] = Generated(ids.copy(), self._scores[sequence] / max(length, 1), reason)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A token that may follow a beam; `score` is the sum of log-probabilities with it."""

    row: int
    token: int
    score: float


class BeamSearch(Search):
    """Beam search, in groups (Vijayakumar et al. 2016) or with sibling penalties (Li et al. 2016), as in PaddleNLP.

    All groups share one list of `num_beams` finished sequences.
    """

    def __init__(self, options: GenerationOptions, history: np.ndarray, token_logits: TokenLogits) -> None:
        super().__init__(options, history, token_logits)
        size = options.num_beams // options.num_beam_groups
        self._group_size = size
        self._groups = [slice(start, start + size) for start in range(0, options.num_beams, size)]
        self._sums = np.full(options.num_beams, -1e6, dtype=np.float32)  # all beams start alike: only one may count
        self._sums[::size] = 0.0
        self._finished: list[Generated] = []

    def advance(self, logits: np.ndarray) -> Advance:
        logits, origins = self._take(logits)
        scores = log_softmax(logits)
        chosen: list[list[_Candidate]] = []
        done = False
        for rows in self._groups:
            chosen.append([])
            if rows.start < rows.stop and not done:
                chosen[-1], done = self._advance_group(scores, rows, [c.token for group in chosen for c in group])
        following = [candidate for group in chosen for candidate in group]
        last = self._step + 1 == self.options.max_new_tokens
        if not following and len(self._finished) < self.options.num_return_sequences:
            self._close(self._output, self._sums, "exhausted")
        parents = np.array([candidate.row for candidate in following], dtype=np.int64)
        tokens = np.array([candidate.token for candidate in following], dtype=np.int64)
        self._append(parents, tokens)
        self._sums = np.array([candidate.score for candidate in following], dtype=np.float32)
        ends = np.cumsum([len(group) for group in chosen])
        self._groups = [slice(int(end) - len(group), int(end)) for group, end in zip(chosen, ends, strict=True)]
        if last and not done:
            self._close(self._output, self._sums, "length")
        if last or done or not following:
            self.rows = 0
            none = np.zeros(0, dtype=np.int64)
            emitted = [(i, int(token)) for i, sequence in enumerate(self.results()) for token in sequence.ids]
            return Advance(none, none, emitted)
        return Advance(origins[parents], tokens, [])

    def results(self) -> list[Generated]:
        # of equally good ones the one found last comes first, as upstream
        best_last = sorted(self._finished, key=lambda sequence: sequence.score)
        return best_last[::-1][: self.options.num_return_sequences]

    def _advance_group(self, scores: np.ndarray, rows: slice, taken: list[int]) -> tuple[list[_Candidate], bool]:
        """The beams that follow in one group, and whether the whole request is done.

        Args:
            scores: log-probabilities of all rows, float32 [n, V].
            rows: the group's rows.
            taken: tokens that earlier groups chose at this step.
        """
        size = self._group_size
        group_scores = scores[rows]
        apply_rules(group_scores, self._history[rows], self._step, self.options, taken)
        group_scores += self._sums[rows, None]
        ranked = self._rank(group_scores, rows.start)
        following: list[_Candidate] = []
        for rank, candidate in enumerate(ranked):
            if candidate.token != self.options.eos_token_id:
                following.append(candidate)
            elif rank < size:
                self._finish(self._output[candidate.row], candidate.score, "eos")
            if len(following) == size:
                break
        return following, self._is_done(max((candidate.score for candidate in ranked), default=LOWEST))

    def _rank(self, scores: np.ndarray, first_row: int) -> list[_Candidate]:
        """The 2n best candidates of a group of n beams, best first, without forbidden ones.

        Args:
            scores: float32 [n, V], sums included.
            first_row: the group's first row.
        """
        count = 2 * self._group_size
        rate = self.options.diversity_rate
        if rate and len(self._groups) == 1:
            siblings = [
                (float(line[token]) - rate * rank, row, int(token))
                for row, line in enumerate(scores)
                for rank, token in enumerate(top(line, count), start=1)
            ]
            siblings.sort(key=lambda sibling: -sibling[0])
            places = [(row, token) for _, row, token in siblings[:count]]
        else:
            places = [divmod(int(index), scores.shape[1]) for index in top(scores.reshape(-1), count)]
        return [
            _Candidate(first_row + row, token, float(scores[row, token]))
            for row, token in places
            if scores[row, token] > LOWEST / 2  # sums move a forbidden token's score a little
        ]

    def _is_done(self, best: float) -> bool:
        """Whether no open beam can overtake the worst finished sequence; `best` is the best candidate's sum."""
        if len(self._finished) < self.options.num_beams:
            return False
        if self.options.early_stopping:
            return True
        return min(sequence.score for sequence in self._finished) >= self._normalised(best, self._step)

    def _close(self, outputs: np.ndarray, sums: np.ndarray, reason: FinishReason) -> None:
        """Count the open beams among the finished sequences."""
        for output, total in zip(outputs, sums, strict=True):
            self._finish(output, float(total), reason)

    def _finish(self, output: np.ndarray, total: float, reason: FinishReason) -> None:
        """Keep a sequence if it is among the best `num_beams`; its length does not count the end token."""
        score = self._normalised(total, len(output))
        if len(self._finished) == self.options.num_beams:
            worst = min(range(len(self._finished)), key=lambda index: self._finished[index].score)
            if score <= self._finished[worst].score:
                return
            del self._finished[worst]
        ids = output.copy()
        if reason == "eos" and self.options.eos_token_id is not None:
            ids = np.append(ids, self.options.eos_token_id)
        self._finished.append(Generated(ids, score, reason))

    def _normalised(self, total: float, length: int) -> float:
        """Wu et al. 2016 with PaddleNLP's constants."""
        return float(total / ((length + 5) / 6) ** self.options.length_penalty)


def new_search(options: GenerationOptions, history: np.ndarray, token_logits: TokenLogits) -> Search:
    """The search that the options ask for; arguments as for `Search`."""
    strategy = BeamSearch if options.decode_strategy == "beam_search" else IndependentSearch
    return strategy(options, history, token_logits)
