"""Annotated texts to UIE's training prompts, with negatives sampled as PaddleNLP's converter does.

A prompt asks for one thing: the spans of an entity label (``人物``), the objects of a subject's relation
(``王芳的出生地``), or a class (``情感倾向[正向,负向]``), whose answer is a span of the prompt itself, with negative
offsets. What differs from upstream: each text is sampled from a generator of its own, so that the result depends on the
seed and the text but not on the order of the file; a prompt that is annotated for the text is never taken as a negative
(upstream does with symmetric relations); an option is found by its place in the list and not by its last occurrence
(which fails for ``好`` in ``[好,不好]``).
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.annotations import check_links, verify
from zoo_cli.data.examples import AnnotatedText, PromptExample, Span, TaggedTokens, TextExample
from zoo_cli.data.tagged import to_annotated

OPINION = "观点词"
"""Label that is asked for only below an aspect, so it is never a negative prompt by itself."""

Source = AnnotatedText | TaggedTokens | TextExample


@dataclass(frozen=True)
class ConversionOptions:
    """How annotations become prompts.

    Args:
        negative_ratio: most negative prompts for each positive one; -1 takes all there are.
        options: classes of classification prompts.
        prompt_prefix: name of the classification.
        separator: what parts an entity's label from its class (``评价维度##正向``).
        schema_lang: ``zh`` asks for ``王芳的出生地``, ``en`` for ``birthplace of Wang Fang``.
        task_type: ``ext`` asks for what each text has; ``cls`` asks for the class of every text.
        seed: of sampling and of the order of options.

    Raises:
        UsageError: a value makes no sense (`bad-option`).
    """

    negative_ratio: int = 5
    options: tuple[str, ...] = ("正向", "负向")
    prompt_prefix: str = "情感倾向"
    separator: str = "##"
    schema_lang: Literal["zh", "en"] = "zh"
    task_type: Literal["ext", "cls"] = "ext"
    seed: int = 1000

    def __post_init__(self) -> None:
        faults = {
            "negative_ratio is -1 or more": self.negative_ratio >= -1,
            "separator is not empty": self.separator != "",
            "schema_lang is zh or en": self.schema_lang in ("zh", "en"),
            "task_type is ext or cls": self.task_type in ("ext", "cls"),
            "options are different names without commas": len(set(self.options)) == len(self.options)
            and all(option and "," not in option for option in self.options),
        }
        for rule, kept in faults.items():
            if not kept:
                raise UsageError("bad-option", "the conversion needs that {rule}", rule=rule)


@dataclass(frozen=True)
class Inventory:
    """What a set of texts is annotated with, each sorted: the material of negative prompts.

    Args:
        labels: entity labels, without classes and without `OPINION`.
        predicates: relation labels.
        names: texts of the entities.
    """

    labels: tuple[str, ...]
    predicates: tuple[str, ...]
    names: tuple[str, ...]


def as_annotated(source: Source) -> AnnotatedText:
    """Any labelled text as an annotated one: tags become entities, a class name a class.

    Raises:
        DataError: a pair of texts or a score, of which no prompt can be made (`not-convertible`).
    """
    if isinstance(source, TaggedTokens):
        return to_annotated(source)
    if isinstance(source, TextExample):
        if source.text_pair is not None or isinstance(source.label, float):
            raise DataError("not-convertible", "pairs of texts and scores have no prompt", at=source.source)
        label = source.label
        classes = [label] if isinstance(label, str) else list(label or [])
        return AnnotatedText(source.text, classes=classes, id=source.id, source=source.source)
    return source


def take_inventory(texts: Iterable[Source], options: ConversionOptions) -> Inventory:
    """Collect the labels, relations and entity texts of a whole set; texts are consumed one at a time."""
    labels: set[str] = set()
    predicates: set[str] = set()
    names: set[str] = set()
    for source in texts:
        text = as_annotated(source)
        labels.update(entity.label.split(options.separator)[0] for entity in text.entities)
        names.update(text.text[entity.start : entity.end] for entity in text.entities)
        predicates.update(relation.label for relation in text.relations)
    return Inventory(tuple(sorted(labels - {OPINION})), tuple(sorted(predicates)), tuple(sorted(names)))


def convert(
    texts: Sequence[Source], options: ConversionOptions, training: bool = True, inventory: Inventory | None = None
) -> Iterator[PromptExample]:
    """Prompts of a set of texts, text by text; see `to_prompts`."""
    known = inventory or take_inventory(texts, options)
    for text in texts:
        yield from to_prompts(text, known, options, training)


def to_prompts(
    source: Source, inventory: Inventory, options: ConversionOptions, training: bool = True
) -> list[PromptExample]:
    """All prompts of one text: positives and negatives of its entities, of its relations, and its classes.

    Args:
        source: the labelled text.
        inventory: of the set that the text belongs to.
        options: of the conversion.
        training: sample negatives; False asks for everything, as a development set does: all entity labels, and of
            each subject every relation there is.

    Raises:
        DataError: an offset does not fit, a relation refers to nothing, or a class is not among the options.
    """
    text = as_annotated(source)
    verify(text)
    check_links(text.entities, text.relations, text.source)
    generator = random.Random(f"{options.seed}:{text.text}")
    if options.task_type == "cls":
        if text.entities and not text.classes:
            raise DataError(
                "no-class",
                "the text has entities but no class",
                at=text.source,
                fix="use the task type `ext`",
            )
        return [_classification(text, text.classes, options.prompt_prefix, options, generator)]
    ratio = options.negative_ratio if training else -1
    prompts = _entity_prompts(text, inventory, options, ratio, generator)
    prompts += _relation_prompts(text, inventory, options, training, generator)
    prompts += _aspect_prompts(text, options, generator)
    if text.classes:
        prompts.append(_classification(text, text.classes, options.prompt_prefix, options, generator))
    return prompts


def relation_prompt(subject: str, predicate: str, language: Literal["zh", "en"]) -> str:
    """``王芳的出生地`` or ``birthplace of Wang Fang``."""
    return f"{subject}的{predicate}" if language == "zh" else f"{predicate} of {subject}"


def _positives(text: AnnotatedText, answers: Iterable[tuple[str, int, int]]) -> list[PromptExample]:
    """One example for each prompt, with its different spans in order."""
    spans: dict[str, set[tuple[int, int]]] = {}
    for prompt, start, end in answers:
        spans.setdefault(prompt, set()).add((start, end))
    return [
        PromptExample(
            text.text, prompt, [Span(start, end, text.text[start:end]) for start, end in sorted(found)], text.source
        )
        for prompt, found in spans.items()
    ]


def _negatives(text: AnnotatedText, prompts: Iterable[str]) -> list[PromptExample]:
    return [PromptExample(text.text, prompt, [], text.source) for prompt in prompts]


def _keeps_all(candidates: int, positives: int, ratio: int) -> bool:
    return positives == 0 or ratio == -1 or math.ceil(candidates / positives) <= ratio


def _entity_prompts(
    text: AnnotatedText, inventory: Inventory, options: ConversionOptions, ratio: int, generator: random.Random
) -> list[PromptExample]:
    """First stage: a prompt for each label of the text, and negatives among the other labels."""
    labels = [entity.label.split(options.separator)[0] for entity in text.entities]
    spans = zip(labels, text.entities, strict=True)
    positives = _positives(text, ((label, entity.start, entity.end) for label, entity in spans))
    candidates = sorted(set(inventory.labels) - set(labels))
    if not _keeps_all(len(candidates), len(positives), ratio):
        candidates = generator.sample(candidates, ratio * len(positives))
    return positives + _negatives(text, candidates)


def _relation_prompts(
    text: AnnotatedText, inventory: Inventory, options: ConversionOptions, training: bool, generator: random.Random
) -> list[PromptExample]:
    """Second stage: a prompt for each subject and relation, and negatives."""
    if not text.relations:
        return []
    entities = {entity.id: entity for entity in text.entities}
    names = {entity.id: text.text[entity.start : entity.end] for entity in text.entities}

    def ask(subject: str, predicate: str) -> str:
        return relation_prompt(subject, predicate, options.schema_lang)

    positives = _positives(
        text,
        (
            (ask(names[relation.head], relation.label), entities[relation.tail].start, entities[relation.tail].end)
            for relation in text.relations
        ),
    )
    gold = {example.prompt for example in positives}
    subjects = list(dict.fromkeys(names[relation.head] for relation in text.relations))
    if training:
        pools = _pools(text, names, subjects, gold, inventory, options, generator)
        negatives = _sample_pools(pools, len(positives), options.negative_ratio, generator)
    else:
        negatives = [ask(subject, predicate) for subject in subjects for predicate in inventory.predicates]
    return positives + _negatives(text, (prompt for prompt in negatives if prompt not in gold))


@dataclass(frozen=True)
class _Pool:
    """Negative prompts to draw from, made only when drawn: the second pool is as large as the data set."""

    size: int
    prompt: Callable[[int], str]


def _pools(
    text: AnnotatedText,
    names: dict[str, str],
    subjects: list[str],
    gold: set[str],
    inventory: Inventory,
    options: ConversionOptions,
    generator: random.Random,
) -> list[_Pool]:
    def ask(subject: str, predicate: str) -> str:
        return relation_prompt(subject, predicate, options.schema_lang)

    # 1. The object asked for what was asked of the subject.
    inverse = [ask(names[relation.tail], relation.label) for relation in text.relations]
    # 2. What is no subject here, or named elsewhere only, asked for a relation of this text.
    left_out = [place for subject in set(subjects) if (place := _place(inventory.names, subject)) is not None]
    left_out.sort()

    def foreign(index: int) -> str:
        name = inventory.names[_nth_left(left_out, index)]
        return ask(name, generator.choice(text.relations).label)

    # 3. A subject of this text asked for an entity label that the text does not have.
    labels = {entity.label.split(options.separator)[0] for entity in text.entities}
    absent = [ask(generator.choice(subjects), label) for label in sorted(set(inventory.labels) - labels)]
    explicit = [[prompt for prompt in prompts if prompt not in gold] for prompts in (inverse, absent)]
    return [
        _Pool(len(explicit[0]), explicit[0].__getitem__),
        _Pool(len(inventory.names) - len(left_out), foreign),
        _Pool(len(explicit[1]), explicit[1].__getitem__),
    ]


def _place(values: Sequence[str], value: str) -> int | None:
    """Index of a value in a sorted sequence."""
    index = bisect_left(values, value)
    return index if index < len(values) and values[index] == value else None


def _nth_left(removed: Sequence[int], index: int) -> int:
    """The number at `index` among 0, 1, 2, ... without the sorted numbers `removed`."""
    for number in removed:
        if number > index:
            break
        index += 1
    return index


def _sample_pools(pools: Sequence[_Pool], positives: int, ratio: int, generator: random.Random) -> list[str]:
    """Draw up to a third of `ratio` for each positive from each pool, then top up from what was left in them."""
    share = ratio // 3
    taken = [
        list(range(pool.size))
        if _keeps_all(pool.size, positives, share)
        else sorted(generator.sample(range(pool.size), share * positives))
        for pool in pools
    ]
    drawn = [pool.prompt(index) for pool, indices in zip(pools, taken, strict=True) for index in indices]
    left = [pool.size - len(indices) for pool, indices in zip(pools, taken, strict=True)]
    missing = min(positives * ratio - len(drawn), sum(left))
    if missing > 0:
        for index in generator.sample(range(sum(left)), missing):
            for pool, indices, count in zip(pools, taken, left, strict=True):
                if index < count:
                    drawn.append(pool.prompt(_nth_left(indices, index)))
                    break
                index -= count
    return drawn


def _aspect_prompts(text: AnnotatedText, options: ConversionOptions, generator: random.Random) -> list[PromptExample]:
    """A classification prompt for each entity whose label bears classes; all mentions of a name are one question."""
    classes: dict[str, dict[str, None]] = {}
    for entity in text.entities:
        _, *names = entity.label.split(options.separator)
        if names:
            classes.setdefault(text.text[entity.start : entity.end], {}).update(dict.fromkeys(names))
    return [
        _classification(
            text, list(names), relation_prompt(subject, options.prompt_prefix, options.schema_lang), options, generator
        )
        for subject, names in classes.items()
    ]


def _classification(
    text: AnnotatedText, classes: Sequence[str], prefix: str, options: ConversionOptions, generator: random.Random
) -> PromptExample:
    """A prompt with its options in random order, so that a model reads them instead of counting them."""
    order = generator.sample(options.options, len(options.options))
    prompt = f"{prefix}[{','.join(order)}]"
    starts, position = {}, len(prefix) + 1
    for option in order:
        starts[option] = position
        position += len(option) + 1
    spans = []
    for name in dict.fromkeys(classes):
        if name not in starts:
            raise DataError(
                "unknown-option",
                "the class {name!r} is not among the options {options}",
                at=text.source,
                fix="add it to the options",
                name=name,
                options=", ".join(options.options),
            )
        # -1 is the separator between prompt and content, so the prompt's last character is -2.
        start = starts[name] - len(prompt) - 1
        spans.append(Span(start, start + len(name), name))
    return PromptExample(text.text, prompt, spans, text.source)


def split_content(example: PromptExample, max_content_chars: int) -> tuple[list[PromptExample], list[Span]]:
    """Cut a long training example into chunks without overlap.

    A boundary inside an answer moves to the answer's start, repeatedly where answers overlap. Where that would leave
    an empty chunk the boundary stays, and the answers that it cuts are lost. Answers in the prompt (negative offsets)
    go with every chunk.

    Args:
        example: prompt, content and answers.
        max_content_chars: most characters in a chunk, at least 1; PaddleNLP takes max_length - len(prompt) - 3.

    Returns:
        The chunks, and the answers that are in none of them.

    Raises:
        DataError: the prompt leaves no room (`prompt-too-long`).
    """
    if max_content_chars < 1:
        raise DataError(
            "prompt-too-long",
            "the prompt {prompt!r} leaves no room for the text",
            at=example.source,
            fix="raise `max_length` or shorten the prompt",
            prompt=example.prompt,
        )
    content = example.content
    if len(content) <= max_content_chars:
        return [example], []
    in_prompt = [span for span in example.spans if span.start < 0]
    left = sorted((span for span in example.spans if span.start >= 0), key=lambda span: (span.start, span.end))
    chunks: list[PromptExample] = []
    lost: list[Span] = []
    begin = 0
    while begin < len(content):
        end = _boundary(left, begin, begin + max_content_chars)
        inside = [span for span in left if span.end <= end]
        lost += [span for span in left if span.start < end < span.end]
        left = [span for span in left if span.start >= end]
        moved = [Span(span.start - begin, span.end - begin, span.text) for span in inside]
        chunks.append(PromptExample(content[begin:end], example.prompt, in_prompt + moved, example.source))
        begin = end
    return chunks, lost


def _boundary(spans: Sequence[Span], begin: int, end: int) -> int:
    """The last place up to `end` that cuts none of the spans that fit between `begin` and `end`; else `end`."""
    limit = end
    for span in reversed(spans):
        if span.start < limit < span.end and span.end - span.start <= end - begin:
            limit = span.start
    return limit if limit > begin else end


def prompt_row(example: PromptExample) -> dict[str, Any]:
    """The line of a prompt file."""
    return {
        "content": example.content,
        "result_list": [{"text": span.text, "start": span.start, "end": span.end} for span in example.spans],
        "prompt": example.prompt,
    }


def doccano_row(text: AnnotatedText) -> dict[str, Any]:
    """The line of a doccano file (relation form, or classes) that says the same.

    Raises:
        DataError: the text has both entities and classes, which no form of doccano's holds (`not-convertible`).
    """
    if text.classes and text.entities:
        raise DataError("not-convertible", "doccano holds entities or classes, not both", at=text.source)
    head = {} if text.id is None else {"id": text.id}
    if text.classes:
        return {**head, "text": text.text, "label": text.classes}
    numbers = {entity.id: number for number, entity in enumerate(text.entities)}
    return {
        **head,
        "text": text.text,
        "entities": [
            {
                "id": numbers[entity.id],
                "start_offset": entity.start,
                "end_offset": entity.end,
                "label": entity.label,
            }
            for entity in text.entities
        ],
        "relations": [
            {
                "id": number,
                "from_id": numbers[relation.head],
                "to_id": numbers[relation.tail],
                "type": relation.label,
            }
            for number, relation in enumerate(text.relations)
        ],
    }
