"""Classification and regression of a text or a pair of texts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText, TextExample
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import IGNORE_INDEX, filler, model_inputs
from zoo_cli.tasks.scores import sigmoid, softmax
from zoo_cli.tasks.sequence_classification.metrics import (
    best_threshold,
    multi_label_scores,
    pearson,
    single_label_scores,
    spearman,
)
from zoo_cli.tasks.sequence_classification.spec import SequenceClassificationOptions
from zoo_cli.tokenizers.base import Tokenizer


class SequenceClassificationTask(Task[TextExample]):
    """One class, several classes, or a number.

    Answers are ``{"label": name, "score": probability}``, ``{"labels": [{"label", "score"}, ...]}`` (the surest first)
    or ``{"score": number}``; with ``"truncated": true`` where the text was cut, and with ``"scores": {name:
    probability}`` where the options ask for it.

    Labels of features are an int64 scalar, float32 [L] of zeros and ones, or a float32 scalar.
    """

    name = "sequence_classification"
    output_names: tuple[str, ...] = ("logits",)
    fixed = frozenset({"labels"})
    options: SequenceClassificationOptions

    def __init__(self, options: SequenceClassificationOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": filler(tokenizer)}

    @property
    def labels(self) -> list[str]:
        """Class names; the index of a name is its id.

        Raises:
            UsageError: neither the options nor `fit` gave them (`no-labels`).
        """
        if self.options.labels is None:
            raise UsageError("no-labels", "the classes are not known", fix="name them in task.labels, or train first")
        return self.options.labels

    def fit(self, examples: Iterable[TextExample]) -> None:
        """Take the class names from the training examples: sorted, as numbers if all are."""
        if self.options.kind == "regression" or self.options.labels is not None:
            return
        names = {name for example in self.adapt(examples, training=True) for name in self.names(example)}
        numbers = all(name.isdecimal() for name in names)
        labels = sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)
        if len(labels) < 2:
            raise DataError(
                "too-few-labels",
                "the training data have {count} classes, and two are the least",
                fix="name all classes in task.labels",
                count=len(labels),
            )
        unknown = sorted(self.options.thresholds.keys() - set(labels))
        if unknown:
            raise UsageError("unknown-label", "task.thresholds names {label!r}, which no text has", label=unknown[0])
        self.options = self.options.model_copy(update={"labels": labels})

    def model_config(self) -> dict[str, Any]:
        if self.options.kind == "regression":
            return {"num_labels": 1, "problem_type": "regression"}
        return {
            "num_labels": len(self.labels),
            "id2label": dict(enumerate(self.labels)),
            "label2id": {name: index for index, name in enumerate(self.labels)},
            "problem_type": f"{self.options.kind}_classification",
        }

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[Any], training: bool) -> Iterator[TextExample]:
        """Document labels of annotation tools become labels of texts."""
        for example in examples:
            if isinstance(example, AnnotatedText):
                classes = example.classes
                label = classes[0] if self.options.kind == "single_label" and len(classes) == 1 else classes
                yield TextExample(example.text, label=label, id=example.id, source=example.source)
            else:
                yield example

    def request_of(self, example: TextExample) -> dict[str, Any]:
        pair = {} if example.text_pair is None else {"text_pair": example.text_pair}
        return {"text": example.text, **pair}

    def encode(self, example: TextExample, training: bool) -> list[Feature]:
        pairs = None if example.text_pair is None else [example.text_pair]
        encoding = self.tokenizer.encode_batch([example.text], pairs, max_length=self.options.max_length)[0]
        return [{**model_inputs(encoding, self.inputs), "labels": self._label(example, training)}]

    def _label(self, example: TextExample, training: bool) -> np.ndarray:
        if self.options.kind == "regression":
            return np.array(self.number(example), np.float32)
        names, labels = self.names(example), self.labels
        unknown = [name for name in names if name not in labels]
        if unknown and training:
            raise DataError(
                "unknown-label",
                "{label!r} is not among the classes",
                at=example.source,
                fix="add it to task.labels; they are {labels}",
                label=unknown[0],
                labels=", ".join(labels),
            )
        if self.options.kind == "multi_label":
            return np.isin(labels, names).astype(np.float32)
        return np.array(IGNORE_INDEX if unknown else labels.index(names[0]), np.int64)

    def names(self, example: TextExample) -> list[str]:
        """The gold classes; exactly one unless the task is multi-label."""
        label = example.label
        if label is None:
            raise DataError("no-label", "the text has no label", at=example.source)
        names = label if isinstance(label, list) else [str(label)]
        if self.options.kind == "single_label" and len(names) != 1:
            raise DataError(
                "label-count",
                "the text has {count} labels, not one",
                at=example.source,
                fix="several labels need `kind: multi_label`",
                count=len(names),
            )
        return names

    def number(self, example: TextExample) -> float:
        """The gold number of a regression example."""
        if example.label is None or isinstance(example.label, list):
            raise DataError("no-label", "the text has no number as its label", at=example.source)
        try:
            value = float(example.label)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DataError("bad-score", "{value!r} is not a finite number", at=example.source, value=example.label)
        return value

    def metrics(self) -> SequenceClassificationMetrics:
        return SequenceClassificationMetrics(self)

    def tune(self, metrics: SequenceClassificationMetrics) -> None:
        """Set the thresholds that were best for development data, if the options ask for it.

        Args:
            metrics: what counted the development examples.
        """
        if not self.options.tune_thresholds or not metrics.count:
            return
        scores, gold = metrics.scores(), metrics.matrix(self.labels)
        thresholds = {
            name: best_threshold(scores[:, index], gold[:, index], self.options.threshold)
            for index, name in enumerate(self.labels)
        }
        self.options = self.options.model_copy(update={"thresholds": thresholds})

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> TextExample:
        fields = {"text": value} if isinstance(value, str) else value
        if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        pair = fields.get("text_pair")
        if pair is not None and not isinstance(pair, str):
            raise DataError("bad-request", "'text_pair' must be a string")
        return TextExample(fields["text"], pair)

    def steps(self, request: TextExample) -> Steps:
        texts, pairs = [request.text], None if request.text_pair is None else [request.text_pair]
        encoding = self.tokenizer.encode_batch(texts, pairs)[0]
        truncated = len(encoding.ids) > self.options.max_length
        if truncated:
            encoding = self.tokenizer.encode_batch(texts, pairs, max_length=self.options.max_length)[0]
        outputs = yield [model_inputs(encoding, self.inputs)]
        answer = self.answer(outputs[0]["logits"])
        return {**answer, "truncated": True} if truncated else answer

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Probability of each class, from logits [..., L]."""
        return sigmoid(logits) if self.options.kind == "multi_label" else softmax(logits)

    def thresholds(self) -> np.ndarray:
        """Multi-label threshold of each class, float64 [L]."""
        own = self.options.thresholds
        return np.array([own.get(name, self.options.threshold) for name in self.labels], np.float64)

    def answer(self, logits: np.ndarray) -> dict[str, Any]:
        """The answer that logits [L] (regression: [1]) mean."""
        if self.options.kind == "regression":
            return {"score": float(logits[0])}
        scores, labels = self.probabilities(logits), self.labels
        if self.options.kind == "single_label":
            best = int(scores.argmax())
            answer: dict[str, Any] = {"label": labels[best], "score": float(scores[best])}
        else:
            order = np.argsort(-scores, kind="stable")
            chosen = order[scores[order] > self.thresholds()[order]].tolist()
            answer = {"labels": [{"label": labels[index], "score": float(scores[index])} for index in chosen]}
        if self.options.all_scores:
            answer["scores"] = dict(zip(labels, scores.tolist(), strict=True))
        return answer


