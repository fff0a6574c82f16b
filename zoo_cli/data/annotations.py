"""Exports of annotation tools: CLUENER's JSON, doccano, Label Studio, and PaddleNLP's prompt lines.

Readers check the shape of the data, not the offsets: those are `verify`'s, so that `zoo_cli.data.checks` can read a
file whose offsets are wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import AnnotatedText, Entity, PromptExample, Relation, Span
from zoo_cli.data.formats import LabelStudioOptions, NoOptions
from zoo_cli.data.lines import field, json_items, json_objects, json_rows, kind


def verify(example: AnnotatedText | PromptExample) -> None:
    """Check that every span lies inside its text and bears the characters that the file states.

    Raises:
        DataError: one does not (`bad-offset`).
    """
    if isinstance(example, AnnotatedText):
        for entity in example.entities:
            _verify_span(example.text, entity.start, entity.end, entity.text, example.source)
        return
    for span in example.spans:
        if span.start < 0:
            # The prompt's last character is -2: position -1 is the separator before the content.
            bias = len(example.prompt) + 1
            _verify_span(example.prompt, span.start + bias, span.end + bias, span.text, example.source, bias)
        else:
            _verify_span(example.content, span.start, span.end, span.text, example.source)


def _verify_span(text: str, start: int, end: int, stated: str | None, at: Location | None, bias: int = 0) -> None:
    fix = "`zoo data check --fix` writes a corrected copy"
    place = {"start": start - bias, "end": end - bias}
    if not 0 <= start < end <= len(text):
        template = "span {start}:{end} is empty or outside of the text of {length} characters"
        raise DataError("bad-offset", template, at=at, fix=fix, length=len(text), **place)
    if stated is not None and text[start:end] != stated:
        template = "span {start}:{end} is {found!r} in the text, not {stated!r}"
        raise DataError("bad-offset", template, at=at, fix=fix, found=text[start:end], stated=stated, **place)


def read_cluener(path: Path, options: NoOptions) -> Iterator[AnnotatedText]:
    """``{"text", "label": {type: {name: [[first, last], ...]}}}`` lines; `last` is the last character's offset."""
    for at, row in json_objects(path):
        entities: list[Entity] = []
        for label, names in field(row, "label", dict, at, {}).items():
            if not isinstance(names, dict):
                raise DataError(
                    "wrong-type", "label {label!r} is {found}, not an object", at=at, label=label, found=kind(names)
                )
            for name, spans in names.items():
                for first, last in _pairs(spans, name, at):
                    entities.append(Entity(first, last + 1, label, str(len(entities)), name))
        yield AnnotatedText(field(row, "text", str, at), entities, id=_id(row, at), source=at)


def _pairs(spans: Any, name: str, at: Location) -> list[tuple[int, int]]:
    if not isinstance(spans, list):
        raise DataError(
            "wrong-type", "the spans of {name!r} are {found}, not a list", at=at, name=name, found=kind(spans)
        )
    for span in spans:
        if not (isinstance(span, list) and len(span) == 2 and all(type(offset) is int for offset in span)):
            raise DataError("wrong-type", "a span of {name!r} is not a pair of numbers", at=at, name=name)
    return [(span[0], span[1]) for span in spans]


def _id(row: dict[str, Any], at: Location) -> str | None:
    value = row.get("id")
    if value is None:
        return None
    return str(field(row, "id", (str, int), at))


def read_doccano(path: Path, options: NoOptions) -> Iterator[AnnotatedText]:
    """Doccano's exports, JSON lines or one JSON list, in the forms of all its versions.

    Relations: ``{"text", "entities": [...], "relations": [...]}``, or both lists inside ``label``. Spans:
    ``{"text", "label": [[start, end, label], ...]}``. Classes: ``{"text", "label": ["name", ...]}``. Before version
    1.6.2 the text was called ``data``; some versions write ``labels``.
    """
    for at, row in json_rows(path):
        text = field(row, "data" if "data" in row else "text", str, at)
        annotations = row.get("label", row.get("labels"))
        holder = annotations if isinstance(annotations, dict) else row
        entities, relations, classes = [], [], []
        if "entities" in holder:
            entities = _doccano_entities(field(holder, "entities", list, at), at)
            relations = _doccano_relations(field(holder, "relations", list, at, []), entities, at)
        elif isinstance(annotations, str):
            classes = [annotations]
        elif isinstance(annotations, list):
            if all(isinstance(label, str) for label in annotations):
                classes = annotations
            else:
                entities = [_doccano_triple(label, str(number), at) for number, label in enumerate(annotations)]
        elif annotations is not None:
            raise DataError("wrong-type", "'label' is {found}, not a list", at=at, found=kind(annotations))
        yield AnnotatedText(text, entities, relations, classes, _id(row, at), at)


def _doccano_triple(label: Any, name: str, at: Location) -> Entity:
    if (
        not (isinstance(label, list) and len(label) == 3 and isinstance(label[2], str))
        or type(label[0]) is not int
        or type(label[1]) is not int
    ):
        raise DataError("wrong-type", "a label is not a list of start, end and name", at=at)
    return Entity(label[0], label[1], label[2], name)


