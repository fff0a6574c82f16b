"""What a file of labelled text probably is: its format, its columns, and the recipe values that follow from it.

A guess is a proposal for a new recipe, which its author reads; nothing that trains relies on one.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import DataError, Location, ZooError
from zoo_cli.data.examples import AnnotatedText, TaggedTokens, TextExample
from zoo_cli.data.lines import byte_lines, decode
from zoo_cli.data.readers import read

Language = Literal["zh", "en"]

ROWS = 200
"""How much of a file is looked at."""

TASK_OF_FORMAT = {
    "prompt": "extraction",
    "doccano": "extraction",
    "label_studio": "extraction",
    "cluener": "extraction",
    "bio": "token_classification",
    "bmes": "token_classification",
    "conll": "token_classification",
    "csv": "sequence_classification",
    "tsv": "sequence_classification",
    "jsonl": "sequence_classification",
    "cluewsc": "sequence_classification",
    "squad": "question_answering",
    "c3": "multiple_choice",
    "chid": "multiple_choice",
    "choices": "multiple_choice",
    "cail_scm": "matching",
    "utc": "utc",
    "cmeee": "nested_ner",
    "spo": "spo",
    "nlu": "intent_slot",
    "dialogue": "dialogue",
    "kdconv": "dialogue",
    "lccc": "dialogue",
    "documents": "language_modeling",
}
"""The task that files of a format are most often for."""

_KEYS: list[tuple[set[str], str]] = [
    ({"content", "prompt", "result_list"}, "prompt"),
    ({"spo_list"}, "spo"),
    ({"A", "B", "C"}, "cail_scm"),
    ({"candidates", "content"}, "chid"),
    ({"choices", "labels", "text_a"}, "utc"),
    ({"choices", "context"}, "choices"),
    ({"intent", "slots"}, "nlu"),
    ({"turns"}, "dialogue"),
    ({"history", "response"}, "dialogue"),
    ({"messages"}, "kdconv"),
    ({"annotations", "data"}, "label_studio"),
]
"""Keys that give a JSON format away."""

_PAIRS = [("source", "target"), ("content", "summary"), ("article", "summary"), ("input", "output")]
"""Names of a text to read and one to write."""
_TEXT = ("text", "sentence", "sentence1", "text_a", "query", "question", "content", "premise", "review", "title")
_SECOND = ("text_pair", "sentence2", "text_b", "query2", "hypothesis", "hypo", "question2")
_LABEL = ("label_desc", "label", "labels", "class", "category", "score", "gold_label", "similarity")
_TAG = re.compile(r"O|[BIMESLU]-\S+")


@dataclass
class Guess:
    """What a file probably is.

    Args:
        format: name in `zoo_cli.data.formats.FORMATS`.
        options: of the format.
        task: what it is probably for.
        language: of its texts.
        labels: entity types or classes of entities, by frequency.
        relations: entity type -> labels of the relations that begin at it.
        characters: 95th percentile of the texts' lengths, 0 if not known.
        several_labels: rows have lists of classes.
        rows: how many were looked at, `ROWS` at most.
    """

    format: str
    options: dict[str, Any] = field(default_factory=dict)
    task: str = "sequence_classification"
    language: Language = "zh"
    labels: list[str] = field(default_factory=list)
    relations: dict[str, list[str]] = field(default_factory=dict)
    characters: int = 0
    several_labels: bool = False
    rows: int = 0


def guess(path: Path, format: str | None = None) -> Guess:
    """Look at the beginning of a file.

    Args:
        path: the file.
        format: how it is written, if that is known.

    Raises:
        DataError: the file cannot be read, is empty, or is not UTF-8.
    """
    lines = _head(path)
    if not any(line.strip() for line in lines):
        raise DataError("empty-data", "there is no example in the file", at=Location.of(path, 1))
    if format is None:
        format, options, task = _recognise(path, lines)
    else:
        _, options, task = _recognise(path, lines) if format in ("csv", "tsv", "jsonl") else ("", {}, "")
    found = Guess(format, options, task or TASK_OF_FORMAT[format])
    texts = _read_examples(path, found) or lines
    found.rows = len(texts)
    letters = [character for text in texts for character in text if character.isalpha()]
    chinese = sum("\u4e00" <= character <= "\u9fff" for character in letters)
    found.language = "zh" if chinese * 5 >= len(letters) else "en"
    return found


def _head(path: Path) -> list[str]:
    lines, offset = [], 0
    for number, line in enumerate(islice(byte_lines(path), ROWS), 1):
        lines.append(decode(path, number, line, offset).rstrip("\r\n"))
        offset += len(line)
    return lines


def _recognise(path: Path, lines: Sequence[str]) -> tuple[str, dict[str, Any], str]:
    """Format, its options, and the task if it is another than the format's own."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first[:1] in ("{", "["):
        return _recognise_json(path, first)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if ".csv" in suffixes or ".tsv" in suffixes:
        return _recognise_table("csv" if ".csv" in suffixes else "tsv", lines)
    rows = [line.split() for line in lines if line.strip()]
    tags = {row[-1] for row in rows if len(row) > 1 and _TAG.fullmatch(row[-1])}
    if tags and sum(len(row) > 1 and row[-1] in tags for row in rows) > 0.9 * len(rows):
        prefixes = {tag[0] for tag in tags}
        # One tab may part tokens that hold blanks.
        return ("bio" if prefixes <= set("BIO") else "bmes" if "M" in prefixes else "conll"), {}, ""
    if rows and all("\t" in line for line in lines if line.strip()):
        return _recognise_table("tsv", lines)
    if any(line.startswith(" = ") for line in lines):
        return "documents", {"document": "article"}, ""
    return "documents", {"document": "paragraph" if "" in lines[:-1] else "line"}, ""


