"""Texts as public data sets spell them: CMeEE, CMeIE and DuIE, SMP 2019, CLUE's Winograd schemas."""

from __future__ import annotations

import logging
import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import AnnotatedText, Entity, Relation, TextExample
from zoo_cli.data.formats import NoOptions, SpoOptions
from zoo_cli.data.lines import field, json_rows, kind

logger = logging.getLogger(__name__)

_MAIN = "@value"
"""Key of the object itself where a triple has further slots (DuIE 2.0)."""


def read_cmeee(path: Path, options: NoOptions) -> Iterator[AnnotatedText]:
    """``{"text", "entities": [{"start_idx", "end_idx", "type", "entity"}]}`` lines, or one JSON list of such.

    `end_idx` is the offset of the last character. Entities may lie inside of others.
    """
    for at, row in json_rows(path):
        entities = []
        for number, entry in enumerate(field(row, "entities", list, at, [])):
            start, last = field(entry, "start_idx", int, at), field(entry, "end_idx", int, at)
            stated = field(entry, "entity", str, at) if "entity" in entry else None
            entities.append(Entity(start, last + 1, field(entry, "type", str, at), str(number), stated))
        yield AnnotatedText(field(row, "text", str, at), entities, source=at)


def read_spo(path: Path, options: SpoOptions) -> Iterator[AnnotatedText]:
    """``{"text", "spo_list": [{"subject", "predicate", "object", "subject_type", "object_type"}]}`` lines.

    CMeIE and DuIE are written so; the types may be missing. Where `object` and `object_type` are objects (DuIE 2.0),
    their slot ``@value`` is the object, and another slot x that of a triple with the predicate ``predicate_x``.

    The files have no offsets. Of all places of a triple's subject and object the two nearest ones that do not overlap
    are taken. Triples of which a part is not in the text are left out; how many is logged.

    Raises:
        DataError: a line is not of that form, or (with `schema_file`) a triple is of an unknown kind (`unknown-kind`).
    """
    kinds = None if options.schema_file is None else _kinds(Path(options.schema_file))
    lost = 0
    for at, row in json_rows(path):
        text = field(row, "text", str, at)
        places: dict[tuple[int, int, str], Entity] = {}
        relations: list[Relation] = []
        for spo in field(row, "spo_list", list, at, []):
            subject, subject_type = field(spo, "subject", str, at), field(spo, "subject_type", str, at, "")
            for predicate, value, object_type in _slots(spo, at):
                if kinds is not None and (subject_type, predicate, object_type) not in kinds:
                    raise _unknown_kind(subject_type, predicate, object_type, at)
                found = nearest(text, subject, value)
                if found is None:
                    lost += 1
                    continue
                ends = []
                for start, part, label in ((found[0], subject, subject_type), (found[1], value, object_type)):
                    key = (start, start + len(part), label)
                    ends.append(places.setdefault(key, Entity(*key, str(len(places)), part)))
                relation = Relation(predicate, ends[0].id, ends[1].id)
                if relation not in relations:
                    relations.append(relation)
        yield AnnotatedText(text, list(places.values()), relations, source=at)
    if lost:
        logger.warning("%s: %d triples are left out, as their subject or object is not in the text", path, lost)


def _slots(spo: dict[str, Any], at: Location) -> Iterator[tuple[str, str, str]]:
    """Predicate, object and object type of each slot of a triple that is filled in."""
    predicate = field(spo, "predicate", str, at)
    values, types = field(spo, "object", (str, dict), at), field(spo, "object_type", (str, dict), at, "")
    values = {_MAIN: values} if isinstance(values, str) else values
    types = {_MAIN: types} if isinstance(types, str) else types
    for key in values:
        value = field(values, key, str, at)
        if value or key == _MAIN:
            yield _name(predicate, key), value, field(types, key, str, at, "")


def _name(predicate: str, slot: str) -> str:
    return predicate if slot == _MAIN else f"{predicate}_{slot}"


def _kinds(path: Path) -> set[tuple[str, str, str]]:
    kinds = set()
    for at, row in json_rows(path):
        types = field(row, "object_type", (str, dict), at)
        for key in [_MAIN] if isinstance(types, str) else types:
            object_type = types if isinstance(types, str) else field(types, key, str, at)
            name = _name(field(row, "predicate", str, at), key)
            kinds.add((field(row, "subject_type", str, at), name, object_type))
    return kinds


def _unknown_kind(subject_type: str, predicate: str, object_type: str, at: Location) -> DataError:
    return DataError(
        "unknown-kind",
        "the schema file has no {predicate!r} between {subject!r} and {object!r}",
        at=at,
        predicate=predicate,
        subject=subject_type,
        object=object_type,
    )


def occurrences(text: str, part: str) -> list[int]:
    """Starts of all places where `part` is in the text, overlapping ones included; none for an empty part."""
    starts = []
    start = text.find(part) if part else -1
    while start >= 0:
        starts.append(start)
        start = text.find(part, start + 1)
    return starts


