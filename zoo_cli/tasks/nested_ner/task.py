"""Nested named entities with two rows of tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import IGNORE_INDEX
from zoo_cli.tasks.nested_ner.spec import NestedNEROptions
from zoo_cli.tasks.token_classification.tags import Chunk, ChunkCounts
from zoo_cli.tasks.token_classification.task import TokenClassificationTask
from zoo_cli.tokenizers.base import Tokenizer

ROWS = {"oth": False, "sym": True}
"""Rows of tags, and whether they are for types that may enclose others; CMeEE's symptoms gave them their names."""


class NestedNERTask(Task[AnnotatedText]):
    """Tags for words in two rows, so that an entity of one row may lie inside of one of the other.

    Each row is read and tagged as token classification does; entities of the same row that overlap are still beyond it.
    Labels of features are `oth_labels` and `sym_labels`, int64 [S].

    Answers are ``{"entities": [{"text", "label", "start", "end", "score"}, ...]}`` in the order of the text, the longer
    first.
    """

    name = "nested_ner"
    output_names = ("oth_logits", "sym_logits")
    sequence_outputs = frozenset(output_names)
    options: NestedNEROptions

    def __init__(self, options: NestedNEROptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": tokenizer.pad_token_id} | {f"{row}_labels": IGNORE_INDEX for row in ROWS}
        self._taggers = {
            row: TokenClassificationTask(options.row(enclosing), tokenizer, inputs) for row, enclosing in ROWS.items()
        }

    def fit(self, examples: Iterable[AnnotatedText]) -> None:
        """Take the tags of both rows from the training examples."""
        known = list(examples)
        for row, tagger in self._taggers.items():
            tagger.fit(self._part(example, row) for example in known)
        labels, enclosing_labels = (tagger.options.labels for tagger in self._taggers.values())
        self.options = self.options.model_copy(update={"labels": labels, "enclosing_labels": enclosing_labels})

    def model_config(self) -> dict[str, Any]:
        return {f"num_labels_{row}": len(tagger.tags) for row, tagger in self._taggers.items()}

    # -- training and evaluation ------------------------------------------------------------------------------------

    def _part(self, example: AnnotatedText, row: str) -> AnnotatedText:
        """The example with the entities of one row."""
        enclosing = self.options.enclosing
        return replace(example, entities=[each for each in example.entities if (each.label in enclosing) == ROWS[row]])

    def request_of(self, example: AnnotatedText) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: AnnotatedText, training: bool) -> list[Feature]:
        features: list[Feature] = []
        for row, tagger in self._taggers.items():
            encoded = tagger.encode(self._part(example, row), training)
            features = features or [{name: feature[name] for name in self.inputs} for feature in encoded]
            for feature, own in zip(features, encoded, strict=True):
                feature[f"{row}_labels"] = own["labels"]
        return features

    def metrics(self) -> NestedNERMetrics:
        return NestedNERMetrics(self)

    def score(self, example: AnnotatedText, outputs: Sequence[Outputs]) -> tuple[list[Chunk], list[Chunk]]:
        """Gold and predicted entities in characters."""
        predicted = []
        for row, tagger in self._taggers.items():
            predicted += tagger.score(example, _row_outputs(outputs, row))[1]
        return [(entity.label, entity.start, entity.end) for entity in example.entities], predicted

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> str:
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        return text

    def steps(self, request: str) -> Steps:
        entities = []
        outputs: list[Outputs] | None = None
        for row, tagger in self._taggers.items():
            steps = tagger.steps(request)
            try:
                features = next(steps)
                if outputs is None:
                    outputs = yield features  # both rows are of the same windows
                steps.send(_row_outputs(outputs, row))
            except StopIteration as stop:
                entities += stop.value["entities"]
        return {"entities": sorted(entities, key=lambda entity: (entity["start"], -entity["end"]))}


def _row_outputs(outputs: Sequence[Outputs], row: str) -> list[Outputs]:
    """What the task of one row gets to see."""
    return [{"logits": output[f"{row}_logits"]} for output in outputs]


class NestedNERMetrics(Metrics[AnnotatedText]):
    """Precision, recall and F1 of whole entities by their characters; entities that two rows of tags cannot hold are
    missed."""

    def __init__(self, task: NestedNERTask) -> None:
        self.task = task
        self._counts = ChunkCounts()

    def judge(self, example: AnnotatedText, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        return self.task.score(example, outputs)

    def record(self, verdict: Any) -> None:
        self._counts.add(*verdict)

    def result(self) -> dict[str, Any]:
        return self._counts.result()