class SequenceClassificationMetrics(Metrics[TextExample]):
    """Accuracy, F1 and Matthews correlation of classes, or correlations of numbers.

    ``score`` is the one that chooses checkpoints: accuracy, micro F1 for several labels, and the mean of Pearson's and
    Spearman's correlation for numbers. A gold class that the task does not know counts as missed.
    """

    def __init__(self, task: SequenceClassificationTask) -> None:
        self.task = task
        self._logits: list[np.ndarray] = []
        self._gold: list[Any] = []

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self._gold)

    def judge(
        self, example: TextExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[Any, np.ndarray]:
        regression = self.task.options.kind == "regression"
        gold = self.task.number(example) if regression else self.task.names(example)
        return gold, np.asarray(outputs[0]["logits"], np.float64)

    def record(self, verdict: tuple[Any, np.ndarray]) -> None:
        gold, logits = verdict
        self._gold.append(gold)
        self._logits.append(logits)

    def scores(self) -> np.ndarray:
        """Probabilities of all examples, float64 [N, L]."""
        return self.task.probabilities(np.stack(self._logits))

    def matrix(self, names: list[str]) -> np.ndarray:
        """Which of the L names are gold classes of each example, bool [N, L]."""
        index = {name: column for column, name in enumerate(names)}
        places = [(row, index[name]) for row, gold in enumerate(self._gold) for name in gold if name in index]
        matrix = np.zeros((self.count, len(names)), bool)
        matrix[tuple(np.array(places, np.int64).reshape(-1, 2).T)] = True
        return matrix

    def result(self) -> dict[str, Any]:
        if not self.count:
            return {}
        kind = self.task.options.kind
        if kind == "regression":
            predicted, gold = np.stack(self._logits)[:, 0], np.array(self._gold)
            correlations = {"pearson": pearson(predicted, gold), "spearman": spearman(predicted, gold)}
            return {"score": sum(correlations.values()) / 2, **correlations}
        known = self.task.labels
        names = known + sorted({name for gold in self._gold for name in gold} - set(known))
        scores, gold = self.scores(), self.matrix(names)
        if kind == "single_label":
            result = single_label_scores(names, gold.argmax(axis=1), scores.argmax(axis=1))
            return {"score": result["accuracy"], **result}
        chosen = np.zeros_like(gold)
        chosen[:, : len(known)] = scores > self.task.thresholds()
        result = multi_label_scores(names, gold, chosen)
        return {"score": result["micro_f1"], **result}
