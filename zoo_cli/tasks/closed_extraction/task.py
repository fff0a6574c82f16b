"""Extraction under a closed schema with scores of pairs of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.conversion import as_annotated
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.closed_extraction.decoding import answers_of, condense, gather, locate, pairs_of
from zoo_cli.tasks.closed_extraction.gold import Answers, gold_answers, items, schema_of
from zoo_cli.tasks.closed_extraction.layout import Layout, Slot
from zoo_cli.tasks.closed_extraction.spec import ClosedExtractionOptions
from zoo_cli.tasks.extraction.metrics import GraphMetrics, without_classes
from zoo_cli.tasks.extraction.schema import parse_schema
from zoo_cli.tasks.features import Window, model_inputs, tokens_of, windows
from zoo_cli.tasks.spo.decoding import logit
from zoo_cli.tasks.token_classification.tags import ChunkCounts
from zoo_cli.tokenizers.base import Encoding, Tokenizer

NONE = -1
"""Fills up labels."""
LABELS = ("entity_labels", "head_labels", "tail_labels")


@dataclass(frozen=True, slots=True)
class ClosedRequest:
    """A checked request.

    Args:
        texts: the texts.
        many: the answer is a list with a result for each text, else the result of the only text.
        slots: what to answer.
        threshold: logit that finds must exceed.
    """

    texts: list[str]
    many: bool
    slots: tuple[Slot, ...]
    threshold: float


class ClosedExtractionTask(Task[AnnotatedText]):
    """Everything that a schema asks for, found in one pass: entities by GlobalPointer, relations, events and opinions
    by GPLinker, as PaddleNLP's students of UIE do it (its `data_distill` and `closed_domain` examples).

    The model scores each pair of tokens as first and last token of each kind of span: one kind for every name of the
    schema, and one for every option of a class. For every name below another one it scores pairs of first tokens and
    pairs of last tokens as those of a relation. Tails have kinds of their own by relation, so that one encoder pass
    tells ``人物`` from the ``人物`` of a ``作品``.

    The probability of a span is the sigmoid of its score, that of a relation's tail the product of both ends'.
    PaddleNLP gives the share among all spans that end at the same token, which says nothing of whether there is one.

    Labels of features are `entity_labels`, `head_labels` and `tail_labels`, int64 [T, 3] with kind and tokens; the
    latter two only if the schema has relations. Answers are those of `zoo_cli.tasks.extraction`.
    """

    name = "closed_extraction"
    options: ClosedExtractionOptions

    def __init__(self, options: ClosedExtractionOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": tokenizer.pad_token_id} | dict.fromkeys(LABELS, NONE)
        self._layout: Layout | None = None
        self.output_names = ("entity_logits",)
        self._take_schema()

    def _take_schema(self) -> None:
        """What follows from the schema, as soon as there is one."""
        if self.options.schema is None:
            return
        self._layout = layout = Layout(parse_schema(self.options.schema))
        pairs = ("length", "length")
        self.axes = {"entity_logits": (len(layout.kinds), *pairs)}
        if layout.links:
            self.output_names = ("entity_logits", "head_logits", "tail_logits")
            self.axes |= dict.fromkeys(self.output_names[1:], (len(layout.links), *pairs))

    @property
    def layout(self) -> Layout:
        """The schema in numbers.

        Raises:
            DataError: neither the options nor `fit` gave one (`no-schema`).
        """
        if self._layout is None:
            raise DataError("no-schema", "the schema is not known", fix="set task.schema, or train first")
        return self._layout

    def fit(self, examples: Iterable[Any]) -> None:
        """Take the schema from the training examples where the options have none.

        Raises:
            DataError: nothing of what the schema asks for is annotated (`other-labels`).
        """
        texts = list(self.adapt(examples, training=False))
        if self._layout is None:
            self.options = self.options.model_copy(update={"schema": schema_of(texts, self.options.separator)})
            self._take_schema()
        if texts and not any(self.gold(text) for text in texts):
            raise DataError(
                "other-labels",
                "none of the {count} training texts has anything that the schema asks for",
                fix="the labels of the data are {labels}; rename them with data.labels, or change task.schema",
                count=len(texts),
                labels=", ".join(sorted({each.label for text in texts for each in text.entities})) or "none",
            )

    def model_config(self) -> dict[str, Any]:
        kinds = self.layout.kinds
        return {"num_labels": len(kinds), "id2label": dict(enumerate(kinds)), "num_links": len(self.layout.links)}

    # -- batches ----------------------------------------------------------------------------------------------------

    def unstack(self, outputs: Mapping[str, np.ndarray], lengths: Sequence[int]) -> list[Outputs]:
        threshold = logit(self.options.threshold)
        return [
            condense({name: values[row, :, :length, :length] for name, values in outputs.items()}, threshold)
            for row, length in enumerate(lengths)
        ]

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[Any], training: bool) -> Iterator[AnnotatedText]:
        """Tagged words and texts with a class become annotated texts."""
        yield from map(as_annotated, examples)

    def gold(self, example: AnnotatedText) -> Answers:
        """The right result of a text; see `gold_answers`."""
        return gold_answers(example, self.layout.slots, self.options.separator)

    def _read(self, text: str) -> tuple[list[Window], np.ndarray]:
        return self._windows(self.tokenizer.encode_batch([text])[0])

    def _windows(self, encoding: Encoding) -> tuple[list[Window], np.ndarray]:
        """What the model reads, nothing of a text without tokens, and the offsets of all tokens, int64 [T, 2]."""
        options = self.options
        own = tokens_of(encoding, 0)
        if own.start == own.stop:
            return [], encoding.offsets[own]
        stretches = windows(encoding, 0, options.max_length, options.stride or options.max_length // 2)
        return stretches, encoding.offsets[own]

    def request_of(self, example: AnnotatedText) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: AnnotatedText, training: bool) -> list[Feature]:
        """One feature for each window, labelled with what is whole in it.

        Raises:
            DataError: an annotation does not fit its text.
        """
        stretches, offsets = self._read(example.text)
        targets = locate(self.gold(example), offsets, self.layout)
        count = len(self.output_names)
        features = []
        for window in stretches:
            triples = pairs_of(window, targets)
            labels = {
                name: np.array(pairs or [(NONE, NONE, NONE)], np.int64)
                for name, pairs in zip(LABELS[:count], triples[:count], strict=True)
            }
            features.append(model_inputs(window.encoding, self.inputs) | labels)
        return features

    def metrics(self) -> ClosedMetrics:
        return ClosedMetrics(self)

    def read_text(self, text: str, outputs: Sequence[Outputs]) -> Answers:
        """The whole result of a text.

        Args:
            text: the text.
            outputs: of its features.
        """
        stretches, offsets = self._read(text)
        finds = gather(stretches, outputs, self.layout, logit(self.options.threshold))
        return answers_of(text, offsets, finds, self.layout.slots)

    def score_answers(self, examples: Sequence[Any], answer: Callable[[list[Any]], Iterable[Any]]) -> dict[str, Any]:
        """Entities and relations of whole results by the scorer of UIE, see `GraphMetrics`."""
        texts = [without_classes(text, self.options.separator) for text in self.adapt(examples, training=False)]
        scorer = GraphMetrics()
        for text, found in zip(texts, answer([self.request_of(text) for text in texts]), strict=True):
            scorer.add(text, found)
        return {"end_to_end": scorer.result()}

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> ClosedRequest:
        """Check a text, or an object ``{"text": ..., "schema": ..., ...}``.

        Args:
            value: a string; or an object with `text` (a string, or a list of strings to be answered with a list), and
                where less is wanted than the model can do `schema`, a part of its schema, and `position_threshold`.

        Raises:
            DataError: a field is missing (`no-text`) or wrong (`bad-request`, `bad-schema`), or the schema has a name
                that the model was not made for (`outside-schema`).
        """
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            raise DataError("bad-request", "a request is a text or an object with the key text")
        text = value.get("text")
        if text is None:
            raise DataError("no-text", "the request has no text", fix='give it as {{"text": "..."}}')
        many = isinstance(text, list)
        texts = text if many else [text]
        if not all(isinstance(item, str) for item in texts):
            raise DataError("bad-request", "text must be a string or a list of strings")
        slots = self.layout.slots
        if value.get("schema") is not None:
            slots = self.layout.select(parse_schema(value["schema"]))
        return ClosedRequest(texts, many, slots, logit(self._threshold(value)))

    def _threshold(self, value: dict[str, Any]) -> float:
        least = self.options.threshold
        threshold = value.get("position_threshold")
        if threshold is None:
            return least
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not least <= threshold <= 1:
            raise DataError(
                "bad-request",
                "position_threshold must be a number from {least:g} to 1, not {value!r}",
                least=least,
                value=threshold,
            )
        return float(threshold)

    def steps(self, request: ClosedRequest) -> Steps:
        """Answer in one step; see `zoo_cli.tasks.extraction.task.ExtractionTask.steps` for the form of the answer."""
        return self.conversations([request])[0]

    def conversations(self, requests: Sequence[ClosedRequest]) -> list[Steps]:
        encodings = iter(self.tokenizer.encode_batch([text for request in requests for text in request.texts]))
        return [self._answer(request, [next(encodings) for _ in request.texts]) for request in requests]

    def _answer(self, request: ClosedRequest, encodings: Sequence[Encoding]) -> Steps:
        read = [self._windows(encoding) for encoding in encodings]
        features = [model_inputs(window.encoding, self.inputs) for stretches, _ in read for window in stretches]
        outputs = iter((yield features) if features else [])
        results = []
        for text, (stretches, offsets) in zip(request.texts, read, strict=True):
            own = [next(outputs) for _ in stretches]
            finds = gather(stretches, own, self.layout, request.threshold)
            results.append(answers_of(text, offsets, finds, request.slots))
        return results if request.many else results[0]


class ClosedMetrics(Metrics[AnnotatedText]):
    """Precision, recall and F1 of all finds: a find is right when its name, its own place and those of the spans that
    it belongs to are. `labels` has the scores of each name, e.g. ``人物.任职于``.

    Args:
        task: of the model.
    """

    def __init__(self, task: ClosedExtractionTask) -> None:
        self.task = task
        self._counts = ChunkCounts()

    def judge(self, example: AnnotatedText, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        return self._compared(example, self.task.read_text(example.text, outputs))

    def record(self, verdict: Any) -> None:
        self._counts.add(*verdict)

    def add_answers(self, example: AnnotatedText, answers: Answers) -> None:
        """Count one gold example and a result, of this model or of UIE with the same schema."""
        self.record(self._compared(example, answers))

    def _compared(self, example: AnnotatedText, answers: Answers) -> Any:
        slots = self.task.layout.slots
        return set(items(self.task.gold(example), slots)), set(items(answers, slots))

    def result(self) -> dict[str, Any]:
        return self._counts.result()
