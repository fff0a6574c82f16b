"""Rows with a text, perhaps a second one, and a label: CSV, TSV and JSON lines with a mapping of columns."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import TextExample
from zoo_cli.data.formats import Column, CsvOptions, RowOptions
from zoo_cli.data.lines import json_rows, kind, text_lines

_FIELD_LIMIT = 1 << 24


def read_csv(path: Path, options: CsvOptions) -> Iterator[TextExample]:
    """Rows of a comma-separated file (RFC 4180)."""
    return _read_table(path, options, ",")


def read_tsv(path: Path, options: CsvOptions) -> Iterator[TextExample]:
    """Rows of a tab-separated file."""
    return _read_table(path, options, "\t")


def table_rows(path: Path, options: CsvOptions, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with the line on which each begins, header included; blank lines are skipped.

    Raises:
        DataError: a quoted field is not closed or followed by stray characters (`broken-csv`), or a row has more or
            fewer columns than the first one (`ragged-row`, unless the options say to skip it).
    """
    last = 0

    def feed() -> Iterator[str]:
        nonlocal last
        for number, line in text_lines(path):
            last = number
            yield line + "\n"

    if options.quoted:
        csv.field_size_limit(_FIELD_LIMIT)
        rows: Iterator[list[str]] = csv.reader(feed(), delimiter=delimiter, strict=True)
    else:
        rows = (line[:-1].split(delimiter) if line != "\n" else [] for line in feed())
    width = 0
    while True:
        begin = last + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(
                "broken-csv",
                "the row is not valid CSV: {reason}",
                at=Location.of(path, begin),
                fix="quotes inside of a quoted field are doubled; `quoted: false` reads them as they are",
                reason=str(error),
            ) from error
        if row is None:
            return
        if not row:
            continue
        width = width or len(row)
        if len(row) != width:
            if options.ragged_rows == "skip":
                continue
            raise DataError(
                "ragged-row",
                "{found} columns, but the first row has {expected}",
                at=Location.of(path, begin),
                found=len(row),
                expected=width,
            )
        yield begin, row


def has_header(options: CsvOptions) -> bool:
    """Whether the first row names the columns."""
    columns = options.columns
    named = any(isinstance(column, str) for column in (columns.text, columns.text_pair, columns.id, *options.where))
    # The label has a default name, which says nothing where the others are numbers.
    given = isinstance(columns.label, str) and "label" in columns.model_fields_set
    return options.header if options.header is not None else named or given


def _read_table(path: Path, options: CsvOptions, delimiter: str) -> Iterator[TextExample]:
    places: dict[str, int] = {}
    filters: dict[str, int] = {}
    header = has_header(options)
    names: list[str] | None = None
    for line, row in table_rows(path, options, delimiter):
        at = Location.of(path, line)
        if not places:
            if header:
                names = row
            places = _places(_mapped(options), names, len(row), at)
            filters = _places([(key, key) for key in options.where], names, len(row), at)
            if header:
                continue
        if any(row[place] != options.where[key] for key, place in filters.items()):
            continue
        cells = {name: row[place] for name, place in places.items()}
        label = cells.get("label")
        if label is not None and label.strip() in options.skip_labels:
            continue
        yield TextExample(
            cells["text"],
            cells.get("text_pair"),
            None if label is None else _label(label, options, at),
            cells.get("id"),
            at,
        )


def _places(mapped: list[tuple[str, Column]], names: list[str] | None, width: int, at: Location) -> dict[str, int]:
    """Index of each mapped column."""
    places = {}
    for key, column in mapped:
        if isinstance(column, str):
            if names is None or column not in names:
                raise DataError(
                    "missing-column",
                    "there is no column {column!r} for {key}",
                    at=at,
                    fix="the columns are {names}; map them in `data.options.columns`"
                    if names
                    else "the file has no header, so give columns by number",
                    column=column,
                    key=key,
                    names=", ".join(names or []),
                )
            places[key] = names.index(column)
        else:
            if not -width <= column < width:
                raise DataError(
                    "missing-column",
                    "there is no column {column} for {key}: the row has {width}",
                    at=at,
                    fix="columns count from 0",
                    column=column,
                    key=key,
                    width=width,
                )
            places[key] = column % width
    return places


def _mapped(options: RowOptions) -> list[tuple[str, Column]]:
    columns = options.columns
    pairs = [("text", columns.text), ("text_pair", columns.text_pair), ("label", columns.label), ("id", columns.id)]
    return [(key, column) for key, column in pairs if column is not None]


def _score(value: Any, at: Location) -> float:
    try:
        score = float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score) or isinstance(value, bool):
        raise DataError("bad-score", "{value!r} is not a finite number", at=at, value=value)
    return score


def _label(value: str, options: RowOptions, at: Location) -> str | list[str] | float:
    if options.label_type == "score":
        return _score(value, at)
    if options.label_separator is not None:
        return [name.strip() for name in value.split(options.label_separator) if name.strip()]
    if not value.strip():
        raise DataError("empty-label", "the label is empty", at=at, fix="for unlabelled text set `label: null`")
    return value.strip()


def read_jsonl(path: Path, options: RowOptions) -> Iterator[TextExample]:
    """JSON lines, or one JSON list of objects; the columns are keys of each object.

    A label may be a string, a number, a boolean, a list of strings or numbers, or null; a text may be a list of
    strings, which are joined by spaces (the keywords of CLUE's CSL).
    """
    keys = dict(_mapped(options))
    for key, column in keys.items():
        if not isinstance(column, str):
            raise DataError(
                "missing-column",
                "JSON lines have keys, not column numbers, and {key} is column {column}",
                at=Location.of(path),
                fix="name the key in `data.options.columns`",
                key=key,
                column=column,
            )
    for at, row in json_rows(path):
        if any(str(_member(row, column, column, at)) != wanted for column, wanted in options.where.items()):
            continue
        values = {key: _member(row, str(column), key, at) for key, column in keys.items()}
        if values.get("label") in options.skip_labels:
            continue
        for key in values.keys() & {"text", "text_pair"}:
            values[key] = _text(values[key], str(keys[key]), at)
        name = values.get("id")
        yield TextExample(
            values["text"],
            values.get("text_pair"),
            _json_label(values.get("label"), options, at),
            None if name is None else _name(name, at),
            at,
        )


def _member(row: dict[str, Any], column: str, key: str, at: Location) -> Any:
    if column not in row:
        raise DataError(
            "missing-column",
            "the object has no {column!r} for {key}",
            at=at,
            fix="its keys are {names}; map them in `data.options.columns`",
            column=column,
            key=key,
            names=", ".join(row),
        )
    return row[column]


def _text(value: Any, column: str, at: Location) -> str:
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return " ".join(value)
    if not isinstance(value, str):
        raise DataError("wrong-type", "{column!r} is {found}, not a string", at=at, column=column, found=kind(value))
    return value


def _name(value: Any, at: Location) -> str:
    """A class name or id as a string; booleans are spelt as in JSON."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise DataError("wrong-type", "a label or id is {found}, not a string or number", at=at, found=kind(value))


def _json_label(value: Any, options: RowOptions, at: Location) -> str | list[str] | float | None:
    if value is None:
        return None
    if options.label_type == "score":
        return _score(value, at)
    if isinstance(value, list):
        return [_name(item, at) for item in value]
    return _label(_name(value, at), options, at)