def _doccano_entities(rows: list[Any], at: Location) -> list[Entity]:
    return [
        Entity(
            field(row, "start_offset", int, at),
            field(row, "end_offset", int, at),
            field(row, "label", str, at),
            str(field(row, "id", (int, str), at, number)),
        )
        for number, row in enumerate(rows)
    ]


def _doccano_relations(rows: list[Any], entities: list[Entity], at: Location) -> list[Relation]:
    relations = [
        Relation(
            field(row, "type", str, at),
            str(field(row, "from_id", (int, str), at)),
            str(field(row, "to_id", (int, str), at)),
        )
        for row in rows
    ]
    check_links(entities, relations, at)
    return relations


def check_links(entities: list[Entity], relations: list[Relation], at: Location | None) -> None:
    """Check that entity ids are unique and that relations refer to them.

    Raises:
        DataError: `duplicate-id` or `unknown-entity`.
    """
    known = {entity.id for entity in entities}
    if len(known) < len(entities):
        raise DataError("duplicate-id", "two entities have the same id", at=at)
    for relation in relations:
        for name in (relation.head, relation.tail):
            if name not in known:
                raise DataError(
                    "unknown-entity",
                    "relation {label!r} refers to entity {name!r}, which the text does not have",
                    at=at,
                    label=relation.label,
                    name=name,
                )


def read_label_studio(path: Path, options: LabelStudioOptions) -> Iterator[AnnotatedText]:
    """Items of Label Studio's JSON export: text spans, relations and choices of the first annotation not cancelled."""
    for at, item in json_items(path):
        text = field(field(item, "data", dict, at), options.text, str, at)
        entities: list[Entity] = []
        relations: list[Relation] = []
        classes: list[str] = []
        for result in label_studio_results(item, at):
            type_ = field(result, "type", str, at)
            if type_ == "labels":
                entities += _label_studio_entities(result, at)
            elif type_ == "choices":
                classes += _strings(field(result, "value", dict, at), "choices", at)
            elif type_ == "relation":
                relations += _label_studio_relations(result, options, at)
            elif type_.endswith("labels"):
                raise DataError(
                    "unsupported-annotation",
                    "annotations of type {type!r} are not on plain text",
                    at=at,
                    fix="label the text itself, with <Labels> on a <Text>",
                    type=type_,
                )
        check_links(entities, relations, at)
        yield AnnotatedText(text, entities, relations, classes, _id(item, at), at)


def label_studio_results(item: dict[str, Any], at: Location | None = None) -> list[Any]:
    """Results of the first annotation of an item that was not cancelled."""
    for annotation in field(item, "annotations", list, at, []):
        results = field(annotation, "result", list, at)
        if not annotation.get("was_cancelled"):
            return results
    return []


def _strings(value: dict[str, Any], key: str, at: Location) -> list[str]:
    names = field(value, key, list, at)
    if not all(isinstance(name, str) for name in names):
        raise DataError("wrong-type", "{key!r} is not a list of strings", at=at, key=key)
    return names


def _label_studio_entities(result: dict[str, Any], at: Location) -> list[Entity]:
    value = field(result, "value", dict, at)
    name = field(result, "id", str, at)
    labels = _strings(value, "labels", at)
    if not labels:
        raise DataError("missing-field", "a labelled region has no label", at=at)
    start, end = field(value, "start", int, at), field(value, "end", int, at)
    stated = field(value, "text", str, at) if "text" in value else None
    # Relations refer to the region: to its first label where an annotator gave it several.
    ids = [name] + [f"{name}#{number}" for number in range(1, len(labels))]
    return [Entity(start, end, label, id_, stated) for label, id_ in zip(labels, ids, strict=True)]


def _label_studio_relations(result: dict[str, Any], options: LabelStudioOptions, at: Location) -> list[Relation]:
    head, tail = field(result, "from_id", str, at), field(result, "to_id", str, at)
    labels = _strings(result, "labels", at) if result.get("labels") is not None else []
    label = labels[0] if labels else options.default_relation
    direction = result.get("direction", "right")
    pairs = {"left": [(tail, head)], "bi": [(head, tail), (tail, head)]}.get(str(direction), [(head, tail)])
    return [Relation(label, *pair) for pair in pairs]


def read_prompt(path: Path, options: NoOptions) -> Iterator[PromptExample]:
    """PaddleNLP's ``{"content", "prompt", "result_list": [{"text", "start", "end"}]}`` lines."""
    for at, row in json_objects(path):
        yield prompt_example(row, at)


def prompt_example(row: Any, at: Location) -> PromptExample:
    """One line of `read_prompt`.

    Raises:
        DataError: a key is missing or of the wrong type.
    """
    spans = [
        Span(field(span, "start", int, at), field(span, "end", int, at), field(span, "text", str, at))
        for span in field(row, "result_list", list, at)
    ]
    return PromptExample(field(row, "content", str, at), field(row, "prompt", str, at), spans, at)
