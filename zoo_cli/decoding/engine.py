"""The running batch: prompts join, tokens come out, rows that end make room for others.

`Decoder` holds the loop that models, bundles and the server share. The model is reached through `StepModel`; what is
chosen from its logits is the business of `zoo_cli.decoding.search`. Each row has its own options, seed and position, so
requests may join and leave between any two steps without touching the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from zoo_cli.base.errors import ArtifactError, DataError
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.processors import TokenLogits
from zoo_cli.decoding.search import Generated, Search, new_search

Prompt = Mapping[str, np.ndarray]
"""One prompt without padding: ``input_ids`` [S] and whatever else the model reads for each token, such as
``token_type_ids``, ``position_ids``, ``role_ids`` [S], ``attention_mask`` [S, S] (row i: what token i sees)."""


class StepModel(Protocol):
    """A model with a running batch of rows, each with its own length and key-value cache.

    Rows are counted in the order in which they joined, after `select` in the order of its argument. With each new token
    the model continues the prompt's other inputs as PaddleNLP does: positions grow by one, token types and roles repeat
    the last value, and the new token sees what the last one saw, and itself.
    """

    @property
    def token_logits(self) -> TokenLogits:
        """Logits that the family fixes, e.g. those of UNIMO's unknown, pad and begin tokens at -1e9."""

    def room(self, prompt: Prompt) -> int:
        """How many tokens may be generated after the prompt before the model runs out of positions."""

    def prefill(self, prompts: Sequence[Prompt]) -> np.ndarray:
        """Add rows for the prompts behind the present rows.

        Returns:
            Logits after the last token of each prompt, float32 [len(prompts), V].
        """

    def step(self, tokens: np.ndarray) -> np.ndarray:
        """Let each row read one more token.

        Args:
            tokens: int64 [n], one for each row.

        Returns:
            Logits of the token after it, float32 [n, V].
        """

    def select(self, rows: np.ndarray) -> None:
        """Replace the batch by these of its rows, int64 [m]: rows may be reordered, repeated and dropped."""


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """What to generate.

    Args:
        prompt: the prompt, or None for the begin token alone.
        options: how to generate.
        history: int64 [length]: ids that count as seen for repetition penalty and n-gram blocking, and as present for
            `forced_bos_token_id`; the prompt's unless given. PaddleNLP counts left padding, too.
    """

    prompt: Prompt | None
    options: GenerationOptions
    history: np.ndarray | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """News of one request.

    Attributes:
        request: whose.
        tokens: (sequence, token) pairs that are final now, the end token included. Beam search knows its tokens only at
            the end, so they come all at once.
        sequences: the results once the request is done, else None; best first in beam search.
    """

    request: Request
    tokens: list[tuple[int, int]]
    sequences: list[Generated] | None


@dataclass(frozen=True, slots=True)
class _Running:
    request: Request
    search: Search


