"""Offsets that do not fit their text: why, and where the stated characters really are."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.base.files import atomic_file, write_json
from zoo_cli.data.annotations import label_studio_results
from zoo_cli.data.examples import AnnotatedText, Entity, PromptExample, Span
from zoo_cli.data.lines import is_json_list, json_items, text_lines
from zoo_cli.data.readers import find_format, parse_options, read
from zoo_cli.recipe.schema import Section

FIXABLE = frozenset({"bio", "bmes", "conll", "cluener", "doccano", "label_studio", "prompt", "csv", "tsv", "jsonl"})
"""Formats that `fix_file` writes."""

Cause = Literal["crlf", "utf16", "width", "whitespace", "moved"]


@dataclass(frozen=True)
class Anchor:
    """Where a stated text is, and what drove its offsets away.

    Args:
        start: offset of the first character.
        end: offset after the last character.
        cause: `crlf`: line ends counted as one character in one place and as two in the other; `utf16`: characters
            beyond U+FFFF (emoji) counted as two, as JavaScript does; `width`: full-width and half-width forms differ;
            `whitespace`: blanks were stripped or changed; `moved`: none of these.
    """

    start: int
    end: int
    cause: Cause


def fold_width(text: str) -> str:
    """The text with full-width forms and odd blanks as ASCII; no offset changes."""

    def fold(character: str) -> str:
        folded = " " if character.isspace() else unicodedata.normalize("NFKC", character)
        return folded if len(folded) == 1 else character

    return "".join(map(fold, text))


def _occurrences(text: str, part: str) -> list[tuple[int, int]]:
    places, start = [], text.find(part)
    while start >= 0:
        places.append((start, start + len(part)))
        start = text.find(part, start + 1)
    return places


def _explain(text: str, stated: int, true: int) -> Cause:
    """The drift that turns the true offset into the stated one."""
    before = text[:true]
    drift = stated - true
    if drift and drift in (before.count("\n"), -before.count("\r\n")):
        return "crlf"
    if drift and drift == sum(character > "\uffff" for character in before):
        return "utf16"
    if drift and -drift == len(text) - len(text.lstrip()):
        return "whitespace"
    return "moved"


def anchor(text: str, start: int, stated: str) -> Anchor | None:
    """Find the stated characters of a span whose offsets are wrong.

    The text is searched as it is, then without regard to width, then without regard to blanks. Of several places the
    one wins that a known drift explains, else the nearest to `start`.

    Args:
        text: the text that holds the span.
        start: stated offset of its first character.
        stated: stated characters.

    Returns:
        Their place, or None if they are nowhere, or if two places are as good.
    """
    if not stated.strip():
        return None
    cause: Cause | None = None
    places = _occurrences(text, stated)
    if not places:
        cause = "width"
        places = _occurrences(fold_width(text), fold_width(stated))
    if not places:
        cause = "crlf" if "\r" in text or "\r" in stated else "whitespace"
        pattern = r"\s*".join(map(re.escape, "".join(stated.split())))
        places = [match.span() for match in re.finditer(pattern, text)]
    if not places:
        return None
    if cause is None:
        explained = [place for place in places if _explain(text, start, place[0]) != "moved"]
        places = explained if len(explained) == 1 else places
    distances = sorted((abs(place[0] - start), place) for place in places)
    if len(distances) > 1 and distances[0][0] == distances[1][0]:
        return None
    first, last = distances[0][1]
    return Anchor(first, last, cause or _explain(text, start, first))


@dataclass
class Repair:
    """What `fix_file` did.

    Args:
        spans: spans read.
        fixed: cause -> spans that have new offsets.
        unfixed: place and description of the spans that were left as they are.
    """

    spans: int = 0
    fixed: Counter[str] = field(default_factory=Counter)
    unfixed: list[tuple[Location | None, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        unfixed = [{"at": str(at) if at else None, "span": description} for at, description in self.unfixed]
        return {"spans": self.spans, "fixed": dict(self.fixed), "unfixed": unfixed}


def fits(text: str, start: int, end: int, stated: str | None) -> bool:
    """Whether a span lies inside the text and is what the file says that it is."""
    return 0 <= start < end <= len(text) and (stated is None or text[start:end] == stated)


def repair_example(example: AnnotatedText | PromptExample, result: Repair) -> AnnotatedText | PromptExample:
    """The example with every span that could be anchored anchored; `result` counts."""

    def place(text: str, start: int, end: int, stated: str | None, label: str) -> tuple[int, int, str | None]:
        result.spans += 1
        if fits(text, start, end, stated):
            return start, end, stated
        found = anchor(text, start, stated) if stated is not None else None
        if found is None:
            result.unfixed.append((example.source, f"{label} {start}:{end} {stated!r}"))
            return start, end, stated
        result.fixed[found.cause] += 1
        return found.start, found.end, text[found.start : found.end]

    if isinstance(example, AnnotatedText):
        entities = []
        for entity in example.entities:
            start, end, stated = place(example.text, entity.start, entity.end, entity.text, entity.label)
            entities.append(Entity(start, end, entity.label, entity.id, stated))
        return replace(example, entities=entities)
    spans = []
    for span in example.spans:
        text, bias = (example.prompt, len(example.prompt) + 1) if span.start < 0 else (example.content, 0)
        start, end, stated = place(text, span.start + bias, span.end + bias, span.text, example.prompt)
        spans.append(Span(start - bias, end - bias, stated or ""))
    return replace(example, spans=spans)


def fix_file(
    path: str | Path, format: str, output: str | Path, options: Mapping[str, Any] | Section | None = None
) -> Repair:
    """Write a copy of a file with corrected offsets, LF line ends and no byte order mark.

    Rows that are right are copied as they are. A span that cannot be anchored stays as it is and is listed, so
    nothing is dropped.

    Raises:
        UsageError: there is no such format or option, or the format is not one of `FIXABLE`.
        DataError: the file cannot be read at all.
    """
    source, target = Path(path), Path(output)
    entry, parsed = find_format(format), parse_options(format, options)
    if entry.name not in FIXABLE:
        raise UsageError(
            "not-fixable",
            "files of the format {format} cannot be corrected",
            fix="formats that can: {names}",
            format=format,
            names=", ".join(sorted(FIXABLE)),
        )
    result = Repair()
    examples = read(source, format, parsed, strict=False)
    annotated = entry.example in ("AnnotatedText", "PromptExample")
    if entry.layout == "list" or (annotated and entry.layout == "rows" and is_json_list(source)):
        items = []
        for (_, item), example in zip(json_items(source), examples, strict=True):
            items.append(_patched(item, example, result))
        write_json(target, items)
        return result
    with atomic_file(target) as partial, partial.open("w", encoding="utf-8", newline="\n") as handle:
        if annotated:
            for _, line in text_lines(source):
                handle.write((_patched(line, next(examples), result) if line.strip() else line) + "\n")
        # What is left to read raises if the file is broken or empty, and then there is no copy.
        for _ in examples:
            pass
        if not annotated:
            for _, line in text_lines(source):
                handle.write(line + "\n")
    return result


def _patched(row: Any, example: Any, result: Repair) -> Any:
    """The row (a JSON line, or an item of a JSON list) with the repaired example's offsets."""
    fixed = repair_example(example, result)
    if fixed == example:
        return row
    value = json.loads(row) if isinstance(row, str) else row
    if isinstance(fixed, PromptExample):
        for span, new in zip(value["result_list"], fixed.spans, strict=True):
            span.update(start=new.start, end=new.end, text=new.text)
    elif isinstance(row, str):
        # Of the line formats with entities only CLUENER states their text, so only its rows can change.
        labels: dict[str, dict[str, list[list[int]]]] = {label: {} for label in value["label"]}
        for entity in fixed.entities:
            labels[entity.label].setdefault(entity.text or "", []).append([entity.start, entity.end - 1])
        value["label"] = labels
    else:
        by_region = {entity.id: entity for entity in fixed.entities}
        for region in label_studio_results(value):
            if region["type"] == "labels":
                place = by_region[region["id"]]
                region["value"].update(start=place.start, end=place.end, text=place.text)
    return json.dumps(value, ensure_ascii=False) if isinstance(row, str) else value
