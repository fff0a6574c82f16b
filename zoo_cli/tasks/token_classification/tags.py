"""Tags, the entities that they spell, and scores of entities."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from zoo_cli.data.tagged import parse_tag, tag_spans
from zoo_cli.tasks.scores import label_scores
from zoo_cli.tasks.token_classification.spec import Scheme, Split

Chunk = tuple[str, int, int]
"""Type of an entity, its first word or character, and the one after its last."""

_SAME = {"M": "I", "L": "E", "U": "S"}
_CJK = r"\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_PATTERNS: dict[Split, re.Pattern[str]] = {
    "characters": re.compile(r"\S"),
    "words": re.compile(rf"[{_CJK}]|[^\W\d_{_CJK}]+|\d+|\S"),
}


def split_text(text: str, how: Split) -> list[tuple[int, int]]:
    """Offsets of what bears a tag; white space bears none."""
    return [match.span() for match in _PATTERNS[how].finditer(text)]


def canonical(tag: str) -> str:
    """The tag in the letters B, I, E, S: BMES' M is I, BILOU's L and U are E and S.

    Raises:
        ValueError: the tag is of no tagging scheme.
    """
    prefix, label = parse_tag(tag)
    return f"{_SAME.get(prefix, prefix)}-{label}" if label else prefix


def complete_tags(types: Iterable[str], prefixes: str) -> list[str]:
    """``O`` and every tag of the types, in a fixed order."""
    return ["O", *(f"{prefix}-{name}" for name in sorted(types) for prefix in prefixes)]


def chunks(tags: Sequence[str], strict: Scheme | None = None) -> list[Chunk]:
    """Entities that canonical tags spell, as seqeval finds them.

    Args:
        tags: canonical tags.
        strict: leave out what is not spelt by the rules of this scheme: B I... in BIO; S, or B I... E in BIOES
            (seqeval's ``mode="strict"`` with IOB2 and IOBES).
    """
    found = [(label, start, end) for start, end, label in tag_spans(tags)]
    if strict == "bio":
        return [chunk for chunk in found if tags[chunk[1]][0] == "B"]
    if strict == "bioes":
        return [chunk for chunk in found if _is_bioes(tags, chunk[1], chunk[2])]
    return found


def _is_bioes(tags: Sequence[str], start: int, end: int) -> bool:
    if end - start == 1:
        return tags[start][0] == "S"
    return tags[start][0] == "B" and tags[end - 1][0] == "E"


def make_tags(count: int, spans: Sequence[Chunk], scheme: Scheme) -> list[str]:
    """Tags of `count` words; of entities that share a word the longest gets its tags, of equal ones the first.

    Args:
        count: number of words.
        spans: entities in words.
        scheme: `bioes` marks last and single words by E and S.
    """
    tags = ["O"] * count
    for label, start, end in sorted(spans, key=lambda span: (span[1] - span[2], span[1])):
        if start >= end or any(tag != "O" for tag in tags[start:end]):
            continue
        tags[start:end] = [f"B-{label}", *[f"I-{label}"] * (end - start - 1)]
        if scheme == "bioes":
            tags[end - 1] = f"{'S' if end - start == 1 else 'E'}-{label}"
    return tags


class ChunkCounts:
    """Counts of entities, whose scores are those of seqeval."""

    def __init__(self) -> None:
        self._correct: Counter[str] = Counter()
        self._predicted: Counter[str] = Counter()
        self._gold: Counter[str] = Counter()

    def add(
        self, gold: Iterable[tuple[str, Hashable, Hashable]], predicted: Iterable[tuple[str, Hashable, Hashable]]
    ) -> None:
        """Count the entities of one text: a type, and whatever else tells one of the type from another."""
        wanted, guessed = set(gold), set(predicted)
        self._gold.update(label for label, _, _ in wanted)
        self._predicted.update(label for label, _, _ in guessed)
        self._correct.update(label for label, _, _ in wanted & guessed)

    def result(self) -> dict[str, Any]:
        """``precision, recall, f1`` over all entities, ``macro_...`` as means over the types, and ``labels``."""
        names = sorted(self._gold | self._predicted)
        correct, predicted, gold = (
            np.array([counter[name] for name in names], np.int64)
            for counter in (self._correct, self._predicted, self._gold)
        )
        scores = label_scores(names, correct, predicted, gold)
        return {name.removeprefix("micro_"): value for name, value in scores.items()}
