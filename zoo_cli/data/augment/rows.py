"""Labelled rows as texts whose words may be replaced, and rows written with their labels in place.

What a label lies on is never replaced; spans behind a replaced word move with their characters.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import UsageError
from zoo_cli.data.augment.copies import Edit, moved, rewrite
from zoo_cli.data.augment.words import Word, is_chinese
from zoo_cli.data.columns import has_header
from zoo_cli.data.conversion import doccano_row
from zoo_cli.data.examples import AnnotatedText, TaggedTokens, TextExample
from zoo_cli.data.formats import Column, CsvOptions, RowOptions, TaggedOptions
from zoo_cli.data.readers import find_format, read
from zoo_cli.data.tagged import joiner, tag_spans
from zoo_cli.recipe.schema import Section

Row = TextExample | TaggedTokens | AnnotatedText
Span = tuple[int, int]
_ROWS_AND_TAGS = ("csv", "tsv", "jsonl", "bio", "bmes", "conll")
_SPANS = ("cluener", "cmeee", "doccano", "label_studio", "nlu", "spo")


def written_format(name: str) -> str:
    """The format that copies of rows of a format are written in: the same, or doccano's lines for texts with spans.

    Raises:
        UsageError: their labels would not survive (`not-augmentable`).
    """
    name = find_format(name).name
    if name not in (*_ROWS_AND_TAGS, *_SPANS):
        raise UsageError(
            "not-augmentable",
            "rows of the format {format} cannot be copied with other words: their labels would not fit any more",
            fix="formats that can: {names}",
            format=name,
            names=", ".join((*_ROWS_AND_TAGS, *_SPANS)),
        )
    return "doccano" if name in _SPANS else name


def plain_texts(files: Iterable[Path], name: str, options: Any) -> Iterator[str]:
    """All texts of files of labelled or plain text.

    Raises:
        UsageError: the format has other things than texts (`not-augmentable`).
        DataError: a file cannot be read.
    """
    if find_format(name).example not in ("TextExample", "TaggedTokens", "AnnotatedText"):
        written_format(name)  # raises
    for file in files:
        for row in read(file, name, options):
            yield from texts_of(row)  # type: ignore[arg-type]  # the format has such rows only


# -- texts ------------------------------------------------------------------------------------------------------------


def texts_of(row: Row) -> list[str]:
    """The texts of a row: one, or both of a pair."""
    match row:
        case TextExample():
            return [row.text] if row.text_pair is None else [row.text, row.text_pair]
        case TaggedTokens():
            return ["".join(map(str.__add__, joiner(row.tokens), row.tokens))]
        case AnnotatedText():
            return [row.text]


def free(row: Row, words: Sequence[Word]) -> list[Word]:
    """The words of a row's text that no label lies on."""
    match row:
        case TaggedTokens():
            places = _places(row)
            taken = [(places[first][0], places[last - 1][1]) for first, last, _ in tag_spans(row.tags or [])]
            starts, ends = {start for start, _ in places}, {end for _, end in places}
            words = [word for word in words if word.start in starts and word.end in ends]
        case AnnotatedText():
            taken = [(entity.start, entity.end) for entity in row.entities]
        case _:
            taken = []
    return [word for word in words if all(word.end <= start or end <= word.start for start, end in taken)]


def _places(row: TaggedTokens) -> list[Span]:
    """Where each token is in the sentence's text."""
    places, end = [], 0
    for space, token in zip(joiner(row.tokens), row.tokens, strict=True):
        start = end + len(space)
        end = start + len(token)
        places.append((start, end))
    return places


def copy_row(row: Row, number: int, edits: Sequence[Edit]) -> Row:
    """A row with words of one of its texts replaced.

    Args:
        row: the row.
        number: of the text in `texts_of`.
        edits: words of `free` and what replaces them, in order.
    """
    match row:
        case TextExample():
            text = rewrite(texts_of(row)[number], edits)
            return replace(row, text_pair=text) if number else replace(row, text=text)
        case TaggedTokens():
            return _copy_tokens(row, edits)
        case AnnotatedText():
            entities = [
                replace(each, start=moved(each.start, edits), end=moved(each.end, edits)) for each in row.entities
            ]
            return replace(row, text=rewrite(row.text, edits), entities=entities)