class Decoder:
    """The loop around one `StepModel`; not thread-safe.

    Args:
        model: whose batch must be empty, and is this decoder's alone from now on.
    """

    def __init__(self, model: StepModel) -> None:
        self._model = model
        self._running: list[_Running] = []
        self._tokens = np.zeros(0, dtype=np.int64)  # what each row reads at the next step

    @property
    def rows(self) -> int:
        """Rows of the running batch; a request takes at most `GenerationOptions.width`."""
        return len(self._tokens)

    def add(self, requests: Sequence[Request]) -> list[Update]:
        """Let requests join the batch and choose their first tokens.

        Returns:
            One update for each of them that has news.

        Raises:
            DataError: a prompt is empty (`empty-prompt`) or leaves too little room (`prompt-too-long`); nothing joined.
            ArtifactError: the model's logits are not finite (`bad-logits`).
        """
        if not requests:
            return []
        prompts = [self._prompt(request) for request in requests]
        logits = self._model.prefill(prompts)
        first = len(self._running)
        for request, prompt in zip(requests, prompts, strict=True):
            history = prompt["input_ids"] if request.history is None else request.history
            self._running.append(_Running(request, new_search(request.options, history, self._model.token_logits)))
        return self._advance(logits, first)

    def step(self) -> list[Update]:
        """Let every row read its token and choose the next one.

        Returns:
            One update for each request that has news.

        Raises:
            ArtifactError: the model's logits are not finite (`bad-logits`).
        """
        if not self._running:
            return []
        return self._advance(self._model.step(self._tokens), 0)

    def cancel(self, request: Request) -> None:
        """Drop a request that nobody waits for any longer; one that is done already is ignored."""
        keep: list[np.ndarray] = []
        start = 0
        for running in self._running:
            if running.request is not request:
                keep.append(np.arange(start, start + running.search.rows))
            start += running.search.rows
        self._running = [running for running in self._running if running.request is not request]
        rows = np.concatenate(keep) if keep else np.zeros(0, dtype=np.int64)
        self._tokens = self._tokens[rows]
        self._select(rows, start)

    def clear(self) -> None:
        """Drop all requests."""
        self._running = []
        self._tokens = np.zeros(0, dtype=np.int64)
        self._model.select(np.zeros(0, dtype=np.int64))

    def _prompt(self, request: Request) -> Prompt:
        options = request.options
        prompt = request.prompt
        if prompt is None and options.bos_token_id is not None:
            prompt = {"input_ids": np.array([options.bos_token_id], dtype=np.int64)}
        if prompt is None or not len(prompt["input_ids"]):
            raise DataError("empty-prompt", "the prompt has no tokens", fix="give some text or bos_token_id")
        room = self._model.room(prompt)
        if room < options.max_new_tokens:
            raise DataError(
                "prompt-too-long",
                "the prompt has {length} tokens, after which the model has room for {room} more, not for {wanted}",
                fix="shorten the prompt or lower max_new_tokens",
                length=len(prompt["input_ids"]),
                room=max(room, 0),
                wanted=options.max_new_tokens,
            )
        return prompt

    def _advance(self, logits: np.ndarray, first: int) -> list[Update]:
        """Feed logits to the searches from number `first` on, and let the model follow; earlier ones wait."""
        if not np.isfinite(logits.max(axis=1)).all():
            self.clear()
            raise ArtifactError("bad-logits", "the model's logits are not finite", fix="check the weights")
        waiting = sum(running.search.rows for running in self._running[:first])
        parents = [np.arange(waiting)]
        tokens = [self._tokens[:waiting]]
        updates: list[Update] = []
        start = waiting
        for running in self._running[first:]:
            rows = running.search.rows
            ahead = running.search.advance(logits[start - waiting : start - waiting + rows])
            parents.append(start + ahead.parents)
            tokens.append(ahead.tokens)
            start += rows
            sequences = None if len(ahead.tokens) else running.search.results()
            if ahead.emitted or sequences is not None:
                updates.append(Update(running.request, ahead.emitted, sequences))
        self._running = [running for running in self._running if running.search.rows]
        self._tokens = np.concatenate(tokens)
        self._select(np.concatenate(parents), start)
        return updates

    def _select(self, rows: np.ndarray, present: int) -> None:
        """Tell the model unless all `present` rows stay where they are."""
        if len(rows) != present or (rows != np.arange(present)).any():
            self._model.select(rows)


def stream(model: StepModel, requests: Iterable[Request], max_rows: int | None = None) -> Iterator[Update]:
    """Generate for many requests at once and report tokens as they come.

    Args:
        model: with an empty batch; empty again when the iterator ends or is closed.
        requests: taken up in order as rows become free.
        max_rows: rows of the running batch; a request that alone needs more runs alone. None runs all at once.

    Raises:
        DataError, ArtifactError: as `Decoder.add` and `Decoder.step`.
    """
    decoder = Decoder(model)
    waiting = deque(requests)
    try:
        while waiting or decoder.rows:
            joining: list[Request] = []
            rows = decoder.rows
            while waiting and (not rows or max_rows is None or rows + waiting[0].options.width <= max_rows):
                rows += waiting[0].options.width
                joining.append(waiting.popleft())
            # those already running step first, so that every request advances by one token a turn
            yield from decoder.step()
            yield from decoder.add(joining)
    finally:
        decoder.clear()


def generate(model: StepModel, requests: Sequence[Request], max_rows: int | None = None) -> list[list[Generated]]:
    """Generate for many requests at once; arguments and errors as for `stream`.

    Returns:
        For each request its `num_return_sequences` sequences.
    """
    own = [replace(request) for request in requests]  # the caller may pass one object several times
    results: dict[int, list[Generated]] = {}
    for update in stream(model, own, max_rows):
        if update.sequences is not None:
            results[id(update.request)] = update.sequences
    return [results[id(request)] for request in own]
