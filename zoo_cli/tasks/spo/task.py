"""Extraction of triples with entity and relation scores over the same encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, Entity
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import Window, cover, model_inputs, tokens_of, windows
from zoo_cli.tasks.spo.decoding import Triple, condense, decode, logit
from zoo_cli.tasks.spo.spec import SPOOptions
from zoo_cli.tasks.token_classification.tags import ChunkCounts
from zoo_cli.tokenizers.base import Tokenizer

NONE = -1
"""Fills up `triples`."""


class SPOTask(Task[AnnotatedText]):
    """Triples of subject, predicate and object, as ERNIE-Health's script for CMeIE finds them.

    The model gives each token a score of being the first and one of being the last of an entity, and each pair of
    tokens one for each predicate, of a relation between the entities that start there. Entities of training texts that
    are in no relation are not learnt.

    Labels of features are `entity_labels`, zeros and ones [S, 2], and `triples`, int64 [T, 3] with predicate and start
    tokens of subject and object; `stack` spreads the latter out to the model's `relation_labels` [C, S, S].

    Answers are ``{"triples": [{"subject": {"text", "start", "end"}, "predicate", "object": {...}, "score"}, ...]}``.
    """

    name = "spo"
    output_names = ("entity_logits", "relation_logits")
    options: SPOOptions

    def __init__(self, options: SPOOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": tokenizer.pad_token_id, "triples": NONE}
        self._threshold = logit(options.threshold)

    @property
    def predicates(self) -> list[str]:
        """Names of the predicates; the index of a name is its id.

        Raises:
            UsageError: neither the options nor `fit` gave them (`no-labels`).
        """
        if self.options.predicates is None:
            fix = "name them in task.predicates, or train first"
            raise UsageError("no-labels", "the predicates are not known", fix=fix)
        return self.options.predicates

    def fit(self, examples: Iterable[AnnotatedText]) -> None:
        """Take the predicates from the training examples."""
        if self.options.predicates is not None:
            return
        names = sorted({relation.label for example in examples for relation in example.relations})
        if not names:
            raise DataError("too-few-labels", "the training data have no triple", fix="name task.predicates")
        self.options = self.options.model_copy(update={"predicates": names})

    def model_config(self) -> dict[str, Any]:
        names = self.predicates
        return {
            "num_labels": len(names),
            "id2label": dict(enumerate(names)),
            "label2id": {name: index for index, name in enumerate(names)},
        }

    # -- batches ----------------------------------------------------------------------------------------------------

    def stack(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        batch = super().stack(features)
        triples = batch.pop("triples", None)  # [B, T, 3]
        if triples is not None:
            size, length = batch["input_ids"].shape
            labels = np.zeros((size, len(self.predicates), length, length), bool)
            rows, columns = np.nonzero(triples[..., 0] != NONE)
            labels[rows, *triples[rows, columns].T] = True
            batch["relation_labels"] = labels
        return batch

    def unstack(self, outputs: Mapping[str, np.ndarray], lengths: Sequence[int]) -> list[Outputs]:
        return [
            condense(
                outputs["entity_logits"][row, :length],
                outputs["relation_logits"][row, :, :length, :length],
                self._threshold,
            )
            for row, length in enumerate(lengths)
        ]

    # -- training and evaluation ------------------------------------------------------------------------------------

    def _windows(self, text: str) -> tuple[list[Window], np.ndarray]:
        """What the model reads, and the offsets of all tokens of the text, int64 [T, 2]."""
        options = self.options
        encoding = self.tokenizer.encode_batch([text])[0]
        offsets = encoding.offsets[tokens_of(encoding, 0)]
        return windows(encoding, 0, options.max_length, options.stride or options.max_length // 2), offsets

    def request_of(self, example: AnnotatedText) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: AnnotatedText, training: bool) -> list[Feature]:
        """One feature for each window, labelled with the triples that are whole in it.

        Raises:
            DataError: a predicate is not known (`unknown-label`, in training).
        """
        stretches, offsets = self._windows(example.text)
        ids = {name: index for index, name in enumerate(self.predicates)}
        places = {entity.id: cover(offsets, entity.start, entity.end) for entity in example.entities}
        known = []
        for relation in example.relations:
            if relation.label in ids:
                known.append((ids[relation.label], places[relation.head], places[relation.tail]))
            elif training:
                raise DataError(
                    "unknown-label",
                    "{label!r} is not among the predicates",
                    at=example.source,
                    fix="add it to task.predicates; they are {labels}",
                    label=relation.label,
                    labels=", ".join(ids),
                )
        features = []
        for window in stretches:
            entity_labels = np.zeros((len(window.encoding.ids), 2), np.float32)
            triples = []
            for predicate, *ends in known:
                if any(not window.start <= first < last <= window.stop for first, last in ends):
                    continue
                shift = window.place - window.start
                for first, last in ends:
                    entity_labels[first + shift, 0] = entity_labels[last - 1 + shift, 1] = 1
                triples.append([predicate, *(first + shift for first, _ in ends)])
            features.append(
                {
                    **model_inputs(window.encoding, self.inputs),
                    "entity_labels": entity_labels,
                    "triples": np.array(triples or [[NONE] * 3], np.int64),
                }
            )
        return features

    def metrics(self) -> SPOMetrics:
        return SPOMetrics(self)

    def _read(self, stretches: Sequence[Window], outputs: Sequence[Outputs]) -> dict[Triple, float]:
        """Triples of all windows, each with the highest of its scores, in the order of the text."""
        found: dict[Triple, float] = {}
        for window, output in zip(stretches, outputs, strict=True):
            for triple, score in decode(window, output, self._threshold).items():
                found[triple] = max(score, found.get(triple, 0.0))
        return dict(sorted(found.items(), key=lambda item: (item[0].subject, item[0].object, item[0].predicate)))

    def score(self, example: AnnotatedText, outputs: Sequence[Outputs]) -> tuple[set[Any], set[Any]]:
        """Gold and predicted triples as (predicate, subject, object), all in words."""
        text, names = example.text, self.predicates
        stretches, _ = self._windows(text)
        entities: dict[str, Entity] = {entity.id: entity for entity in example.entities}

        def words(name: str) -> str:
            return text[entities[name].start : entities[name].end]

        gold = {(relation.label, words(relation.head), words(relation.tail)) for relation in example.relations}
        predicted = {
            (names[triple.predicate], text[slice(*triple.subject)], text[slice(*triple.object)])
            for triple in self._read(stretches, outputs)
        }
        return gold, predicted

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> str:
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        return text

    def steps(self, request: str) -> Steps:
        stretches, _ = self._windows(request)
        outputs = yield [model_inputs(window.encoding, self.inputs) for window in stretches]

        def mention(start: int, end: int) -> dict[str, Any]:
            return {"text": request[start:end], "start": start, "end": end}

        return {
            "triples": [
                {
                    "subject": mention(*triple.subject),
                    "predicate": self.predicates[triple.predicate],
                    "object": mention(*triple.object),
                    "score": score,
                }
                for triple, score in self._read(stretches, outputs).items()
            ]
        }


class SPOMetrics(Metrics[AnnotatedText]):
    """Precision, recall and F1 of triples, compared by their words as in CBLUE and DuIE; per predicate in `labels`."""

    def __init__(self, task: SPOTask) -> None:
        self.task = task
        self._counts = ChunkCounts()

    def judge(self, example: AnnotatedText, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        return self.task.score(example, outputs)

    def record(self, verdict: Any) -> None:
        self._counts.add(*verdict)

    def result(self) -> dict[str, Any]:
        return self._counts.result()
