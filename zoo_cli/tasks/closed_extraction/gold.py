"""Annotated texts as answers, and answers as annotated texts: the schema's view of what an annotator wrote."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from zoo_cli.base.errors import DataError
from zoo_cli.data.annotations import check_links, verify
from zoo_cli.data.examples import AnnotatedText, Entity, Relation
from zoo_cli.tasks.closed_extraction.layout import Slot, key_of
from zoo_cli.tasks.extraction.postprocess import Answer
from zoo_cli.tasks.extraction.schema import schema_from_annotations

Answers = dict[str, list[Answer]]
"""A whole result, as UIE gives it: name -> entries, which may have `relations` of the same form."""

Item = tuple[str, tuple[Any, ...], str]
"""One find: path of its name; the places of the spans that it belongs to, its own last; option of a class or ""."""


def gold_answers(example: AnnotatedText, slots: Sequence[Slot], separator: str) -> Answers:
    """What a schema asks for, as an annotated text has it; all probabilities are 1.

    Entities answer to names at the root, tails of relations to names below them whatever their own label is, and
    classes (``评价维度##正向``, or those of the text) to a class that has them as an option. Annotations that the
    schema does not ask for are left out.

    Args:
        example: the text.
        slots: the schema.
        separator: what parts an entity's label from its class.

    Raises:
        DataError: an annotation does not fit its text.
    """
    verify(example)
    check_links(example.entities, example.relations, example.source)
    entities = {entity.id: entity for entity in example.entities}
    tails: dict[str, list[Relation]] = defaultdict(list)
    for relation in example.relations:
        tails[relation.head].append(relation)

    def spans(slot: Slot, names: Iterable[str]) -> list[Answer]:
        groups: dict[tuple[int, int], list[str]] = defaultdict(list)
        for name in names:
            groups[entities[name].start, entities[name].end].append(name)
        return [entry(slot, start, end, group) for (start, end), group in sorted(groups.items())]

    def entry(slot: Slot, start: int, end: int, group: Sequence[str]) -> Answer:
        answer: Answer = {"text": example.text[start:end], "start": start, "end": end, "probability": 1.0}
        relations: Answers = {}
        for child in slot.children:
            if child.options:
                relations[child.name] = chosen(child, (entities[name].label.partition(separator)[2] for name in group))
            else:
                linked = (each for name in group for each in tails[name])
                relations[child.name] = spans(
                    child, (each.tail for each in linked if key_of(each.label) == key_of(child.name))
                )
        return answer | _present({"relations": _present(relations)})

    def chosen(slot: Slot, classes: Iterable[str]) -> list[Answer]:
        stated = set(map(key_of, classes))
        return [{"text": name, "probability": 1.0} for name in slot.options if name in stated][:1]

    labels: dict[str, list[str]] = defaultdict(list)
    for entity in example.entities:
        labels[key_of(entity.label.partition(separator)[0])].append(entity.id)
    return _present(
        {
            slot.name: chosen(slot, example.classes) if slot.options else spans(slot, labels[key_of(slot.name)])
            for slot in slots
        }
    )


def _present(tree: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tree.items() if value}


def items(
    answers: Mapping[str, Sequence[Answer]], slots: Sequence[Slot], above: tuple[Any, ...] = ()
) -> Iterator[Item]:
    """Every find of a result, to be compared with those of another result.

    Args:
        answers: of the model or of an annotator.
        slots: the schema; names that it does not have are passed over.
        above: places of the spans that the result belongs to.
    """
    for slot in slots:
        for entry in answers.get(slot.name, ()):
            if slot.options:
                yield slot.path, above, entry["text"]
            elif "start" in entry:
                chain = (*above, (entry["start"], entry["end"]))
                yield slot.path, chain, ""
                yield from items(entry.get("relations", {}), slot.children, chain)


def schema_of(texts: Sequence[AnnotatedText], separator: str) -> list[str | dict[str, list[str]]]:
    """The schema that asks for all entities and relations of annotated texts.

    Raises:
        DataError: there is nothing to ask for, or there are classes, and nothing says what to call their choice
            (`no-schema`).
    """
    labels = (entity.label for text in texts for entity in text.entities)
    if any(separator in label for label in labels) or any(text.classes for text in texts):
        raise DataError(
            "no-schema",
            "the training data have classes, and nothing says what they are classes of",
            fix="set task.schema, e.g. to [{{评价维度: [观点词, '情感倾向[正向,负向]']}}]",
        )
    schema = schema_from_annotations(texts)
    if not schema:
        raise DataError("no-schema", "the training data have no annotation", fix="set task.schema")
    return schema


# -- annotations out of answers ---------------------------------------------------------------------------------------


def annotation_row(
    text: str, answers: Mapping[str, Sequence[Answer]], slots: Sequence[Slot], separator: str
) -> dict[str, Any]:
    """A result as a line of doccano's relation form, with the probability of everything in it.

    Tails of relations are labelled with the relation's name, as in PaddleNLP. A class of a span is part of the span's
    label, and its probability is `class_probability`; classes of the text are in `classes`.

    Args:
        text: the text.
        answers: a model's result.
        slots: the schema.
        separator: what parts a label from a class.
    """
    entities: dict[tuple[str, int, int], dict[str, Any]] = {}
    relations: list[dict[str, Any]] = []
    classes: list[dict[str, Any]] = []

    def add(slot: Slot, entry: Answer) -> int:
        relations_of = entry.get("relations", {})
        chosen = [choice for child in slot.children for choice in _options(child, relations_of)]
        labels = {slot.name + separator + choice["text"]: choice["probability"] for choice in chosen}
        numbers = []
        for label, sure in (labels or {slot.name: None}).items():  # one for each class, all of the same span
            row = {
                "id": len(entities),
                "start_offset": entry["start"],
                "end_offset": entry["end"],
                "label": label,
                "probability": entry["probability"],
                **({} if sure is None else {"class_probability": sure}),
            }
            numbers.append(entities.setdefault((label, entry["start"], entry["end"]), row)["id"])
        for child in slot.children:
            for tail in relations_of.get(child.name, ()) if not child.options else ():
                number = add(child, tail)
                relations.append(
                    {
                        "id": len(relations),
                        "from_id": numbers[0],
                        "to_id": number,
                        "type": child.name,
                        "probability": tail["probability"],
                    }
                )
        return int(numbers[0])

    for slot in slots:
        classes += [{"label": each["text"], "probability": each["probability"]} for each in _options(slot, answers)]
        for entry in answers.get(slot.name, ()):
            if not slot.options and "start" in entry:
                add(slot, entry)
    return {"text": text, "entities": list(entities.values()), "relations": relations, "classes": classes}


def _options(slot: Slot, answers: Mapping[str, Sequence[Answer]]) -> list[Answer]:
    """Choices of a class. UIE points at them in its prompt, so that they may be other pieces of that."""
    return [each for each in answers.get(slot.name, ()) if each["text"] in slot.options]


def example_of(row: Mapping[str, Any], threshold: float, separator: str) -> AnnotatedText:
    """The annotated text of a line of `annotation_row`, without what is less sure than a threshold.

    A relation goes with each of its ends.
    """
    entities = []
    for each in row["entities"]:
        if each["probability"] >= threshold:
            sure = each.get("class_probability", 1.0) >= threshold
            label = each["label"] if sure else each["label"].partition(separator)[0]
            entities.append(Entity(each["start_offset"], each["end_offset"], label, str(each["id"])))
    known = {entity.id for entity in entities}
    relations = [
        Relation(each["type"], str(each["from_id"]), str(each["to_id"]))
        for each in row["relations"]
        if each["probability"] >= threshold and {str(each["from_id"]), str(each["to_id"])} <= known
    ]
    classes = [each["label"] for each in row["classes"] if each["probability"] >= threshold]
    return AnnotatedText(row["text"], entities, relations, classes)
