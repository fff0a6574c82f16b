"""Choosing the most similar text: multiple choice without a question."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import ChoiceExample
from zoo_cli.tasks.multiple_choice.task import MultipleChoiceTask


class MatchingTask(MultipleChoiceTask):
    """Which of several texts is most like another one; features, labels and scores are those of multiple choice.

    The model reads the text paired with each candidate, and the softmax over the candidates' scores decides.

    Answers are ``{"index", "score"}``, with ``"truncated": true`` where a text was cut, and with ``"scores": [...]``
    where the options ask for it.
    """

    name = "matching"

    def request_of(self, example: ChoiceExample) -> dict[str, Any]:
        return {"text": example.context, "candidates": example.choices}

    def request(self, value: Any) -> ChoiceExample:
        fields = value if isinstance(value, dict) else {}
        text, candidates = fields.get("text"), fields.get("candidates")
        if not isinstance(text, str):
            raise DataError("bad-request", "expected an object with the string 'text'")
        if not isinstance(candidates, list) or not candidates or not all(isinstance(each, str) for each in candidates):
            raise DataError("bad-request", "expected an object with a list of strings 'candidates'")
        return ChoiceExample(text, "", candidates)

    def answer(self, request: ChoiceExample, scores: np.ndarray) -> dict[str, Any]:
        answer = super().answer(request, scores)
        return {name: value for name, value in answer.items() if name != "answer"}
