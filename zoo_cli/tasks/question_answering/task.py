"""Extractive reading comprehension."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.examples import QuestionExample
from zoo_cli.tasks.base import Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.features import Window, cover, cut, model_inputs, tokens_of, windows
from zoo_cli.tasks.question_answering.answers import Candidate, candidates
from zoo_cli.tasks.question_answering.metrics import answer_scores, best_null_threshold
from zoo_cli.tasks.question_answering.spec import QuestionAnsweringOptions
from zoo_cli.tasks.scores import ratio, softmax
from zoo_cli.tokenizers.base import Tokenizer


class QuestionAnsweringTask(Task[QuestionExample]):
    """The piece of a text that answers a question.

    The model reads question and text as a pair, a long text in windows. Labels are the places of the answer's first and
    last token, or the place of the first special token where the window does not hold the whole answer.

    Answers are ``{"answer", "start", "end", "score"}`` with character offsets in the text, and the probability among
    the `n_best` answers; with ``"answers": [...]`` where the options ask for all. No answer is ``""`` without offsets.
    """

    name = "question_answering"
    output_names: tuple[str, ...] = ("start_logits", "end_logits")
    sequence_outputs = frozenset({"start_logits", "end_logits"})
    options: QuestionAnsweringOptions

    def __init__(self, options: QuestionAnsweringOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.padding = {"input_ids": tokenizer.pad_token_id}

    def fit(self, examples: Iterable[QuestionExample]) -> None:
        """Find out whether questions may be impossible, unless the options say."""
        if self.options.impossible is None:
            found = any(example.impossible for example in examples)
            self.options = self.options.model_copy(update={"impossible": found})

    def _windows(self, question: str, context: str) -> tuple[list[Window], np.ndarray]:
        """What the model reads, and the offsets of all tokens of the text, int64 [T, 2]."""
        options = self.options
        encoding = self.tokenizer.encode_batch([question], [context])[0]
        asked = tokens_of(encoding, 0)
        if asked.stop - asked.start > options.max_question_length:
            encoding = cut(encoding, slice(asked.start + options.max_question_length), slice(asked.stop, None))
        offsets = encoding.offsets[tokens_of(encoding, 1)]
        return windows(encoding, 1, options.max_length, options.doc_stride), offsets

    # -- training and evaluation ------------------------------------------------------------------------------------

    def request_of(self, example: QuestionExample) -> dict[str, Any]:
        return {"question": example.question, "context": example.context}

    def encode(self, example: QuestionExample, training: bool) -> list[Feature]:
        """One feature for each window; in training none if the answers are not in the text.

        Raises:
            DataError: the question has no answer, yet is not marked as impossible (`no-label`); or it is, and the
                options exclude that from training (`impossible-question`).
        """
        self._check(example, training)
        places = [(answer.start, answer.end) for answer in example.answers if answer.start >= 0]
        if training and example.answers and not places:
            return []
        stretches, offsets = self._windows(example.question, example.context)
        left, right = cover(offsets, *places[0]) if places and not example.impossible else (0, 0)
        features = []
        for window in stretches:
            first = last = int(window.encoding.special_tokens_mask.argmax())
            if window.start <= left < right <= window.stop:
                first, last = window.place + left - window.start, window.place + right - 1 - window.start
            features.append(
                {
                    **model_inputs(window.encoding, self.inputs),
                    "start_positions": np.array(first, np.int64),
                    "end_positions": np.array(last, np.int64),
                }
            )
        return features

    def _check(self, example: QuestionExample, training: bool) -> None:
        name = example.id or example.question
        if training and example.impossible and self.options.impossible is False:
            raise DataError(
                "impossible-question",
                "question {name!r} has no answer",
                at=example.source,
                fix="set `impossible: true` for data in the manner of SQuAD 2.0",
                name=name,
            )
        if not example.impossible and not example.answers:
            raise DataError("no-label", "question {name!r} has no gold answer", at=example.source, name=name)

    def metrics(self) -> QuestionAnsweringMetrics:
        return QuestionAnsweringMetrics(self)

    def tune(self, metrics: QuestionAnsweringMetrics) -> None:
        """Set the threshold that was best for development data, if the options ask for it.

        Args:
            metrics: what counted the development examples.
        """
        if self.options.tune_null_threshold and self.options.impossible:
            threshold = metrics.best_threshold(self.options.null_threshold)
            self.options = self.options.model_copy(update={"null_threshold": threshold})

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> QuestionExample:
        context = value.get("context", value.get("text")) if isinstance(value, dict) else None
        question = value.get("question") if isinstance(value, dict) else None
        if not isinstance(context, str) or not isinstance(question, str):
            raise DataError("bad-request", "expected an object with the strings 'question' and 'context'")
        return QuestionExample(context, question)

    def steps(self, request: QuestionExample) -> Steps:
        stretches, _ = self._windows(request.question, request.context)
        outputs = yield from self.read([model_inputs(window.encoding, self.inputs) for window in stretches])
        return self._answer(request.context, *self._candidates(stretches, outputs))

    def _candidates(self, stretches: list[Window], outputs: Sequence[Outputs]) -> tuple[list[Candidate], float]:
        return candidates(stretches, outputs, self.options.n_best, self.options.max_answer_length)

    def _answer(self, context: str, found: list[Candidate], null: float) -> dict[str, Any]:
        impossible = bool(self.options.impossible)
        logits = [candidate.logit for candidate in found] + ([null] if impossible or not found else [])
        scores = softmax(np.array(logits)).tolist()
        answers: list[dict[str, Any]] = [
            {"answer": context[each.start : each.end], "start": each.start, "end": each.end, "score": score}
            for each, score in zip(found, scores, strict=False)
        ]
        nothing = {"answer": "", "start": None, "end": None, "score": scores[-1]}
        is_null = not found or (impossible and null - found[0].logit > self.options.null_threshold)
        answer = dict(nothing if is_null else answers[0])
        if self.options.all_answers:
            answer["answers"] = answers + ([nothing] if len(scores) > len(answers) else [])
        return answer

    def score(self, example: QuestionExample, outputs: Sequence[Outputs]) -> tuple[str, float]:
        """The best answer's text, and by how much the logit of there being none exceeds it."""
        stretches, _ = self._windows(example.question, example.context)
        found, null = self._candidates(stretches, outputs)
        if not found:
            return "", np.inf
        return example.context[found[0].start : found[0].end], null - found[0].logit


