"""Files of annotations to files of prompts or doccano lines, and a look at what comes out (`zoo data`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Literal

from zoo_cli.base.errors import UsageError
from zoo_cli.base.files import atomic_file
from zoo_cli.data.conversion import (
    ConversionOptions,
    Inventory,
    Source,
    as_annotated,
    doccano_row,
    prompt_row,
    take_inventory,
    to_prompts,
)
from zoo_cli.data.examples import AnnotatedText, Example, TaggedTokens, TextExample
from zoo_cli.data.readers import find_format, read
from zoo_cli.data.sources import renamed
from zoo_cli.data.splits import SAMPLE_INDEX, Size, allot, assign
from zoo_cli.recipe.schema import Section

CONVERTIBLE = frozenset({"AnnotatedText", "TaggedTokens", "TextExample"})


def convert_file(
    path: str | Path,
    format: str,
    output: str | Path,
    *,
    to: Literal["prompt", "doccano"] = "prompt",
    splits: Mapping[str, Size] | None = None,
    conversion: ConversionOptions | None = None,
    shuffle: bool = True,
    training: bool = True,
    options: Mapping[str, Any] | Section | None = None,
) -> dict[str, int]:
    """Convert annotations to PaddleNLP's prompt lines, or to doccano's.

    Args:
        path: file of annotations.
        format: its format: annotated texts, tagged tokens, or rows with a text and its class.
        output: file to write; with `splits` the folder of ``<part>.txt`` and ``sample_index.json``.
        to: what to write.
        splits: name of each part -> its size (see `zoo_cli.data.splits.allot`), e.g.
            ``{"train": 0.8, "dev": 0.1, "test": 0.1}``. Texts are divided before they are converted, so that no text
            is in two parts. The part called train is sampled, the others ask for everything.
        conversion: options of prompts, the seed among them.
        shuffle: divide texts at random, and write the lines of training prompts in random order.
        training: without `splits`: sample negatives; False asks for everything, as a development set does.
        options: of the format.

    Returns:
        Lines written to each file, by name.

    Raises:
        UsageError: the format has no annotations, or the sizes do not fit.
        DataError: the file is broken, or an annotation cannot be converted; with file and line.
    """
    convertible(format)
    rules = conversion or ConversionOptions()
    target = Path(output)
    texts = list(_sources(read(path, format, options)))
    if splits is None:
        return {target.name: _write(target, texts, None, rules, to, training, shuffle)}
    sizes = allot(len(texts), list(splits.values()))
    whole = take_inventory(texts, rules)
    index: dict[str, list[int]] = {}
    written = {}
    start = 0
    drawn = assign(sizes, rules.seed) if shuffle else []
    for number, (name, size) in enumerate(zip(splits, sizes, strict=True)):
        index[name] = drawn[number] if shuffle else list(range(start, start + size))
        start += size
        part = [texts[row] for row in index[name]]
        # Labels and relations of all parts are asked for in each; entities of one part say nothing about another.
        inventory = Inventory(whole.labels, whole.predicates, take_inventory(part, rules).names)
        is_training = name == "train"
        file = target / f"{name}.txt"
        written[file.name] = _write(file, part, inventory, rules, to, is_training, shuffle and is_training)
    with atomic_file(target / SAMPLE_INDEX) as partial:
        text = json.dumps({f"{name}_ids": rows for name, rows in index.items()})
        partial.write_text(text + "\n", encoding="utf-8")
    return written


def convertible(format: str) -> None:
    """Check that prompts can be made of a format.

    Raises:
        UsageError: they cannot (`not-convertible`), or there is no such format.
    """
    if find_format(format).example not in CONVERTIBLE:
        raise UsageError("not-convertible", "the format {format} has no annotations to convert", format=format)


def _sources(examples: Iterator[Example]) -> Iterator[Source]:
    for example in examples:
        if isinstance(example, AnnotatedText | TaggedTokens | TextExample):
            yield example


def _write(
    path: Path,
    texts: Sequence[Source],
    inventory: Inventory | None,
    rules: ConversionOptions,
    to: str,
    training: bool,
    shuffle: bool,
) -> int:
    rows: list[str] = []
    if to == "doccano":
        rows = [json.dumps(doccano_row(as_annotated(text)), ensure_ascii=False) for text in texts]
    else:
        known = inventory or take_inventory(texts, rules)
        prompts = (prompt for text in texts for prompt in to_prompts(text, known, rules, training))
        rows = [json.dumps(prompt_row(prompt), ensure_ascii=False) for prompt in prompts]
        if shuffle:
            Random(rules.seed).shuffle(rows)
    with atomic_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as handle:
        handle.writelines(row + "\n" for row in rows)
    return len(rows)


def preview(
    path: str | Path,
    format: str,
    options: Mapping[str, Any] | Section | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    count: int = 3,
    conversion: ConversionOptions | None = None,
) -> list[dict[str, Any]]:
    """The first examples of a file as the reader understands them, and the prompts that they become.

    Args:
        path: file to look at.
        format: its format.
        options: of the format.
        labels: label in the file -> name that it is given.
        count: examples to show.
        conversion: show prompts too, negatives among them, where the format has annotations.

    Returns:
        For each example ``{"at": "file:line", "example": {...}}`` and, with `conversion`, ``"prompts": [...]``.

    Raises:
        UsageError: there is no such format or option.
        DataError: the file is broken, empty or cannot be converted.
    """
    shown: list[dict[str, Any]] = []
    inventory: Inventory | None = None

    def examples() -> Iterator[Example]:
        return (renamed(example, labels or {}) for example in read(path, format, options))

    for example in islice(examples(), count):
        row = asdict(example)
        at = example.source
        del row["source"]
        entry: dict[str, Any] = {"at": str(at), "example": row}
        if conversion is not None and isinstance(example, AnnotatedText | TaggedTokens | TextExample):
            inventory = inventory or take_inventory(_sources(examples()), conversion)
            entry["prompts"] = [prompt_row(prompt) for prompt in to_prompts(example, inventory, conversion)]
        shown.append(entry)
    return shown
