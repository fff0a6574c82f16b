"""Tagging of words or characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import add
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.data.examples import AnnotatedText, TaggedTokens
from zoo_cli.data.tagged import joiner
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import IGNORE_INDEX, Window, cover, filler, model_inputs, tokens_of, windows
from zoo_cli.tasks.scores import softmax
from zoo_cli.tasks.token_classification.spec import Scheme, TokenClassificationOptions
from zoo_cli.tasks.token_classification.tags import (
    Chunk,
    ChunkCounts,
    canonical,
    chunks,
    complete_tags,
    make_tags,
    split_text,
)
from zoo_cli.tokenizers.base import Encoding, Tokenizer

Tagged = TaggedTokens | AnnotatedText


@dataclass(slots=True)
class _Words:
    """Encoded words.

    Args:
        windows: what the model reads.
        words: index of the word of each token of the text, int64 [T].
        first: index of the first token of each word that has one, int64 [K].
    """

    windows: list[Window]
    words: np.ndarray
    first: np.ndarray


class TokenClassificationTask(Task[Tagged]):
    """Tags for words, and entities from tags.

    Training data are tagged tokens, or texts with entities (of entities that overlap the longest is learnt). The first
    piece of a word bears its tag. A long text is read in windows that overlap, and each token's tag comes from the
    window in which it has the most context; the others ignore it in the loss, too.

    Answers are ``{"entities": [{"text", "label", "start", "end", "score"}, ...]}``: offsets are in characters of a
    text, or in tokens of a list of tokens; the score is the mean probability of the entity's tags.
    """

    name = "token_classification"
    output_names: tuple[str, ...] = ("logits",)
    sequence_outputs = frozenset({"logits"})
    options: TokenClassificationOptions

    def __init__(self, options: TokenClassificationOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": filler(tokenizer), "labels": IGNORE_INDEX}
        self._set_tags()

    def _set_tags(self) -> None:
        self._tags = [canonical(label) for label in self.options.labels or ()]
        self._ids = {tag: index for index, tag in enumerate(self._tags)}
        self._scheme: Scheme = "bioes" if any(tag[0] in "ES" for tag in self._tags) else "bio"
        self._strict = self._scheme if self.options.strict else None

    @property
    def tags(self) -> list[str]:
        """Tags by id, in the letters B, I, E, S, O.

        Raises:
            UsageError: neither the options nor `fit` gave them (`no-labels`).
        """
        if not self._tags:
            raise UsageError("no-labels", "the tags are not known", fix="name them in task.labels, or train first")
        return self._tags

    def fit(self, examples: Iterable[Tagged]) -> None:
        """Take the entity types, the scheme, and how texts are split from the training examples."""
        if self.options.labels is not None and self.options.split is not None:
            return
        types: set[str] = set()
        prefixes = {"B", "I", *(("E", "S") if self.options.scheme == "bioes" else ())}
        tagged, single = False, True
        for example in examples:
            if isinstance(example, AnnotatedText):
                types.update(entity.label for entity in example.entities)
                continue
            found = set(self._gold_tags(example))
            if not tagged:
                tagged, prefixes = True, {"B", "I"}
            prefixes.update(tag[0] for tag in found if tag != "O")
            types.update(tag[2:] for tag in found if tag != "O")
            single = single and all(len(token) == 1 for token in example.tokens)
        labels = self.options.labels or complete_tags(types, "BIES" if prefixes & {"E", "S"} else "BI")
        if len(labels) < 2:
            raise DataError("too-few-labels", "the training data have no entity", fix="name the tags in task.labels")
        split = self.options.split or ("characters" if tagged and single else "words")
        self.options = self.options.model_copy(update={"labels": labels, "split": split})
        self._set_tags()

    def model_config(self) -> dict[str, Any]:
        labels = self.options.labels or self.tags
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {name: index for index, name in enumerate(labels)},
        }

    # -- reading ----------------------------------------------------------------------------------------------------

    def _gold_tags(self, example: TaggedTokens) -> list[str]:
        """Canonical tags of an example.

        Raises:
            DataError: there are none, too few or too many, or one is of no scheme.
        """
        if example.tags is None:
            raise DataError("no-label", "the tokens have no tags", at=example.source)
        if len(example.tags) != len(example.tokens):
            raise DataError(
                "tag-count",
                "{tokens} tokens have {tags} tags",
                at=example.source,
                tokens=len(example.tokens),
                tags=len(example.tags),
            )
        try:
            return [canonical(tag) for tag in example.tags]
        except ValueError as error:
            template = "{tag!r} is no tag of BIO, BIOES or BMES"
            raise DataError("bad-tag", template, at=example.source, tag=str(error)) from error

    def _split(self, text: str) -> tuple[list[str], np.ndarray]:
        """The words of a raw text and their offsets, int64 [W, 2]."""
        spans = split_text(text, self.options.split or "words")
        return [text[start:end] for start, end in spans], np.array(spans, np.int64).reshape(-1, 2)

    def _encode(self, words: Sequence[str]) -> _Words:
        encoding, word_ids = self.tokenizer.encode_words([words])[0]
        owners = word_ids[tokens_of(encoding, 0)]
        return _Words(self._windows(encoding), owners, np.unique(owners, return_index=True)[1])

    def _windows(self, encoding: Encoding) -> list[Window]:
        options = self.options
        return windows(encoding, 0, options.max_length, options.stride or options.max_length // 2)

    def _read(self, outputs: Sequence[Outputs], encoded: _Words) -> list[tuple[Chunk, float]]:
        """Entities in words and their scores, from the outputs of each window."""
        if not len(encoded.first):
            return []
        logits = np.concatenate(
            [output["logits"][window.core] for output, window in zip(outputs, encoded.windows, strict=True)]
        )
        scores = softmax(logits[encoded.first])
        best, sure = scores.argmax(axis=-1).tolist(), scores.max(axis=-1).tolist()
        # A word without tokens (white space, control characters) is passed over: it neither ends an entity nor is one.
        word = encoded.words[encoded.first]
        tags = self.tags
        return [
            ((label, int(word[start]), int(word[end - 1]) + 1), sum(sure[start:end]) / (end - start))
            for label, start, end in chunks([tags[index] for index in best], self._strict)
        ]

    # -- training and evaluation ------------------------------------------------------------------------------------

    def request_of(self, example: Tagged) -> dict[str, Any]:
        return {"text": example.text} if isinstance(example, AnnotatedText) else {"tokens": example.tokens}

    def encode(self, example: Tagged, training: bool) -> list[Feature]:
        if isinstance(example, AnnotatedText):
            words, places = self._split(example.text)
            spans = [(entity.label, *cover(places, entity.start, entity.end)) for entity in example.entities]
            gold = make_tags(len(words), spans, self._scheme)
        else:
            words, gold = example.tokens, self._gold_tags(example)
        if not words:
            return []
        encoded = self._encode(words)
        labels = self._token_labels(encoded, self._label_ids(gold, training, example.source))
        features = []
        for window in encoded.windows:
            row = np.full(len(window.encoding.ids), IGNORE_INDEX, np.int64)
            row[window.core] = labels[window.core_start : window.core_stop]
            features.append({**model_inputs(window.encoding, self.inputs), "labels": row})
        return features

    def _label_ids(self, gold: Sequence[str], training: bool, at: Location | None) -> np.ndarray:
        """Id of each word's tag, int64 [W]; one that the task does not know is ignored outside of training."""
        ids, tags = self._ids, self.tags
        unknown = sorted(set(gold) - ids.keys()) if training else []
        if unknown:
            raise DataError(
                "unknown-label",
                "{tag!r} is not among the tags",
                at=at,
                fix="add it to task.labels; they are {tags}",
                tag=unknown[0],
                tags=", ".join(tags),
            )
        return np.array([ids.get(tag, IGNORE_INDEX) for tag in gold], np.int64)

    def _token_labels(self, encoded: _Words, ids: np.ndarray) -> np.ndarray:
        """Label of each token of the text, int64 [T]."""
        if not self.options.label_all_pieces:
            labels = np.full(len(encoded.words), IGNORE_INDEX, np.int64)
            labels[encoded.first] = ids[encoded.words[encoded.first]]
            return labels
        # Further pieces of a word that begins an entity are inside of it.
        inside = np.array(
            [self._ids.get(f"I{tag[1:]}", index) if tag[0] in "BS" else index for index, tag in enumerate(self.tags)]
        )
        labels = ids[encoded.words]
        further = np.ones(len(labels), bool)
        further[encoded.first] = False
        further &= labels != IGNORE_INDEX
        labels[further] = inside[labels[further]]
        return labels

    def metrics(self) -> TokenClassificationMetrics:
        return TokenClassificationMetrics(self)

    def score(self, example: Tagged, outputs: Sequence[Outputs]) -> tuple[list[Chunk], list[Chunk]]:
        """Gold and predicted entities of an example: in characters of a text, or in tokens."""
        if isinstance(example, AnnotatedText):
            words, places = self._split(example.text)
            found = self._read(outputs, self._encode(words)) if words else []
            predicted = [(label, int(places[start, 0]), int(places[end - 1, 1])) for (label, start, end), _ in found]
            return [(entity.label, entity.start, entity.end) for entity in example.entities], predicted
        found = self._read(outputs, self._encode(example.tokens)) if example.tokens else []
        return chunks(self._gold_tags(example), self._strict), [chunk for chunk, _ in found]

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> str | list[str]:
        fields = {"text": value} if isinstance(value, str) else value
        if isinstance(fields, dict):
            if isinstance(fields.get("text"), str):
                return fields["text"]
            tokens = fields.get("tokens")
            if isinstance(tokens, list) and all(isinstance(token, str) for token in tokens):
                return tokens
        raise DataError("bad-request", "expected a text, or an object with 'text' or a list of strings 'tokens'")

    def steps(self, request: str | list[str]) -> Steps:
        is_text = isinstance(request, str)
        words, places = self._split(request) if isinstance(request, str) else (request, np.empty((0, 2), np.int64))
        if not words:
            return {"entities": []}
        encoded = self._encode(words)
        outputs = yield from self.read([model_inputs(window.encoding, self.inputs) for window in encoded.windows])
        entities = []
        for (label, first, last), score in self._read(outputs, encoded):
            if is_text:
                start, end = int(places[first, 0]), int(places[last - 1, 1])
                text = request[start:end]
            else:
                start, end, tokens = first, last, request[first:last]
                text = "".join(map(add, joiner(tokens), tokens))
            entities.append({"text": text, "label": label, "start": start, "end": end, "score": score})
        return {"entities": entities}


class TokenClassificationMetrics(Metrics[Tagged]):
    """Precision, recall and F1 of whole entities, as seqeval computes them.

    Entities of annotated texts are compared by their characters, so that what tags cannot express (an entity inside of
    another, one that ends within a word) counts as missed.
    """

    def __init__(self, task: TokenClassificationTask) -> None:
        self.task = task
        self._counts = ChunkCounts()

    def judge(self, example: Tagged, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        return self.task.score(example, outputs)

    def record(self, verdict: Any) -> None:
        self._counts.add(*verdict)

    def result(self) -> dict[str, Any]:
        return self._counts.result()
