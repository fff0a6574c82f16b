"""Multiple choice about long documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.data.reading import BLANK
from zoo_cli.tasks.base import Axes, Feature, Outputs
from zoo_cli.tasks.document_multiple_choice.spec import DocumentMultipleChoiceOptions
from zoo_cli.tasks.documents import MEMORIES, DocumentTask, framed
from zoo_cli.tasks.features import model_inputs, windows
from zoo_cli.tasks.multiple_choice.task import FILLER, MultipleChoiceTask
from zoo_cli.tasks.scores import softmax
from zoo_cli.tokenizers.base import Encoding


class DocumentMultipleChoiceTask(DocumentTask, MultipleChoiceTask):
    """The right one of several answers to a question about a document of any length; answers are those of multiple
    choice.

    A segment is [CLS], a stretch of the text, [SEP], the question, [SEP], a choice, [SEP], and padding; what is behind
    the text has type 1. A feature [C, S] holds the segments of all C choices, each of which has a memory of its own, so
    its number is fixed: every question is filled up to `num_choices`. Every segment is learnt from; the answer is that
    of the mean of the segments' probabilities.
    """

    name = "document_multiple_choice"
    output_names = ("logits", MEMORIES)
    # An open document holds two memories for each choice.
    most_at_once = 8
    options: DocumentMultipleChoiceOptions

    @property
    def num_choices(self) -> int:
        """Choices C of every feature."""
        return self.options.num_choices or 2

    def model_config(self) -> dict[str, Any]:
        return {"num_choices": self.num_choices, "cls_token_idx": 0}

    def initial_state(self) -> dict[str, np.ndarray]:
        return {MEMORIES: np.zeros((self.num_choices, *self.memory_shape()), np.float32)}

    def input_axes(self) -> dict[str, Axes]:
        return {**super().input_axes(), **dict.fromkeys(self.inputs, (self.num_choices, "length"))}

    def _encode(self, example: ChoiceExample, choices: Sequence[str]) -> tuple[list[Feature], bool]:
        """Inputs [C, S] of each segment. Where one choice has fewer segments than another its last one is repeated."""
        wanted = self.num_choices
        if len(choices) > wanted:
            raise DataError(
                "choice-count",
                "there are {count} choices, and the model reads {most} at a time",
                at=example.source,
                fix="train a model with a larger task.num_choices",
                count=len(choices),
                most=wanted,
            )
        rows = [
            [self.filled(model_inputs(segment, self.inputs)) for segment in self._segments(example, choice)]
            for choice in (*choices, *[FILLER] * (wanted - len(choices)))
        ]
        features = []
        for number in range(max(map(len, rows))):
            lines = [row[min(number, len(row) - 1)] for row in rows]
            features.append({name: np.stack([line[name] for line in lines]) for name in self.inputs})
        return features, False

    def _segments(self, example: ChoiceExample, choice: str) -> list[Encoding]:
        """What is read of one choice, segment by segment."""
        context, parts = example.context, [example.question, choice]
        if BLANK in context:
            context, parts = context.replace(BLANK, choice), [example.question]
        texts = [context, *filter(None, parts)]
        text, *others = self.tokenizer.encode_batch(texts, add_special_tokens=False)
        cls, sep = self.tokenizer.cls_token_id, self.tokenizer.sep_token_id
        whole = framed(cls, text, sep, *(part for other in others for part in (other, sep)))
        whole.type_ids[len(text.ids) + 2 :] = 1
        options = self.options
        return [each.encoding for each in windows(whole, 0, options.max_length, self.stride(options.stride))]

    def probabilities(self, outputs: Sequence[Outputs], count: int) -> np.ndarray:
        return np.mean([softmax(output["logits"][:count]) for output in outputs], axis=0)
