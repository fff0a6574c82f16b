"""Classification and regression of long documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import TextExample
from zoo_cli.tasks.base import Feature, Outputs, Steps
from zoo_cli.tasks.document_classification.html import text_of_html
from zoo_cli.tasks.document_classification.spec import DocumentClassificationOptions
from zoo_cli.tasks.documents import MEMORIES, DocumentTask, framed
from zoo_cli.tasks.features import model_inputs, windows
from zoo_cli.tasks.sequence_classification.task import SequenceClassificationMetrics, SequenceClassificationTask


class DocumentClassificationTask(DocumentTask, SequenceClassificationTask):
    """One class, several classes, or a number, for a document of any length.

    A segment is a stretch of the text, [SEP], padding, and [CLS], whose output is classified. Every segment is learnt
    from with the document's label. The answer, of the form that sequence classification gives, is that of the mean of
    the segments' probabilities (of a regression: of their numbers).
    """

    name = "document_classification"
    output_names = ("logits", MEMORIES)
    fixed = frozenset({"labels", MEMORIES})
    padding_before_last = True
    options: DocumentClassificationOptions

    def _segments(self, text: str) -> list[Feature]:
        options, tokenizer = self.options, self.tokenizer
        if options.strip_html:
            text = text_of_html(text)
        encoding = tokenizer.encode_batch([text], add_special_tokens=False)[0]
        whole = framed(encoding, tokenizer.sep_token_id, tokenizer.cls_token_id)
        stretches = windows(whole, 0, options.max_length, self.stride(options.stride))
        return [self.filled(model_inputs(window.encoding, self.inputs)) for window in stretches]

    def encode(self, example: TextExample, training: bool) -> list[Feature]:
        if example.text_pair is not None:
            raise DataError("text-pair", "a document has no second text", at=example.source)
        label = self._label(example, training)
        return [{**segment, "labels": label} for segment in self._segments(example.text)]

    def request(self, value: Any) -> TextExample:
        example = super().request(value)
        if example.text_pair is not None:
            raise DataError("bad-request", "a document has no 'text_pair'")
        return example

    def steps(self, request: TextExample) -> Steps:
        outputs = yield from self.read(self._segments(request.text))
        return self.answer(self.merged(outputs))

    def merged(self, outputs: Sequence[Outputs]) -> np.ndarray:
        """Logits whose probabilities are the means of those of all segments, float64 [L]."""
        logits = np.stack([output["logits"] for output in outputs]).astype(np.float64)
        if self.options.kind == "regression":
            return logits.mean(axis=0)
        probabilities = self.probabilities(logits).mean(axis=0).clip(np.finfo(np.float64).tiny, 1 - 1e-16)
        odds = 1 - probabilities if self.options.kind == "multi_label" else 1.0
        return np.log(probabilities / odds)

    def metrics(self) -> DocumentClassificationMetrics:
        return DocumentClassificationMetrics(self)


class DocumentClassificationMetrics(SequenceClassificationMetrics):
    """The scores of sequence classification, for documents."""

    task: DocumentClassificationTask

    def judge(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[Any, np.ndarray]:
        return super().judge(example, features, [{"logits": self.task.merged(outputs)}])
