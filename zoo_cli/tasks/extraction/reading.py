"""The two ways to read texts with prompts: this project's, and PaddleNLP's with its faults."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.tasks.base import Feature, Outputs
from zoo_cli.tasks.extraction.postprocess import Answer, class_answers, merge_windows, pair, span_answers, vote
from zoo_cli.tasks.extraction.preprocess import PairEncoder, Prompt, Window, overlapping_windows
from zoo_cli.tasks.extraction.schema import Language, Node, class_options, make_prompt
from zoo_cli.tasks.features import model_inputs, tokens_of
from zoo_cli.tokenizers.base import Encoding

_log = logging.getLogger(__name__)

Reading = Generator[list[Feature], list[Outputs], list[list[Answer]]]
"""Yields features, is sent their outputs, and returns the answers to each question."""


@dataclass(frozen=True, slots=True)
class ExtractionRequest:
    """A checked request.

    Args:
        texts: the texts.
        many: the answer is a list with a result for each text, else the result of the only text.
        schema: roots of what to ask for.
        language: of the prompts.
        threshold: for the probabilities of both ends of a span.
        max_length: most tokens of an input.
    """

    texts: list[str]
    many: bool
    schema: list[Node]
    language: Language
    threshold: float
    max_length: int


@dataclass(slots=True)
class Question:
    """A schema node asked of a text.

    Args:
        text: index of the text in its request.
        node: what is asked for.
        parent: entry of the result whose span the question is about; None at the root of the schema.
    """

    text: int
    node: Node
    parent: Answer | None

    def prompt(self, language: Language) -> str:
        """The normalized prompt."""
        return make_prompt(self.node.name, self.parent["text"] if self.parent else None, language)


class Reader(ABC):
    """Reads the texts of one request.

    Args:
        encoder: of the task.
        inputs: names of the model's inputs.
        request: texts and how to read them.
    """

    def __init__(self, encoder: PairEncoder, inputs: Sequence[str], request: ExtractionRequest) -> None:
        self.encoder = encoder
        self.inputs = inputs
        self.request = request

    @abstractmethod
    def read(self, questions: Sequence[Question]) -> Reading:
        """Put questions to the model, all at once."""


@dataclass(slots=True)
class _Asked:
    """A distinct question: a prompt, a text and the windows in which it is read."""

    text: int
    prompt: Prompt
    windows: list[Window]


class WindowReader(Reader):
    """Overlapping windows; classes come out of the prompt and all other answers out of the text, never empty.

    Args:
        encodings: the request's texts, of `PairEncoder.texts`.
        overlap: tokens that neighbouring windows share.
    """

    def __init__(
        self,
        encoder: PairEncoder,
        inputs: Sequence[str],
        request: ExtractionRequest,
        encodings: Sequence[Encoding],
        overlap: int,
    ) -> None:
        super().__init__(encoder, inputs, request)
        self.overlap = overlap
        self._encodings = encodings

    def read(self, questions: Sequence[Question]) -> Reading:
        keys = [(question.text, question.prompt(self.request.language)) for question in questions]
        asked: dict[tuple[int, str], _Asked] = {}
        for text, prompt in dict.fromkeys(keys):
            one = self._plan(text, prompt)
            if one:
                asked[text, prompt] = one
        features = [
            model_inputs(self.encoder.pair(one.prompt, self._encodings[one.text], window), self.inputs)
            for one in asked.values()
            for window in one.windows
        ]
        # A model is never asked about nothing.
        outputs = iter((yield features) if features else [])
        found = {key: self._answers(one, [next(outputs) for _ in one.windows]) for key, one in asked.items()}
        # Each question gets entries of its own, because relations will be added to them.
        return [[dict(answer) for answer in found.get(key, ())] for key in keys]

    def _plan(self, text: int, prompt_text: str) -> _Asked | None:
        length = len(self._encodings[text].ids)
        if not length:
            return None
        prompt = self.encoder.prompt(prompt_text)
        try:
            room = self.encoder.room(prompt, self.request.max_length)
        except DataError:
            # The names of the schema fit, so this prompt holds an overlong span; the other answers are still good.
            _log.warning("a relation is not asked for: its prompt has %d tokens", len(prompt.offsets))
            return None
        return _Asked(text, prompt, overlapping_windows(length, room, self.overlap))

    def _answers(self, asked: _Asked, outputs: Sequence[Outputs]) -> list[Answer]:
        starts = [output["start_prob"] for output in outputs]
        ends = [output["end_prob"] for output in outputs]
        prompt = asked.prompt
        if class_options(prompt.text):
            own = prompt.own
            return class_answers(
                prompt, [start[own] for start in starts], [end[own] for end in ends], self.request.threshold
            )
        base = prompt.size
        in_text = [start[base : base + b - a] for start, (a, b) in zip(starts, asked.windows, strict=True)]
        before = float(starts[0][base - 1])
        if before > self.request.threshold >= float(in_text[0][0]):
            # PaddleNLP takes a start on the separator before the text for one on its first token, which is sensible.
            in_text[0] = np.concatenate(([before], in_text[0][1:]))
        pairs = merge_windows(
            asked.windows,
            in_text,
            [end[base : base + b - a] for end, (a, b) in zip(ends, asked.windows, strict=True)],
            self.request.threshold,
        )
        return span_answers(self.request.texts[asked.text], self._encodings[asked.text], pairs)


class UpstreamReader(Reader):
    """PaddleNLP 2.8's reading, for those who must reproduce its answers.

    Texts are cut by characters, without overlap, into pieces that leave room for the alphabetically last prompt rather
    than the longest, and what then is too long is truncated. Spans are decoded over all tokens: those that begin or end
    on a special token come out empty or from the start of the text, and every prompt can be answered from itself.
    What comes first in the first piece that is answered decides whether a question is a classification for all texts,
    and what comes first in each piece is its class. PaddleNLP's order is that of an unordered set; here what lies in
    the prompt goes first, the likeliest before the others.
    """

    def read(self, questions: Sequence[Question]) -> Reading:
        groups: dict[int, list[int]] = {}
        for index, question in enumerate(questions):
            if self.request.texts[question.text].strip():
                groups.setdefault(id(question.node), []).append(index)
        prompts = [question.prompt(self.request.language) for question in questions]
        pieces: list[list[str]] = [[] for _ in questions]
        for group in groups.values():
            room = self.request.max_length - len(max(prompts[index] for index in group)) - 3
            for index in group:
                pieces[index] = _slices(self.request.texts[questions[index].text], room)
        pairs = [(prompt, piece) for prompt, cut in zip(prompts, pieces, strict=True) for piece in cut]
        encodings: list[Encoding] = []
        if pairs:
            first, second = map(list, zip(*pairs, strict=True))
            encodings = self.encoder.tokenizer.encode_batch(
                first, second, max_length=self.request.max_length, upstream_offsets=True
            )
        features = [model_inputs(encoding, self.inputs) for encoding in encodings]
        outputs = (yield features) if features else []
        answers_of = iter(
            self._entries(prompt, piece, encoding, output)
            for (prompt, piece), encoding, output in zip(pairs, encodings, outputs, strict=True)
        )
        found = [
            [self.arrange(question, next(answers_of)) for _ in cut]
            for question, cut in zip(questions, pieces, strict=True)
        ]
        answers: list[list[Answer]] = [[] for _ in questions]
        for group in groups.values():
            firsts = (part[0] for index in group for part in found[index] if part)
            is_class = "start" not in next(firsts, {"start": 0})
            for index in group:
                if is_class:
                    answers[index] = vote((part[0]["text"], part[0]["probability"]) for part in found[index] if part)
                else:
                    answers[index] = _join(found[index], pieces[index])
        return answers

    def arrange(self, question: Question, entries: list[Answer]) -> list[Answer]:
        """Entries of one piece in the order that decides what a classification is and which class it has."""
        return sorted(entries, key=lambda entry: (1, 0.0) if "start" in entry else (0, -entry["probability"]))

    def _entries(self, prompt: str, piece: str, encoding: Encoding, output: Outputs) -> list[Answer]:
        """Entries of one piece, with offsets in the piece."""
        offsets = encoding.offsets.copy()
        own = tokens_of(encoding, 0)
        offsets[own] -= offsets[own.stop - 1, 1] + 1  # what lies in the prompt becomes negative
        pairs = pair(output["start_prob"], output["end_prob"], self.request.threshold)
        entries: list[Answer] = []
        spans = zip(offsets[pairs.first, 0].tolist(), offsets[pairs.last, 1].tolist(), strict=True)
        for (start, end), probability in zip(spans, pairs.probability.tolist(), strict=True):
            if end < 0:
                shift = len(prompt) + 1
                entries.append({"text": prompt[start + shift : end + shift], "probability": probability})
            elif start >= 0:
                entries.append({"text": piece[start:end], "start": start, "end": end, "probability": probability})
        return entries


def _slices(text: str, size: int) -> list[str]:
    """The text in pieces of `size` characters; nothing is read if none is left for it."""
    return [text[start : start + size] for start in range(0, len(text), size)] if size > 0 else []


def _join(parts: Sequence[list[Answer]], pieces: Sequence[str]) -> list[Answer]:
    """Entries of all pieces of a text, with offsets in the text."""
    joined = []
    base = 0
    for part, piece in zip(parts, pieces, strict=True):
        for entry in part:
            if "start" in entry:
                entry["start"] += base
                entry["end"] += base
            joined.append(entry)
        base += len(piece)
    return joined