def nearest(text: str, first: str, second: str) -> tuple[int, int] | None:
    """Starts of the nearest places of two parts that do not overlap; of those that do where there is no other.

    Args:
        text: the text.
        first: one part.
        second: the other.

    Returns:
        The starts, those further to the left among equals, or None if a part is empty or not in the text.
    """
    seconds = occurrences(text, second)
    best: tuple[bool, int, int, int] | None = None
    for start in occurrences(text, first) if seconds else []:
        after = bisect_left(seconds, start + len(first))
        before = bisect_right(seconds, start - len(second)) - 1
        found = []
        if before >= 0:
            found.append((False, start - len(second) - seconds[before], start, seconds[before]))
        if after < len(seconds):
            found.append((False, seconds[after] - start - len(first), start, seconds[after]))
        # Between those two are only places that overlap.
        best = min([*found, *([] if best is None else [best])] or [(True, 0, start, seconds[before + 1])])
    return None if best is None else best[2:]


def read_nlu(path: Path, options: NoOptions) -> Iterator[AnnotatedText]:
    """Commands with intent and slots: ``{"text", "domain", "intent", "slots"}`` lines, or one JSON list of such.

    `slots` is an object of values (``{"city": "北京"}``, or a list of values; SMP 2019), or a list of places
    (``[{"slot", "start", "end"}]``). `domain` or `intent` may be missing; the document's class is both with a dot
    between them. Of the places of a value the first that no other slot has taken counts, the longest value choosing
    first.

    Raises:
        DataError: a line is not of that form, or a value is not in the text (`not-in-text`).
    """
    for at, row in json_rows(path):
        text = field(row, "text", str, at)
        slots = field(row, "slots", (dict, list), at, [])
        spans = _placed_slots(slots, at) if isinstance(slots, list) else _find_slots(text, slots, at)
        entities = [Entity(*span, str(number)) for number, span in enumerate(sorted(spans))]
        parts = [row.get("domain"), row.get("intent")]
        # SMP 2019 writes NaN where a domain has no intents.
        names = [part for part in parts if part is not None and not (isinstance(part, float) and math.isnan(part))]
        for name in names:
            if not isinstance(name, str):
                raise DataError("wrong-type", "domain or intent is {found}, not a string", at=at, found=kind(name))
        yield AnnotatedText(text, entities, classes=[".".join(names)] if names else [], source=at)


def _placed_slots(slots: list[Any], at: Location) -> list[tuple[int, int, str]]:
    return [
        (field(slot, "start", int, at), field(slot, "end", int, at), field(slot, "slot", str, at)) for slot in slots
    ]


def _find_slots(text: str, slots: dict[str, Any], at: Location) -> list[tuple[int, int, str]]:
    wanted = []
    for name, values in slots.items():
        for value in values if isinstance(values, list) else [values]:
            if not isinstance(value, str) or not value:
                raise DataError("wrong-type", "a value of slot {name!r} is not a string with text", at=at, name=name)
            wanted.append((name, value))
    found: list[tuple[int, int, str]] = []
    for name, value in sorted(wanted, key=lambda pair: -len(pair[1])):
        starts = occurrences(text, value)
        if not starts:
            raise DataError(
                "not-in-text", "{value!r} of slot {name!r} is not in the text", at=at, value=value, name=name
            )
        free = [start for start in starts if all(start + len(value) <= s or e <= start for s, e, _ in found)]
        start = (free or starts)[0]
        found.append((start, start + len(value), name))
    return found


def read_cluewsc(path: Path, options: NoOptions) -> Iterator[TextExample]:
    """Lines of CLUEWSC 2020: does the pronoun, span 2, mean span 1?

    A line is ``{"text", "target": {"span1_text", "span1_index", "span2_text", "span2_index"}, "label", "idx"}``.

    The spans are marked in the text as in PaddleNLP: ``_span 1_`` and ``[span 2]``.

    Raises:
        DataError: a line is not of that form, or a span does not stand at its index (`bad-offset`).
    """
    for at, row in json_rows(path):
        text, target = field(row, "text", str, at), field(row, "target", dict, at)
        marks: list[tuple[int, int, str]] = []
        for number, before, after in ((1, "_", "_"), (2, "[", "]")):
            span, start = field(target, f"span{number}_text", str, at), field(target, f"span{number}_index", int, at)
            end = start + len(span)
            if start < 0 or text[start:end] != span:
                raise DataError(
                    "bad-offset",
                    "the text has {found!r} at {start}, not {span!r}",
                    at=at,
                    found=text[max(start, 0) : end],
                    start=start,
                    span=span,
                )
            marks += [(start, 1, before), (end, 0, after)]
        for place, _, mark in sorted(marks, reverse=True):
            text = text[:place] + mark + text[place:]
        label = row.get("label")
        name = str(row["idx"]) if "idx" in row else None
        yield TextExample(text, label=None if label is None else str(label).lower(), id=name, source=at)
