"""Corpora of prompts and texts with the answers, and batches of them (UIE).

A prompt corpus is a corpus (`zoo_cli.data.corpus.format`) whose documents have two sentences each, a prompt and a text
(or a window of a long one), with two more files: ``PREFIX_spans.npy``, int32 [n, 2], first and last token of each
answer, counted through the prompt and on through the text; and ``PREFIX_pairs.npy``, int64 [D, 4], for each document
the number of tokens before it, the number of answers up to its end, and hashes of text and prompt.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.corpus.draws import hashes, integers, uniforms
from zoo_cli.data.corpus.format import Corpus
from zoo_cli.data.corpus.inputs import Arrays, Inputs, Located, Segments, assemble
from zoo_cli.data.corpus.samples import Samples
from zoo_cli.recipe.schema import PretrainSection
from zoo_cli.tokenizers.pieces import ranges
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

SPANS, PAIRS = "_spans.npy", "_pairs.npy"
"""Endings of the files beside those of every corpus."""
TOKEN, ANSWERS, TEXT, PROMPT = range(4)
"""Columns of the table of pairs."""

_EXCHANGED, _OTHER = 6, 7
"""What a random number is for, beside those of `zoo_cli.data.corpus.inputs`."""


class PromptSamples(Samples):
    """The pairs of a part of a prompt corpus.

    Args:
        corpus: the corpus.
        documents: first and last pair (exclusive).

    Raises:
        DataError: the corpus has no answers (`no-prompts`).
    """

    def __init__(self, corpus: Corpus, documents: tuple[int, int] | None = None) -> None:
        super().__init__(corpus, documents)
        try:
            self.pairs: np.ndarray = np.load(corpus.prefix + PAIRS, mmap_mode="r")
            self.spans: np.ndarray = np.load(corpus.prefix + SPANS, mmap_mode="r")
        except FileNotFoundError as error:
            raise DataError(
                "no-prompts",
                "this corpus has no prompts and answers",
                at=Location.of(corpus.prefix),
                fix='name a file of {{"content", "prompt", "result_list"}} lines',
            ) from error

    def __len__(self) -> int:
        return self.documents[1] - self.documents[0]

    def describe(self, sample: int) -> str:
        return f"{self.corpus.prefix}: pair {self.documents[0] + sample}"

    def sizes(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the prompts and of the texts of some pairs [B], int64 [B] each."""
        prompt, text = (self.corpus.lens[2 * pairs + number].astype(np.int64) for number in range(2))
        return prompt, text

    def answers(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the first answer of some pairs [B] and how many they have, int64 [B] each."""
        ends = self.pairs[pairs, ANSWERS]
        before = np.where(pairs > 0, self.pairs[np.maximum(pairs - 1, 0), ANSWERS], 0)
        return before, ends - before

    @cached_property
    def answered(self) -> np.ndarray:
        """Sorted hashes of the pairs of a text and a prompt that the corpus has, uint64 [n]."""
        return np.unique(_both(self.pairs[:, TEXT], self.pairs[:, PROMPT]))

    @cached_property
    def prompts(self) -> np.ndarray:
        """One pair for each prompt whose answers are in texts: another text may then have none; int64 [n]."""
        _, first = np.unique(self.pairs[:, PROMPT], return_index=True)
        begin, count = self.answers(first)
        sizes, _ = self.sizes(first)
        owner = np.repeat(np.arange(len(first)), count)
        inside = self.spans[ranges(begin, count), 0] < sizes[owner]
        chosen: np.ndarray = np.setdiff1d(np.arange(len(first)), owner[inside])
        return first[chosen]

    def is_known(self, pairs: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """Whether the corpus has the text of a pair with the prompt of another one, bool [B]."""
        wanted = _both(self.pairs[pairs, TEXT], self.pairs[prompts, PROMPT])
        place = np.searchsorted(self.answered, wanted)
        return self.answered[np.minimum(place, len(self.answered) - 1)] == wanted


def _both(texts: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """One hash for two, uint64."""
    return hashes(texts.astype(np.uint64), prompts.view(np.uint64))


class PromptInputs(Inputs):
    """[CLS] prompt [SEP] text [SEP], with the first and last tokens of the answers.

    Args:
        parts: the corpora's pairs.
        tokenizer: that of the corpora, for its special tokens.
        options: `negative_share` and `max_length`.
    """

    parts: tuple[PromptSamples, ...]

    def __init__(
        self, parts: Sequence[PromptSamples], tokenizer: PretrainedTokenizer, options: PretrainSection
    ) -> None:
        super().__init__(parts)
        self._frame, self._pad = tokenizer.frame(pair=True), tokenizer.pad_token_id
        self._has_types = "token_type_ids" in tokenizer.model_input_names
        self._negative_share, self._max_length = options.negative_share, options.max_length

    def load(self, rows: Located) -> Arrays:
        """The batch of these rows.

        A share of the rows has the prompt of another text, which the corpus does not have with this one, and no
        answers. What then does not fit is cut off the end of the text.

        Returns:
            ``input_ids``, ``attention_mask`` and, where the model takes them, ``token_type_ids`` [B, S];
            ``start_positions`` and ``end_positions``, int64 [B, S], 1 at first and last tokens of answers.
        """
        size = len(rows.samples)
        segments = Segments(rows.corpora, np.zeros((2, size), np.int64), np.zeros((2, size), np.int64))
        spans: list[tuple[np.ndarray, np.ndarray]] = []  # row of each answer [n], and the answer [n, 2]
        for number in np.unique(rows.corpora).tolist():
            these = np.flatnonzero(rows.corpora == number)
            part, keys = self.parts[number], rows.keys[these]
            pairs = part.documents[0] + rows.samples[these]
            prompts = self._prompts(part, pairs, keys)
            own_prompt, text = part.sizes(pairs)
            prompt, _ = part.sizes(prompts)
            segments.starts[:, these] = part.pairs[prompts, TOKEN], part.pairs[pairs, TOKEN] + own_prompt
            segments.counts[:, these] = prompt, np.minimum(text, self._max_length - self._frame.size - prompt)
            begin, count = part.answers(pairs)
            count = np.where(prompts == pairs, count, 0)
            spans.append((np.repeat(these, count), part.spans[ranges(begin, count)].astype(np.int64)))
        ids, types, lengths = assemble([part.corpus for part in self.parts], segments, self._frame, self._pad)
        arrays = {"input_ids": ids, "token_type_ids": types} if self._has_types else {"input_ids": ids}
        arrays["attention_mask"] = (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)
        places = np.zeros((2, *ids.shape), np.int64)
        for owner, tokens in spans:
            in_text = tokens >= segments.counts[0, owner][:, None]
            columns = tokens + len(self._frame.prefix) + np.where(in_text, len(self._frame.middle), 0)
            for side in range(2):
                places[side, owner, columns[:, side]] = 1
        return {**arrays, "start_positions": places[0], "end_positions": places[1]}

    def tokens(self, batch: Arrays) -> int:
        return int(batch["attention_mask"].sum())

    def _prompts(self, part: PromptSamples, pairs: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """For each pair the one whose prompt is asked: itself, or one whose prompt its text does not answer."""
        if not self._negative_share or not len(part.prompts):
            return pairs
        drawn = part.prompts[integers(hashes(keys, _OTHER), 0, len(part.prompts))]
        exchanged = (uniforms(hashes(keys, _EXCHANGED), 0) < self._negative_share) & ~part.is_known(pairs, drawn)
        return np.where(exchanged, drawn, pairs)


def has_prompts(prefix: str | os.PathLike[str]) -> bool:
    """Whether a corpus has prompts and answers."""
    return Path(f"{os.fspath(prefix)}{PAIRS}").is_file()
