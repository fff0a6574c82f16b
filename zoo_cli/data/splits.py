"""Parts of a data set: how many rows each gets, which ones, and files with those rows' own bytes.

The permutation is PaddleNLP's (numpy's legacy generator), so the same seed shuffles the same rows as its converter;
sizes are rounded by largest remainder, so that no row is lost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.files import atomic_file, write_json
from zoo_cli.data.columns import has_header
from zoo_cli.data.examples import TextExample
from zoo_cli.data.formats import CsvOptions, RowOptions
from zoo_cli.data.lines import byte_lines, is_json_list, json_items
from zoo_cli.data.readers import find_format, parse_options, read
from zoo_cli.recipe.schema import Section

SAMPLE_INDEX = "sample_index.json"
Size = float | int | None


def allot(count: int, sizes: Sequence[Size]) -> list[int]:
    """Rows of each part.

    Args:
        count: rows there are.
        sizes: either shares that add up to 1, as floats, or numbers of rows, as integers that add up to `count`; one
            of the latter may be None and takes the rest.

    Returns:
        As many numbers, which add up to `count`; shares are rounded by largest remainder, earlier parts first.

    Raises:
        UsageError: the sizes do not add up, are negative, or mix shares with numbers (`bad-split`).
    """
    fix = "give shares that add up to 1 (0.8 0.1 0.1), or numbers of rows that add up to {count}"
    if not sizes or any(size is not None and size < 0 for size in sizes):
        raise UsageError("bad-split", "the sizes of the parts are missing or negative", fix=fix, count=count)
    if any(isinstance(size, float) for size in sizes):
        # Through the decimal spelling, so that 0.1 is a tenth.
        shares = [Fraction(str(size)) if size is not None else None for size in sizes]
        known = [share for share in shares if share is not None]
        if len(known) < len(shares) or abs(float(sum(known)) - 1) > 1e-6:
            raise UsageError("bad-split", "the shares do not add up to 1", fix=fix, count=count)
        quotas = [share * count / sum(known) for share in known]
        rows = [int(quota) for quota in quotas]
        by_remainder = sorted(range(len(rows)), key=lambda part: rows[part] - quotas[part])
        for part in by_remainder[: count - sum(rows)]:
            rows[part] += 1
        return rows
    numbers = [int(size) if size is not None else None for size in sizes]
    rest = count - sum(number for number in numbers if number is not None)
    if rest < 0 or numbers.count(None) > 1 or (rest and None not in numbers):
        raise UsageError("bad-split", "the parts do not add up to the {count} rows", fix=fix, count=count)
    return [rest if number is None else number for number in numbers]


def assign(sizes: Sequence[int], seed: int, labels: Sequence[Any] | None = None) -> list[list[int]]:
    """Choose the rows of each part.

    Args:
        sizes: rows of each part.
        seed: the same seed, sizes and labels choose the same rows.
        labels: one hashable label a row; each part then gets its share of every label, to within a row or two.

    Returns:
        Sorted row numbers of each part; every row is in exactly one.
    """
    count = sum(sizes)
    order = np.random.RandomState(seed).permutation(count).tolist()
    parts: list[list[int]] = [[] for _ in sizes]
    if labels is None:
        bounds = np.cumsum([0, *sizes]).tolist()
        return [sorted(order[start:stop]) for start, stop in pairwise(bounds)]
    rank = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    order.sort(key=lambda row: rank[labels[row]])
    # Rows of a label are neighbours now: deal them out so that each part is always nearest to its due.
    for position, row in enumerate(order, 1):
        due = [size * position / count - len(part) for size, part in zip(sizes, parts, strict=True)]
        open_parts = [part for part in range(len(sizes)) if len(parts[part]) < sizes[part]]
        parts[max(open_parts, key=due.__getitem__)].append(row)
    return [sorted(part) for part in parts]


def split_file(
    path: str | Path,
    format: str,
    output: str | Path,
    parts: Mapping[str, Size],
    *,
    seed: int = 1000,
    stratify: bool = False,
    options: Mapping[str, Any] | Section | None = None,
) -> dict[str, int]:
    """Cut a file into parts of the same format.

    Rows that are lines are copied byte for byte (without a byte order mark; a missing last line end is added);
    a header goes to every part. Beside the parts, `sample_index.json` says which rows went where, as PaddleNLP's
    converter writes it (``{"train_ids": [...], ...}``, rows counted from 0).

    Args:
        path: file to split.
        format: its format.
        output: folder for the parts, named ``<part><suffix of the file>``.
        parts: name of each part -> its size; see `allot`.
        seed: of the choice of rows.
        stratify: give each part its share of every label (formats with classes).
        options: of the format.

    Returns:
        Rows of each part.

    Raises:
        UsageError: the sizes do not fit, the format has no classes to stratify by, or its rows cannot be parted.
        DataError: the file cannot be read.
    """
    source, folder = Path(path), Path(output)
    entry, parsed = find_format(format), parse_options(format, options)
    if stratify and entry.example != "TextExample":
        raise UsageError("bad-split", "rows of the format {format} have no class to stratify by", format=format)
    if entry.layout == "tree":
        raise UsageError("bad-split", "files of the format {format} cannot be cut between rows", format=format)
    if isinstance(parsed, RowOptions):
        # Rows that a recipe leaves out stay where they are; without filters the reader sees them all.
        kept: dict[str, Any] = {"where": {}, "skip_labels": []}
        if isinstance(parsed, CsvOptions):
            kept["header"] = has_header(parsed)
        parsed = parsed.model_copy(update=kept)
    by_lines = entry.layout == "lines" or (entry.layout == "rows" and not is_json_list(source))
    starts: list[int] = []
    labels: list[Any] = []
    for example in read(source, format, parsed, strict=False):
        line = example.source.line if example.source and example.source.line else 1
        if not starts or starts[-1] != line:
            starts.append(line)
        if isinstance(example, TextExample):
            label = example.label
            labels.append(tuple(sorted(label)) if isinstance(label, list) else label)
    items = [] if by_lines else [item for _, item in json_items(source)]
    sizes = allot(len(starts) if by_lines else len(items), list(parts.values()))
    rows = assign(sizes, seed, labels if stratify else None)
    suffix = Path(source.name.removesuffix(".gz")).suffix or ".txt"
    targets = [folder / f"{name}{suffix}" for name in parts]
    if any(target.resolve() == source.resolve() for target in targets):
        raise UsageError("bad-split", "a part would overwrite the file itself", fix="name another output folder")
    owner = {row: part for part, chosen in enumerate(rows) for row in chosen}
    if by_lines:
        header = isinstance(parsed, CsvOptions) and starts[0] > 1
        _copy_lines(source, targets, starts, owner, header, "\n" if entry.example == "TaggedTokens" else "")
    else:
        for target, chosen in zip(targets, rows, strict=True):
            write_json(target, [items[row] for row in chosen])
    index = {f"{name}_ids": chosen for name, chosen in zip(parts, rows, strict=True)}
    with atomic_file(folder / SAMPLE_INDEX) as partial:
        partial.write_text(json.dumps(index) + "\n", encoding="utf-8")
    return dict(zip(parts, sizes, strict=True))


def _copy_lines(
    source: Path, targets: Sequence[Path], starts: Sequence[int], owner: Mapping[int, int], has_header: bool, gap: str
) -> None:
    """Copy each row's lines to the part that owns it.

    Args:
        source: file to read.
        targets: file of each part.
        starts: line on which each row begins.
        owner: row -> part.
        has_header: the lines before the first row go to every part.
        gap: line that must follow a row (the blank line between sentences), `""` for none.
    """
    with ExitStack() as stack:
        handles: list[BinaryIO] = []
        for target in targets:
            handles.append(stack.enter_context(stack.enter_context(atomic_file(target)).open("wb")))
        row, ending, last = -1, b"\n", b""
        for number, line in enumerate(byte_lines(source), 1):
            while row + 1 < len(starts) and starts[row + 1] <= number:
                row += 1
            if line.endswith(b"\r\n"):
                ending = b"\r\n"
            if row < 0:
                for handle in handles if has_header else []:
                    handle.write(line)
                continue
            handles[owner[row]].write(line)
            last = line
        if row != len(starts) - 1:
            raise DataError("changed-file", "the file changed while it was read", at=Location.of(source))
        # The file's last row may lack what parts it from the next; within another part it may not be the last.
        if last and not last.endswith(b"\n"):
            handles[owner[row]].write(ending)
        if gap and last.strip():
            handles[owner[row]].write(ending)