def _recognise_json(path: Path, first: str) -> tuple[str, dict[str, Any], str]:
    values = _items(path, first)
    item = values[0] if values else {}
    if isinstance(item, list):
        return ("lccc" if all(isinstance(each, str) for each in item) else "c3"), {}, ""
    if not isinstance(item, dict) or not item:
        return "jsonl", {}, ""
    if isinstance(item.get("data"), list):
        return "squad", {}, ""
    if isinstance(item.get("target"), dict):
        return "cluewsc", {}, ""
    for keys, name in _KEYS:
        if keys <= item.keys():
            return name, {}, ""
    spans = next((row["entities"] for row in values if isinstance(row, dict) and row.get("entities")), None)
    if "entities" in item:
        return ("cmeee" if "start_idx" in json.dumps(spans) else "doccano"), {}, ""
    rows = [row for row in values if isinstance(row, dict)]
    label = next((found for row in rows if (found := row.get("label") or row.get("labels"))), None)
    if isinstance(label, dict):
        return ("doccano" if "entities" in label else "cluener"), {}, ""
    if isinstance(label, list) and isinstance(label[0], list):
        return "doccano", {}, ""
    names = [str(key) for key in item]
    columns, task = _columns(names, [[str(each) for each in row.values()] for row in values if isinstance(row, dict)])
    return "jsonl", _options(columns, names), task


def _items(path: Path, first: str) -> list[Any]:
    """The first values of JSON lines, of a JSON list, or the one object of the file."""
    try:
        items = [json.loads(first)]
        if isinstance(items[0], dict) or all(isinstance(each, str) for each in items[0]):
            for number, line in enumerate(islice(byte_lines(path), ROWS), 1):
                if number > 1 and line.strip():
                    items.append(json.loads(line))
            return items
    except ValueError:
        pass  # the first line is no whole value, so the file may be one
    try:
        value = json.loads(b"".join(byte_lines(path)))
    except ValueError:
        return []
    return value[:ROWS] if isinstance(value, list) else [value]


