"""Language modelling with GPT: Language Models are Unsupervised Multitask Learners, Radford et al. 2019."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.data.examples import TextExample
from zoo_cli.decoding.engine import Prompt
from zoo_cli.tasks.base import Feature, Metrics, Outputs
from zoo_cli.tasks.features import IGNORE_INDEX
from zoo_cli.tasks.generative import GenerativeTask, parse_request, special_ids_of
from zoo_cli.tasks.language_modeling.spec import LanguageModelingInput, LanguageModelingOptions
from zoo_cli.tasks.language_modeling.wikitext import detokenize
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.bpe import GPTTokenizer
from zoo_cli.tokenizers.characters import is_cjk
from zoo_cli.tokenizers.gpt_chinese import GPTChineseTokenizer

_AT_ONCE = 256
"""Documents that are tokenized together."""


@dataclass(slots=True)
class Block:
    """A piece of the training text.

    Args:
        ids: its tokens and the one after them, int64 [S + 1].
        source: where its first token is from.
    """

    ids: np.ndarray
    source: Location | None


class LanguageModelingTask(GenerativeTask[Any]):
    """Texts continued. Answers are `zoo_cli.tasks.decoding_options.GenerationAnswer`.

    A feature has `labels` int64 [S]: the token after each token, -100 where it does not count.
    """

    name = "language_modeling"
    output_names = ("label_losses", "label_hits")
    sequence_outputs = frozenset(output_names)
    options: LanguageModelingOptions

    def __init__(self, options: LanguageModelingOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        if not isinstance(tokenizer, GPTTokenizer | GPTChineseTokenizer):
            raise UsageError(
                "wrong-tokenizer",
                "language modelling needs a tokenizer of GPT, not {name}",
                name=type(tokenizer).__name__,
            )
        self._end = tokenizer.eos_token_id
        self.padding = {"input_ids": self._end, "labels": IGNORE_INDEX}

    @property
    def special_ids(self) -> dict[str, int]:
        found = special_ids_of(self.tokenizer)
        return {name: found[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id") if name in found}

    def model_config(self) -> dict[str, Any]:
        # PaddleNLP's default of 0 would leave out one token of the vocabulary.
        return {**super().model_config(), "ignore_index": IGNORE_INDEX}

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[TextExample], training: bool) -> Iterator[Any]:
        """Training: blocks of all documents. Evaluation: documents, joined where the options say so."""
        if training:
            yield from self._blocks(examples)
        elif self.options.join_documents and self.options.evaluation == "perplexity":
            for _, group in groupby(examples, key=lambda example: example.source and example.source.file):
                parts = list(group)
                yield replace(parts[0], text="".join(part.text for part in parts))
        else:
            yield from examples

    def _blocks(self, examples: Iterable[TextExample]) -> Iterator[Block]:
        length = self.options.max_length
        waiting = np.zeros(0, np.int64)
        source: Location | None = None
        for some in _chunks(examples, _AT_ONCE):
            for example, ids in zip(some, self._tokens([example.text for example in some]), strict=True):
                source = source if len(waiting) else example.source
                waiting = np.concatenate([waiting, ids, [self._end]])
                while len(waiting) > length:
                    yield Block(waiting[: length + 1], source)
                    waiting, source = waiting[length:], example.source
        if len(waiting) > 1:
            yield Block(waiting, source)

    def _tokens(self, texts: Sequence[str]) -> list[np.ndarray]:
        if self.options.detokenizer == "wikitext":
            texts = [detokenize(text) for text in texts]
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def request_of(self, example: TextExample) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: Block | TextExample, training: bool) -> list[Feature]:
        if isinstance(example, Block):
            return [{"input_ids": example.ids[:-1], "labels": example.ids[1:]}]
        if self.options.evaluation == "cloze":
            return [self._cloze(example)]
        (ids,) = self._tokens([example.text])
        if not self.options.join_documents:
            ids = np.concatenate([[self._end], ids, [self._end]])
        return self._windows(ids)

    def _windows(self, ids: np.ndarray) -> list[Feature]:
        """Windows over a text; each token but the first is a label in exactly one."""
        length, stride = self.options.max_length, self.options.stride or self.options.max_length
        features = []
        for start in range(0, max(1, len(ids) - 1 - length + stride), stride):
            inputs, labels = ids[start : start + length], ids[start + 1 : start + length + 1].copy()
            if start:
                labels[: length - stride] = IGNORE_INDEX
            features.append({"input_ids": inputs[: len(labels)], "labels": labels})
        return features

    def _cloze(self, example: TextExample) -> Feature:
        """The last word as the labels, the text before it as context (Paperno et al., 2016)."""
        words = example.text.split()
        if not words:
            raise DataError("empty-text", "the text has no last word", at=example.source)
        context = example.text[: example.text.rindex(words[-1])].strip()
        before, word = self._tokens([context, f" {words[-1]}" if context else words[-1]])
        before = before if len(before) else np.array([self._end])
        ids = np.concatenate([before, word])[-self.options.max_length - 1 :]
        labels = ids[1:].copy()
        labels[: -len(word)] = IGNORE_INDEX
        return {"input_ids": ids[:-1], "labels": labels}

    def metrics(self) -> Metrics[TextExample]:
        return ClozeScores() if self.options.evaluation == "cloze" else Perplexity(self.options)

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> LanguageModelingInput:
        return parse_request(LanguageModelingInput, value)

    def prompt(self, request: LanguageModelingInput) -> tuple[Prompt, bool]:
        room = self.options.max_length - self.decoding(request.decoding).max_new_tokens
        (encoding,) = self.tokenizer.encode_batch([request.text], add_special_tokens=False)
        ids = encoding.ids if len(encoding.ids) else np.array([self._end], np.int64)
        return {"input_ids": ids[-room:]}, len(ids) > room


class Perplexity(Metrics[TextExample]):
    """`perplexity` of a token, and `word_perplexity` of a word, which does not depend on the tokenizer: the "adjusted"
    perplexity of the published figures for WikiText. Words are parted by spaces; a Chinese character is one by itself.

    Args:
        options: of the task.
    """

    def __init__(self, options: LanguageModelingOptions) -> None:
        self._first_is_given = options.join_documents
        self._loss, self._tokens, self._words = 0.0, 0, 0

    def judge(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[float, int, int]:
        loss = sum(float(output["label_losses"].astype(np.float64).sum()) for output in outputs)
        tokens = sum(int((feature["labels"] != IGNORE_INDEX).sum()) for feature in features)
        return loss, tokens, _count_words(example.text) - self._first_is_given

    def record(self, verdict: tuple[float, int, int]) -> None:
        loss, tokens, words = verdict
        self._loss += loss
        self._tokens += tokens
        self._words += words

    def result(self) -> dict[str, float]:
        return {
            "perplexity": _exp(self._loss / max(1, self._tokens)),
            "word_perplexity": _exp(self._loss / max(1, self._words)),
        }


class ClozeScores(Metrics[TextExample]):
    """`accuracy`: the share of texts all tokens of whose last word are the likeliest ones."""

    def __init__(self) -> None:
        self._right = self._texts = 0

    def judge(self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]) -> bool:
        counts = features[0]["labels"] != IGNORE_INDEX
        return bool(outputs[0]["label_hits"][counts].all())

    def record(self, verdict: bool) -> None:
        self._right += verdict
        self._texts += 1

    def result(self) -> dict[str, float]:
        return {"accuracy": self._right / max(1, self._texts)}


def _count_words(text: str) -> int:
    # By single spaces, so that line ends between them count as in the published figures.
    return sum(max(1, sum(map(is_cjk, piece))) for piece in text.strip().split(" "))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _chunks(examples: Iterable[TextExample], size: int) -> Iterator[list[TextExample]]:
    chunk: list[TextExample] = []
    for example in examples:
        chunk.append(example)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
