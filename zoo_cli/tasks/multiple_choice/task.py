"""Multiple choice and cloze tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.data.reading import BLANK
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import model_inputs
from zoo_cli.tasks.multiple_choice.spec import MultipleChoiceOptions
from zoo_cli.tasks.scores import ratio, softmax
from zoo_cli.tokenizers.base import Encoding, Tokenizer

FILLER = "无效答案"
"""Choice that fills up questions with few choices ("invalid answer"), as in CLUE's and PaddleNLP's C3 scripts."""


class MultipleChoiceTask(Task[ChoiceExample]):
    """Choosing among answers.

    A feature has one row for each of its C choices: inputs are [C, S], filled up to the longest row, and the label is
    an int64 scalar. The model reads the text, paired with question and choice; a blank in the text is replaced by the
    choice instead. In a batch rows of padding (mask 0) may follow a feature's own on the first axis, too: what the
    model says of them is not looked at.

    Labelled features all have `num_choices` rows or more, so that the loss always compares as many.

    Answers are ``{"answer", "index", "score"}``, with ``"truncated": true`` where the text was cut, and with
    ``"scores": [...]`` where the options ask for it.
    """

    name = "multiple_choice"
    output_names: tuple[str, ...] = ("logits",)
    options: MultipleChoiceOptions

    def __init__(self, options: MultipleChoiceOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": tokenizer.pad_token_id}
        self.axes = {**dict.fromkeys(self.inputs, ("choices", "length")), "logits": ("choices",)}

    def fit(self, examples: Iterable[ChoiceExample]) -> None:
        """Count the choices, unless the options say how many there are."""
        if self.options.num_choices is None:
            most = max((len(example.choices) for example in examples), default=2)
            self.options = self.options.model_copy(update={"num_choices": max(most, 2)})

    def model_config(self) -> dict[str, Any]:
        return {"num_choices": self.options.num_choices or 2}

    def _encode(self, example: ChoiceExample, choices: Sequence[str]) -> tuple[list[Feature], bool]:
        """Features with the inputs [C, S] of the choices, here one, and whether any was cut."""
        limit = self.options.max_length
        encodings, cut = self._encodings(example.context, example.question, choices, limit), False
        if max(len(encoding.ids) for encoding in encodings) > limit:
            cut = True
            context = _around_blank(example.context, limit)
            encodings = self._encodings(context, example.question, choices, limit, truncate=True)
        rows = [model_inputs(encoding, self.inputs) for encoding in encodings]
        length = max(len(encoding.ids) for encoding in encodings)
        feature = {}
        for name in self.inputs:
            feature[name] = np.full((len(rows), length), self.padding.get(name, 0), np.int64)
            for line, row in zip(feature[name], rows, strict=True):
                line[: len(row[name])] = row[name]
        return [feature], cut

    def _encodings(
        self, context: str, question: str, choices: Sequence[str], limit: int, truncate: bool = False
    ) -> list[Encoding]:
        if BLANK in context:
            texts = [context.replace(BLANK, choice) for choice in choices]
            pairs = [question] * len(choices) if question else None
        else:
            texts = [context] * len(choices)
            pairs = [f"{question} {choice}" if question else choice for choice in choices]
        return self.tokenizer.encode_batch(texts, pairs, max_length=limit if truncate else None)

    # -- training and evaluation ------------------------------------------------------------------------------------

    def request_of(self, example: ChoiceExample) -> dict[str, Any]:
        return {"context": example.context, "question": example.question, "choices": example.choices}

    def encode(self, example: ChoiceExample, training: bool) -> list[Feature]:
        if example.answer is None:
            raise DataError("no-label", "the question has no answer", at=example.source)
        wanted = self.options.num_choices or 2
        if training and len(example.choices) > wanted:
            raise DataError(
                "choice-count",
                "the question has {count} choices, more than num_choices, {most}",
                at=example.source,
                fix="raise task.num_choices",
                count=len(example.choices),
                most=wanted,
            )
        choices = example.choices + [FILLER] * (wanted - len(example.choices))
        features, _ = self._encode(example, choices)
        return [{**feature, "labels": np.array(example.answer, np.int64)} for feature in features]

    def metrics(self) -> MultipleChoiceMetrics:
        return MultipleChoiceMetrics(self)

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> ChoiceExample:
        fields = value if isinstance(value, dict) else {}
        context, question = fields.get("context", fields.get("text", "")), fields.get("question", "")
        choices = fields.get("choices")
        if not isinstance(context, str) or not isinstance(question, str):
            raise DataError("bad-request", "'context' and 'question' must be strings")
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
            raise DataError("bad-request", "expected an object with a list of strings 'choices'")
        return ChoiceExample(context, question, choices)

    def steps(self, request: ChoiceExample) -> Steps:
        features, cut = self._encode(request, request.choices)
        outputs = yield from self.read(features)
        answer = self.answer(request, self.probabilities(outputs, len(request.choices)))
        return {**answer, "truncated": True} if cut else answer

    def probabilities(self, outputs: Sequence[Outputs], count: int) -> np.ndarray:
        """Probability of each choice [count], from the outputs of the features of one question."""
        return softmax(outputs[0]["logits"][:count])

    def answer(self, request: ChoiceExample, scores: np.ndarray) -> dict[str, Any]:
        """What is said to a request whose choices have these probabilities [count]."""
        best = int(scores.argmax())
        answer: dict[str, Any] = {"answer": request.choices[best], "index": best, "score": float(scores[best])}
        return {**answer, "scores": scores.tolist()} if self.options.all_scores else answer


def _around_blank(context: str, limit: int) -> str:
    """The text from half of `limit` characters before the blank on, so that cutting the end spares the blank."""
    place = context.find(BLANK)
    return context[max(0, place - limit // 2) :] if place >= 0 else context


class MultipleChoiceMetrics(Metrics[ChoiceExample]):
    """Share of right choices."""

    def __init__(self, task: MultipleChoiceTask) -> None:
        self._task = task
        self._right = 0
        self._count = 0

    def judge(self, example: ChoiceExample, features: Sequence[Feature], outputs: Sequence[Outputs]) -> bool:
        return int(self._task.probabilities(outputs, len(example.choices)).argmax()) == example.answer

    def record(self, verdict: bool) -> None:
        self._right += verdict
        self._count += 1

    def result(self) -> dict[str, Any]:
        return {"accuracy": float(ratio(self._right, self._count))}