def _recognise_table(name: str, lines: Sequence[str]) -> tuple[str, dict[str, Any], str]:
    quoted = csv.reader(lines) if name == "csv" else (line.split("\t") for line in lines)
    rows = [row for row in quoted if row]
    known = {*_TEXT, *_SECOND, *_LABEL, *(each for pair in _PAIRS for each in pair)}
    if rows and known & {cell.strip().lower() for cell in rows[0]}:
        names = [cell.strip() for cell in rows[0]]
        columns, task = _columns(names, rows[1:])
        return name, _options(columns, names), task
    width = min((len(row) for row in rows), default=0)
    if width < 2:
        return name, {"columns": {"text": 0, "label": None}}, ""
    # Without names: the label is what repeats most, the text what is longest.
    kinds = [len({row[column] for row in rows}) for column in range(width)]
    label = min(range(width), key=lambda column: (kinds[column], -column))
    sizes = [sum(len(row[column]) for row in rows) for column in range(width)]
    others = sorted((column for column in range(width) if column != label), key=lambda column: -sizes[column])
    texts = sorted(others[:2]) if width == 3 and sizes[others[1]] * 4 > sizes[others[0]] else others[:1]
    return name, {"columns": dict(zip(("text", "text_pair"), texts, strict=False)) | {"label": label}}, ""


def _columns(names: list[str], rows: list[list[str]]) -> tuple[dict[str, str | None], str]:
    """Names of the columns that differ from the usual ones, and the task if the text is written, not classified."""
    lower = {name.lower(): name for name in names}
    for source, target in _PAIRS:
        if source in lower and target in lower:
            return {"text": lower[source], "label": lower[target]}, "generation"
    text = next((lower[name] for name in _TEXT if name in lower), None)
    if text is None:
        sizes = {name: sum(len(row[index]) for row in rows if index < len(row)) for index, name in enumerate(names)}
        text = max(names, key=lambda name: sizes[name])
    second = next((lower[name] for name in _SECOND if name in lower), None)
    others = [index for index, name in enumerate(names) if name not in (text, second)]
    label = next((lower[name] for name in _LABEL if name in lower and names.index(lower[name]) in others), None)
    if label is None and others:  # what repeats most
        label = names[min(others, key=lambda index: len({row[index] for row in rows if index < len(row)}))]
    usual = {"text": "text", "text_pair": None, "label": "label"}
    found = {"text": text, "text_pair": second, "label": label}
    return {key: value for key, value in found.items() if value != usual[key]}, "" if label else "language_modeling"


def _options(columns: dict[str, str | None], names: list[str]) -> dict[str, Any]:
    """Options of a format with columns: those that have other names, and whether the label is a score."""
    options: dict[str, Any] = {"columns": columns} if columns else {}
    label = columns.get("label", "label")
    if label in names and str(label).lower() in ("score", "similarity"):
        options["label_type"] = "score"
    return options


def _read_examples(path: Path, found: Guess) -> list[str]:
    """Note labels and lengths of the first examples, and return their texts; none where the guess was wrong."""
    entities: Counter[str] = Counter()
    relations: dict[str, dict[str, None]] = {}
    texts = []
    try:
        for example in islice(read(path, found.format, found.options, strict=False), ROWS):
            if isinstance(example, AnnotatedText):
                kinds = {entity.id: entity.label for entity in example.entities}
                entities.update(kinds.values())
                for relation in example.relations:
                    if relation.head in kinds:
                        relations.setdefault(kinds[relation.head], {})[relation.label] = None
            elif isinstance(example, TaggedTokens):
                entities.update(tag.partition("-")[2] for tag in example.tags or () if "-" in tag)
                texts.append("".join(example.tokens))
                continue
            if isinstance(example, TextExample) and isinstance(example.label, list):
                found.several_labels = True
            fields = (getattr(example, name, None) for name in ("text", "text_pair", "content", "context", "question"))
            texts.append("".join(text for text in fields if text))
    except ZooError:
        return []  # `zoo data check` says what is wrong
    found.labels = [label for label, _ in entities.most_common()]
    found.relations = {label: list(names) for label, names in relations.items()}
    if texts:
        found.characters = sorted(map(len, texts))[int(0.95 * (len(texts) - 1))]
    return texts