def _copy_tokens(row: TaggedTokens, edits: Sequence[Edit]) -> TaggedTokens:
    """A word of several tokens (Chinese characters) becomes as many tokens as the new one has characters."""
    by_start = {edit.word.start: edit for edit in edits}
    tokens: list[str] = []
    tags: list[str] = []
    end = 0
    for (start, stop), token, tag in zip(_places(row), row.tokens, row.tags or ["O"] * len(row.tokens), strict=True):
        edit = by_start.get(start)
        if edit is not None:
            end = edit.word.end
            apart = end > stop or (is_chinese(edit.word.text) and len(edit.word.text) == 1)
            new = list(edit.text) if apart else [edit.text]
            tokens += new
            tags += ["O"] * len(new)
        elif start >= end:
            tokens.append(token)
            tags.append(tag)
    return replace(row, tokens=tokens, tags=tags if row.tags is not None else None)


# -- writing ----------------------------------------------------------------------------------------------------------


def writer(name: str, options: Section) -> tuple[str, Callable[[Any], str]]:
    """What stands at the head of a file of `written_format`, and the function that spells a row out for it.

    A file that is read with the same options gives the same rows: columns that the options do not name are left out,
    or empty where columns have numbers.

    Args:
        name: format that rows were read in.
        options: of that format.
    """
    if isinstance(options, TaggedOptions):
        return "", lambda row: _tagged_lines(row, options)
    if isinstance(options, CsvOptions):
        return _table(options, "," if name == "csv" else "\t")
    if isinstance(options, RowOptions):
        return "", lambda row: _json_line(_cells(row, options))
    return "", lambda row: _json_line(doccano_row(row))


def _json_line(value: Mapping[Any, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _cells(row: TextExample, options: RowOptions) -> dict[Column, Any]:
    """Column -> value of a row, with what the options want of other columns."""
    columns = options.columns
    pairs = ((columns.text, row.text), (columns.text_pair, row.text_pair), (columns.label, row.label))
    named = {column: value for column, value in (*pairs, (columns.id, row.id)) if column is not None}
    return dict[Column, Any](options.where) | named


def _table(options: CsvOptions, delimiter: str) -> tuple[str, Callable[[Any], str]]:
    columns = [column for column in options.columns.model_dump().values() if column is not None]
    names = [column for column in (*columns, *options.where) if isinstance(column, str)]
    places, width = _numbered([column for column in columns if isinstance(column, int)], len(names))
    free_places = [place for place in range(width) if place not in places.values()]
    all_places: dict[Column, int] = {**places, **dict(zip(names, free_places, strict=False))}

    def line(cells: dict[Column, Any]) -> str:
        row = [""] * width
        for column, value in cells.items():
            row[all_places[column]] = str(value)
        if not options.quoted:
            return delimiter.join(row) + "\n"
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(row)
        return text.getvalue()

    def spell(row: TextExample) -> str:
        cells = _cells(row, options)
        label = options.columns.label
        if label is not None and isinstance(row.label, list):
            cells[label] = (options.label_separator or ",").join(row.label)
        return line(cells)

    return line({name: name for name in names}) if has_header(options) else "", spell


def _numbered(columns: Sequence[int], others: int) -> tuple[dict[Column, int], int]:
    """Places of columns that have numbers, negative ones from the end, and the least width in which they are apart,
    with room for others."""
    width = max([1, *(column + 1 if column >= 0 else -column for column in columns)], default=1)
    while len({column % width for column in columns}) < len(columns) or width < len(columns) + others:
        width += 1
    return {column: column % width for column in columns}, width


def _tagged_lines(row: TaggedTokens, options: TaggedOptions) -> str:
    columns = [options.token_column, *([] if options.tag_column is None else [options.tag_column])]
    places, width = _numbered(columns, 0)
    lines = []
    for index, token in enumerate(row.tokens):
        cells = ["_"] * width
        cells[places[options.token_column]] = f"{token}0" if options.position_suffix else token
        if options.tag_column is not None and row.tags is not None:
            cells[places[options.tag_column]] = row.tags[index]
        lines.append((" " if options.separator == "space" else "\t").join(cells) + "\n")
    return "".join(lines) + "\n"
