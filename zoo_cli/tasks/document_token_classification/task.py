"""Tagging of long documents."""

from __future__ import annotations

from zoo_cli.tasks.base import Feature
from zoo_cli.tasks.document_token_classification.spec import DocumentTokenClassificationOptions
from zoo_cli.tasks.documents import MEMORIES, DocumentTask
from zoo_cli.tasks.features import Window, windows
from zoo_cli.tasks.token_classification.task import Tagged, TokenClassificationTask
from zoo_cli.tokenizers.base import Encoding


class DocumentTokenClassificationTask(DocumentTask, TokenClassificationTask):
    """Tags and entities of a document of any length, as token classification gives them.

    A segment is [CLS], a stretch of the text, [SEP], and padding. Segments overlap, and each token's tag comes from the
    one in which it has the most context.
    """

    name = "document_token_classification"
    output_names = ("logits", MEMORIES)
    options: DocumentTokenClassificationOptions

    def _windows(self, encoding: Encoding) -> list[Window]:
        return windows(encoding, 0, self.options.max_length, self.stride(self.options.stride))

    def encode(self, example: Tagged, training: bool) -> list[Feature]:
        return [self.filled(feature) for feature in super().encode(example, training)]
