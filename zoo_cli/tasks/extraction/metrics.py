"""Scores of extraction: of single prompts, which choose the best model, and of whole results, which users see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo_cli.data.examples import AnnotatedText, PromptExample
from zoo_cli.tasks.base import Feature, Metrics, Outputs
from zoo_cli.tasks.extraction.postprocess import Answer, merge_windows, pair
from zoo_cli.tasks.extraction.schema import class_options, normalize
from zoo_cli.tasks.scores import label_scores

if TYPE_CHECKING:
    from zoo_cli.tasks.extraction.task import ExtractionTask, Located

THRESHOLDS = tuple(percent / 100 for percent in range(5, 100, 5))
"""Limits that tuning chooses from."""


@dataclass(slots=True)
class Counts:
    """Numbers of gold, predicted and correctly predicted items."""

    gold: int = 0
    predicted: int = 0
    correct: int = 0

    def add(self, gold: int, predicted: int, correct: int) -> None:
        self.gold += gold
        self.predicted += predicted
        self.correct += correct


def _summary(table: Mapping[str, Counts], prefix: str = "") -> dict[str, Any]:
    """Micro scores over all labels, macro F1, and a table of the labels; without those that never occurred."""
    names = sorted(label for label, counts in table.items() if counts.gold or counts.predicted)
    rows = [table[name] for name in names]
    scores = label_scores(
        names,
        np.array([row.correct for row in rows], np.int64),
        np.array([row.predicted for row in rows], np.int64),
        np.array([row.gold for row in rows], np.int64),
    )
    summary: dict[str, Any] = {f"{prefix}{name}": scores[f"micro_{name}"] for name in ("precision", "recall", "f1")}
    return summary | {f"{prefix}macro_f1": scores["macro_f1"], f"{prefix}labels": scores["labels"]}


class SpanMetrics(Metrics[PromptExample]):
    """Precision, recall and F1 of spans, each prompt by itself, as PaddleNLP's `SpanEvaluator` counts them.

    Relations are asked about gold subjects, so this is no score of whole triples; `GraphMetrics` is. Long contents are
    scored on their merged windows.

    `result` has `precision`, `recall`, `f1` (all spans alike), `macro_f1` (mean over labels), and `labels`: the scores
    of each label and its `support`. Prompts of relations are collected under ``X的生日`` (or
    ``birthday of X``), classifications under their name with the options in order.

    Args:
        task: of the model; its `position_threshold` is the evaluator's limit. If it is to be tuned, other limits are
            counted too.
    """

    def __init__(self, task: ExtractionTask) -> None:
        self.task = task
        threshold = task.options.position_threshold
        tried = dict.fromkeys((threshold, *THRESHOLDS)) if task.options.tune_position_threshold else (threshold,)
        self._prompts: dict[float, dict[str, Counts]] = {threshold: {} for threshold in tried}
        self._relations: dict[str, str] = {}

    def judge(
        self, example: PromptExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> tuple[str, str | None, list[tuple[int, int, int]]]:
        prompt = normalize(example.prompt)
        located = None if len(features) == 1 else self.task.locate(example)
        label = _relation_label(prompt, normalize(example.content), self.task.options.schema_lang)
        counts = [self._count(example, located, features, outputs, threshold) for threshold in self._prompts]
        return prompt, label, counts

    def record(self, verdict: tuple[str, str | None, list[tuple[int, int, int]]]) -> None:
        prompt, label, counts = verdict
        for table, numbers in zip(self._prompts.values(), counts, strict=True):
            table.setdefault(prompt, Counts()).add(*numbers)
        if label:
            self._relations.setdefault(prompt, label)

    def _count(
        self,
        example: PromptExample,
        located: Located | None,
        features: Sequence[Feature],
        outputs: Sequence[Outputs],
        threshold: float,
    ) -> tuple[int, int, int]:
        """Numbers of gold, predicted and correct spans; `located` is the example where it is no single window."""
        gold: set[tuple[int, int]]
        if located is None:
            starts, ends = features[0]["start_positions"], features[0]["end_positions"]
            number = max(int(np.count_nonzero(starts)), int(np.count_nonzero(ends)))
            gold = _spans(pair(starts, ends, 0.5))
            predicted = _spans(pair(outputs[0]["start_prob"], outputs[0]["end_prob"], threshold))
        else:
            gold, predicted = self._merged(example, located, outputs, threshold)
            number = max(len({first for first, _ in gold}), len({last for _, last in gold}))
        return number, len(predicted), len(gold & predicted)

    def best_threshold(self) -> float:
        """The limit with the highest F1 of those that were counted; of equally good ones the nearest to that of the
        options."""
        default = self.task.options.position_threshold

        def rank(threshold: float) -> tuple[float, float]:
            rows = self._prompts[threshold].values()
            total = sum(row.gold + row.predicted for row in rows)
            return (2 * sum(row.correct for row in rows) / total if total else 0.0, -abs(threshold - default))

        return max(self._prompts, key=rank)

    def _merged(
        self, example: PromptExample, located: Located, outputs: Sequence[Outputs], threshold: float
    ) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
        """Gold and predicted spans of a long text; in the prompt the mean of all windows counts."""
        size, first = located.prompt.size, located.prompt.own.start
        gold = {(first + start, first + end) for start, end in located.in_prompt}
        gold |= {(size + start, size + end) for start, end in located.in_text}
        if not outputs:
            return gold, set()
        starts = [output["start_prob"] for output in outputs]
        ends = [output["end_prob"] for output in outputs]
        predicted = _spans(
            pair(
                np.mean([start[:size] for start in starts], axis=0),
                np.mean([end[:size] for end in ends], axis=0),
                threshold,
            )
        )
        windows = self.task.windows(example, located)
        pairs = merge_windows(
            windows,
            [start[size : size + b - a] for start, (a, b) in zip(starts, windows, strict=True)],
            [end[size : size + b - a] for end, (a, b) in zip(ends, windows, strict=True)],
            threshold,
        )
        return gold, predicted | {(size + start, size + end) for start, end in _spans(pairs)}

    def result(self) -> dict[str, Any]:
        # A subject that its text does not hold (a negative sample) is known by the relations of other prompts.
        relations = set(self._relations.values())
        language = self.task.options.schema_lang
        table: dict[str, Counts] = {}
        for prompt, counts in self._prompts[self.task.options.position_threshold].items():
            labels = (label for _, label in _splits(prompt, language) if label in relations)
            label = self._relations.get(prompt) or next(labels, _label(prompt))
            table.setdefault(label, Counts()).add(counts.gold, counts.predicted, counts.correct)
        return _summary(table)


def _spans(pairs: Any) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.last.tolist(), strict=True))


def _label(prompt: str) -> str:
    """The prompt with its options, which training data shuffles, in order."""
    options = class_options(prompt)
    return f"{prompt[: prompt.rindex('[')]}[{','.join(sorted(options))}]" if options else prompt


def _splits(prompt: str, language: str) -> Iterator[tuple[str, str]]:
    """Ways to take a prompt for a relation: subject and label, the longest subject first."""
    label = _label(prompt)
    cut = label.rindex("[") if class_options(prompt) else len(label)
    name, options = label[:cut], label[cut:]
    mark = "的" if language == "zh" else " of "
    parts = name.split(mark)
    for index in range(1, len(parts)):
        if language == "zh":
            yield mark.join(parts[:-index]), f"X{mark}{mark.join(parts[-index:])}{options}"
        else:
            yield mark.join(parts[index:]).strip(), f"{mark.join(parts[:index])}{mark}X{options and ' ' + options}"


def _relation_label(prompt: str, content: str, language: str) -> str | None:
    """The label of a prompt whose subject stands in the content."""
    return next((label for subject, label in _splits(prompt, language) if subject and subject in content), None)


def without_classes(text: AnnotatedText, separator: str) -> AnnotatedText:
    """The text with the labels of its entities as the model is asked for them: ``评价维度`` of ``评价维度##正向``."""
    entities = [replace(entity, label=entity.label.partition(separator)[0]) for entity in text.entities]
    return replace(text, entities=entities)


