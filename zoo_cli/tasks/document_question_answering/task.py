"""Extractive reading comprehension of long documents."""

from __future__ import annotations

import numpy as np

from zoo_cli.data.examples import QuestionExample
from zoo_cli.tasks.base import Feature
from zoo_cli.tasks.document_question_answering.spec import DocumentQuestionAnsweringOptions
from zoo_cli.tasks.documents import MEMORIES, DocumentTask, framed
from zoo_cli.tasks.features import Window, cut, windows
from zoo_cli.tasks.question_answering.task import QuestionAnsweringTask


class DocumentQuestionAnsweringTask(DocumentTask, QuestionAnsweringTask):
    """The piece of a document of any length that answers a question; answers are those of question answering.

    A segment is [CLS], a stretch of the text, [SEP], the question, [SEP], and padding.
    """

    name = "document_question_answering"
    output_names = ("start_logits", "end_logits", MEMORIES)
    options: DocumentQuestionAnsweringOptions

    def _windows(self, question: str, context: str) -> tuple[list[Window], np.ndarray]:
        options, sep = self.options, self.tokenizer.sep_token_id
        text, asked = self.tokenizer.encode_batch([context, question], add_special_tokens=False)
        asked = cut(asked, slice(options.max_question_length))
        whole = framed(self.tokenizer.cls_token_id, text, sep, asked, sep)
        return windows(whole, 0, options.max_length, options.doc_stride), text.offsets

    def encode(self, example: QuestionExample, training: bool) -> list[Feature]:
        return [self.filled(feature) for feature in super().encode(example, training)]
