"""What `zoo data check` found: typed, for JSON and for tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Literal

from zoo_cli.base.errors import Location
from zoo_cli.base.messages import translate

Level = Literal["error", "warning", "note"]
SHOWN = 5

KINDS: dict[str, tuple[Level, str]] = {
    "offset-outside": ("error", "{count} spans are empty or outside of their text"),
    "offset-crlf": ("error", "{count} offsets count line ends differently from the text (CRLF)"),
    "offset-utf16": ("error", "{count} offsets count characters beyond U+FFFF (emoji) as two"),
    "offset-width": ("error", "{count} spans differ from their text in full-width or half-width forms"),
    "offset-whitespace": ("error", "{count} spans differ from their text in blanks"),
    "offset-moved": ("error", "{count} offsets do not match their text, which is elsewhere"),
    "offset-lost": ("error", "{count} spans state a text that is not in the text, or not in one place"),
    "not-convertible": ("error", "{count} texts cannot be made into prompts: {example}"),
    "span-blank": ("warning", "{count} spans begin or end with a blank"),
    "same-label-overlap": (
        "warning",
        "{count} spans overlap another of the same label; UIE and BIO tags cannot say so",
    ),
    "nested-spans": ("warning", "{count} spans lie inside one of another label; BIO tags cannot say so"),
    "overlapping-spans": ("warning", "{count} spans cross one of another label; BIO tags cannot say so"),
    "irregular-tags": ("warning", "{count} spans begin with a tag that continues one"),
    "empty-text": ("warning", "{count} texts are empty"),
    "unlabelled": ("note", "{count} rows have no label or annotation"),
    "duplicate": ("warning", "{count} rows repeat an earlier one"),
    "conflicting-duplicate": ("warning", "{count} rows repeat an earlier text with another label"),
    "leakage": ("warning", "{count} texts are also in {other}"),
    "unseen-label": ("warning", "{count} labels do not occur in {other}: {names}"),
    "rare-label": ("warning", "{count} labels have fewer than {limit} examples: {names}"),
    "label-imbalance": ("warning", "{most!r} occurs {factor:.0f} times as often as {least!r}"),
    "label-drift": ("warning", "{count} labels differ from another in case, width or blanks only: {names}"),
    "no-negatives": (
        "warning",
        "{count} prompts have no negative example, so a model learns to answer always: {names}",
    ),
    "too-long": ("warning", "{count} of {total} rows are longer than {limit} {unit}; they are cut or split"),
    "answer-cut": ("warning", "{count} spans end beyond the first {limit} {unit}"),
    "crlf-lines": ("note", "{count} lines end in CRLF"),
    "mixed-line-ends": ("warning", "{count} lines end in CRLF and {other} in LF"),
    "carriage-return": ("warning", "{count} texts contain carriage returns, which tools count differently"),
    "full-width": ("note", "{count} texts contain full-width letters or digits"),
}
"""Code of a finding -> its level and its message."""


@dataclass
class Finding:
    """One kind of fault in one part.

    Args:
        code: key in `KINDS`.
        part: name of the part.
        count: how many there are.
        at: places of the first `SHOWN`.
        values: what the message names beside `count`.
    """

    code: str
    part: str
    count: int = 0
    at: list[Location] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        return KINDS[self.code][0]

    @property
    def message(self) -> str:
        return translate(KINDS[self.code][1]).format(count=self.count, **self.values)

    @property
    def english(self) -> str:
        """The message as programs read it."""
        return KINDS[self.code][1].format(count=self.count, **self.values)


@dataclass
class Table:
    """Rows for a terminal or a page; all cells are strings or numbers."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass
class PartReport:
    """Figures of one file.

    Args:
        name: of the part.
        file: path as given.
        rows: examples.
        labels: label or class -> how often it occurs (spans, sentences of classes).
        prompts: prompt -> [examples with an answer, examples without]; relations are joined as ``…的出生地``.
        unit: what `lengths` counts: `tokens` or `characters`.
        lengths: mean, median, 95th percentile and maximum, specials included.
    """

    name: str
    file: str
    rows: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    prompts: dict[str, list[int]] = field(default_factory=dict)
    unit: str = "characters"
    lengths: dict[str, float] = field(default_factory=dict)


@dataclass
class Report:
    """Figures and findings of all parts."""

    parts: list[PartReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def errors(self) -> list[Finding]:
        """Findings that make training go wrong or stop."""
        return [finding for finding in self.findings if finding.level == "error"]

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "parts": [
                {
                    "name": part.name,
                    "file": part.file,
                    "rows": part.rows,
                    "labels": dict(part.labels.most_common()),
                    "prompts": {
                        prompt: {"positives": counts[0], "negatives": counts[1]}
                        for prompt, counts in part.prompts.items()
                    },
                    "unit": part.unit,
                    "lengths": part.lengths,
                }
                for part in self.parts
            ],
            "findings": [
                {
                    "code": finding.code,
                    "level": finding.level,
                    "part": finding.part,
                    "message": finding.english,
                    "count": finding.count,
                    "at": [str(place) for place in finding.at],
                }
                for finding in self.findings
            ],
        }

    def tables(self) -> list[Table]:
        """Parts, labels, prompts and findings, those that have rows."""
        names = tuple(part.name for part in self.parts)
        labels = sorted(set().union(*(part.labels for part in self.parts)))
        prompts = sorted(set().union(*(part.prompts for part in self.parts)))
        tables = [
            Table(
                "Parts",
                ("part", "file", "rows", "unit", "mean", "p50", "p95", "max"),
                [
                    (
                        part.name,
                        part.file,
                        part.rows,
                        part.unit,
                        *(round(part.lengths.get(key, 0), 1) for key in LENGTHS),
                    )
                    for part in self.parts
                ],
            ),
            Table(
                "Labels", ("label", *names), [(label, *(part.labels[label] for part in self.parts)) for label in labels]
            ),
            Table(
                "Prompts, with and without an answer",
                ("prompt", *names),
                [
                    (prompt, *("{} / {}".format(*part.prompts.get(prompt, (0, 0))) for part in self.parts))
                    for prompt in prompts
                ],
            ),
            Table(
                "Findings",
                ("level", "part", "finding", "first at"),
                [
                    (finding.level, finding.part, finding.message, str(finding.at[0]) if finding.at else "")
                    for finding in self.findings
                ],
            ),
        ]
        return [table for table in tables if table.rows]


LENGTHS = ("mean", "p50", "p95", "max")