class GraphMetrics:
    """End-to-end scores of results against annotated texts: what a user of the model gets.

    An entity is right when label, start and end are; a relation when in addition its own label and both ends of its
    tail are. `result` has, each with the prefix `entity_` and (where there are any) `relation_`, `precision`, `recall`,
    `f1`, `macro_f1` and `labels`.
    """

    def __init__(self) -> None:
        self._entities: dict[str, Counts] = {}
        self._relations: dict[str, Counts] = {}

    def add(self, gold: AnnotatedText, answer: Mapping[str, Sequence[Answer]]) -> None:
        """Count a text and the result of a schema that asks for its labels (`schema_from_annotations`)."""
        entities = {entity.id: (entity.label, entity.start, entity.end) for entity in gold.entities}
        triples = {
            (relation.label, *entities[relation.head], *entities[relation.tail][1:]) for relation in gold.relations
        }
        found = {(label, *span) for label, entries in answer.items() for span, _ in _located(entries)}
        found_triples = {
            (name, label, *span, *tail)
            for label, entries in answer.items()
            for span, entry in _located(entries)
            for name, tails in entry.get("relations", {}).items()
            for tail, _ in _located(tails)
        }
        _count(self._entities, set(entities.values()), found)
        _count(self._relations, triples, found_triples)

    def result(self) -> dict[str, Any]:
        """The scores."""
        relations = _summary(self._relations, "relation_") if self._relations else {}
        return _summary(self._entities, "entity_") | relations


def _located(entries: Sequence[Answer]) -> Iterator[tuple[tuple[int, int], Answer]]:
    """Spans among the entries; classes have no place in the text."""
    return (((entry["start"], entry["end"]), entry) for entry in entries if "start" in entry)


def _count(table: dict[str, Counts], gold: set[Any], found: set[Any]) -> None:
    for label in {item[0] for item in gold | found}:
        expected = {item for item in gold if item[0] == label}
        predicted = {item for item in found if item[0] == label}
        table.setdefault(label, Counts()).add(len(expected), len(predicted), len(expected & predicted))