class QuestionAnsweringMetrics(Metrics[QuestionExample]):
    """Exact match and F1 from 0 to 1 (the scripts' values are a hundred times these).

    With impossible questions also those of the answerable ones alone (`answerable_...`), and the share of the
    impossible ones that got no answer (`impossible_accuracy`).
    """

    def __init__(self, task: QuestionAnsweringTask) -> None:
        self.task = task
        self._scores: list[tuple[float, float, float]] = []
        self._margins: list[float] = []

    def judge(
        self, example: QuestionExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[tuple[float, float, float], float]:
        prediction, margin = self.task.score(example, outputs)
        answers = [] if example.impossible else [answer.text for answer in example.answers]
        language = self.task.options.language
        nothing, _ = answer_scores(answers, "", language)
        return (*answer_scores(answers, prediction, language), nothing), margin

    def record(self, verdict: tuple[tuple[float, float, float], float]) -> None:
        scores, margin = verdict
        self._scores.append(scores)
        self._margins.append(margin)

    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self._scores, np.float64).reshape(-1, 3), np.array(self._margins, np.float64)

    def result(self) -> dict[str, Any]:
        scores, margins = self._arrays()
        nothing = scores[:, 2:]
        options = self.task.options
        silent = margins > options.null_threshold if options.impossible else np.zeros(len(margins), bool)
        final = np.where(silent[:, None], nothing, scores[:, :2])
        result = _means(final)
        impossible = nothing[:, 0] > 0
        if options.impossible or impossible.any():
            result.update({f"answerable_{name}": value for name, value in _means(final[~impossible]).items()})
            result["impossible_accuracy"] = _means(final[impossible])["exact_match"]
        return result

    def best_threshold(self, default: float) -> float:
        """The `null_threshold` with the highest F1 on what was counted."""
        scores, margins = self._arrays()
        known = np.isfinite(margins)
        return best_null_threshold(margins[known], scores[known, 1], scores[known, 2], default)


def _means(scores: np.ndarray) -> dict[str, float]:
    exact, f1 = ratio(scores.sum(axis=0), len(scores)).tolist()
    return {"exact_match": exact, "f1": f1}
