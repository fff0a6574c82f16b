"""Joint intent classification and slot filling."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import AnnotatedText
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import IGNORE_INDEX
from zoo_cli.tasks.intent_slot.spec import IntentSlotOptions
from zoo_cli.tasks.scores import ratio, softmax
from zoo_cli.tasks.token_classification.tags import ChunkCounts
from zoo_cli.tasks.token_classification.task import TokenClassificationTask
from zoo_cli.tokenizers.base import Tokenizer


class IntentSlotTask(Task[AnnotatedText]):
    """One intent for a text, and tags for its words; slots are read and tagged as token classification does.

    Training data are texts with one class, the intent, and with entities, the slots. Labels of features are
    `intent_labels`, an int64 scalar, and `labels`, the slot tags, int64 [S].

    Answers are PaddleNLP's: ``{"intent", "confidence", "value": [{"slot", "entity", "pos": [first, last], "score"}]}``
    with the places of the first and the last character, and the mean probability of the slot's tags as score.
    """

    name = "intent_slot"
    output_names = ("intent_logits", "slot_logits")
    sequence_outputs = frozenset({"slot_logits"})
    options: IntentSlotOptions

    def __init__(self, options: IntentSlotOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self._slots = TokenClassificationTask(options.slots(), tokenizer, inputs)
        self.padding = self._slots.padding

    @property
    def intents(self) -> list[str]:
        """Intents; the index of a name is its id.

        Raises:
            UsageError: neither the options nor `fit` gave them (`no-labels`).
        """
        if self.options.intents is None:
            fix = "name them in task.intents, or train first"
            raise UsageError("no-labels", "the intents are not known", fix=fix)
        return self.options.intents

    def fit(self, examples: Iterable[AnnotatedText]) -> None:
        """Take intents and slots from the training examples."""
        known = list(examples)
        intents = self.options.intents or sorted({self.intent(example) for example in known})
        if len(intents) < 2:
            raise DataError("too-few-labels", "the training data have one intent only", fix="name all in task.intents")
        self._slots.fit(known)
        self.options = self.options.model_copy(update={"intents": intents, "labels": self._slots.options.labels})

    def model_config(self) -> dict[str, Any]:
        return {**self._slots.model_config(), "num_intents": len(self.intents)}

    # -- training and evaluation ------------------------------------------------------------------------------------

    def intent(self, example: AnnotatedText) -> str:
        """The gold intent.

        Raises:
            DataError: the text has none, or several (`label-count`).
        """
        if len(example.classes) != 1:
            raise DataError(
                "label-count", "the text has {count} intents, not one", at=example.source, count=len(example.classes)
            )
        return example.classes[0]

    def request_of(self, example: AnnotatedText) -> dict[str, Any]:
        return {"text": example.text}

    def encode(self, example: AnnotatedText, training: bool) -> list[Feature]:
        intent, intents = self.intent(example), self.intents
        if training and intent not in intents:
            raise DataError(
                "unknown-label",
                "{label!r} is not among the intents",
                at=example.source,
                fix="add it to task.intents; they are {labels}",
                label=intent,
                labels=", ".join(intents),
            )
        label = np.array(intents.index(intent) if intent in intents else IGNORE_INDEX, np.int64)
        return [{**feature, "intent_labels": label} for feature in self._slots.encode(example, training)]

    def metrics(self) -> IntentSlotMetrics:
        return IntentSlotMetrics(self)

    def read_intent(self, outputs: Sequence[Outputs]) -> np.ndarray:
        """Probability of each intent, float64 [I]; all 0 for a text without words, which is not read."""
        if not outputs:
            return np.zeros(len(self.intents))
        return np.mean([softmax(output["intent_logits"]) for output in outputs], axis=0)

    def score(self, example: AnnotatedText, outputs: Sequence[Outputs]) -> tuple[str, set[Any], set[Any]]:
        """The predicted intent (empty if there is none), and gold and predicted slots."""
        probabilities = self.read_intent(outputs)
        intent = self.intents[int(probabilities.argmax())] if probabilities.any() else ""
        gold, predicted = self._slots.score(example, _slot_outputs(outputs))
        return intent, set(gold), set(predicted)

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> str:
        text = value.get("text") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        if not text.strip():
            raise DataError("bad-request", "the text is empty")
        return text

    def steps(self, request: str) -> Steps:
        slots = self._slots.steps(request)
        outputs = yield next(slots)
        probabilities = self.read_intent(outputs)
        best = int(probabilities.argmax())
        try:
            slots.send(_slot_outputs(outputs))
        except StopIteration as stop:
            found = stop.value["entities"]
        value = [
            {
                "slot": entity["label"],
                "entity": entity["text"],
                "pos": [entity["start"], entity["end"] - 1],
                "score": entity["score"],
            }
            for entity in found
        ]
        return {"intent": self.intents[best], "confidence": float(probabilities[best]), "value": value}


def _slot_outputs(outputs: Sequence[Outputs]) -> list[Outputs]:
    """What the tagging half gets to see."""
    return [{"logits": output["slot_logits"]} for output in outputs]


class IntentSlotMetrics(Metrics[AnnotatedText]):
    """``exact_match`` (share of texts whose intent and slots are all right), ``intent_accuracy``, and precision, recall
    and F1 of slots (``slot_f1``, ...)."""

    def __init__(self, task: IntentSlotTask) -> None:
        self.task = task
        self._count = self._intents = self._exact = 0
        self._slots = ChunkCounts()

    def judge(self, example: AnnotatedText, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        intent, gold, predicted = self.task.score(example, outputs)
        return intent == self.task.intent(example), gold, predicted

    def record(self, verdict: Any) -> None:
        right, gold, predicted = verdict
        self._count += 1
        self._intents += right
        self._exact += right and gold == predicted
        self._slots.add(gold, predicted)

    def result(self) -> dict[str, Any]:
        return {
            "exact_match": float(ratio(self._exact, self._count)),
            "intent_accuracy": float(ratio(self._intents, self._count)),
            **{f"slot_{name}": value for name, value in self._slots.result().items()},
        }
