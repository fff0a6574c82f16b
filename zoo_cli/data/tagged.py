"""Files with one token and its tag a line: BIO, BMES, CoNLL."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from sys import intern

from zoo_cli.base.errors import DataError, Location
from zoo_cli.data.examples import AnnotatedText, Entity, TaggedTokens
from zoo_cli.data.formats import ConllOptions, TaggedOptions
from zoo_cli.data.lines import text_lines

SCHEMES = {"bio": "BI", "bioes": "BIES", "bilou": "BILU", "bmes": "BMES", "any": "BIMELSU"}
_TAG = re.compile(r"([A-Z])[-_](\S+)")
_ENDS = frozenset("ELSU")
_CONTINUES = frozenset("IMEL")
_CJK = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


@lru_cache(maxsize=4096)
def parse_tag(tag: str) -> tuple[str, str]:
    """Prefix and type of a tag: ``"B-PER"`` -> ``("B", "PER")``, ``"O"`` -> ``("O", "")``.

    Raises:
        ValueError: the tag is of no tagging scheme.
    """
    if tag == "O":
        return "O", ""
    match = _TAG.fullmatch(tag)
    if match is None or match[1] not in SCHEMES["any"]:
        raise ValueError(tag)
    return match[1], match[2]


def tag_spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """Spans (start, end, type) of tags in any scheme of `SCHEMES`, read as conlleval does.

    A tag that continues what has not begun begins it, so irregular sequences lose nothing.
    """
    spans: list[tuple[int, int, str]] = []
    start, current = 0, ""
    for index, tag in enumerate(tags):
        prefix, label = parse_tag(tag)
        if current and not (prefix in _CONTINUES and label == current):
            spans.append((start, index, current))
            current = ""
        if label and not current:
            start, current = index, label
        if prefix in _ENDS and current:
            spans.append((start, index + 1, current))
            current = ""
    if current:
        spans.append((start, len(tags), current))
    return spans


def joiner(tokens: Sequence[str]) -> list[str]:
    """What stands before each token when a sentence is put together again.

    Chinese characters stand side by side, words have a space between them. In a sentence with Chinese in it a space
    parts only two Latin words; a sentence without any Chinese whose tokens are all single characters is a Chinese
    one's digits or letters.
    """
    chinese = _CJK.search("".join(tokens)) is not None or max(map(len, tokens), default=1) == 1
    before = [""]
    for left, right in pairwise(tokens):
        words = len(left) > 1 and len(right) > 1 and left[-1].isascii() and right[0].isascii()
        latin = words and left[-1].isalnum() and right[0].isalnum()
        before.append(" " if latin or not chinese else "")
    return before[: len(tokens)]


def to_annotated(example: TaggedTokens) -> AnnotatedText:
    """The sentence as one text with an entity for each tagged span."""
    starts, text = [], ""
    for space, token in zip(joiner(example.tokens), example.tokens, strict=True):
        text += space
        starts.append(len(text))
        text += token
    entities = [
        Entity(starts[first], starts[last - 1] + len(example.tokens[last - 1]), label, str(number))
        for number, (first, last, label) in enumerate(tag_spans(example.tags or []))
    ]
    return AnnotatedText(text, entities, source=example.source)


def read_bio(path: Path, options: TaggedOptions) -> Iterator[TaggedTokens]:
    """Sentences tagged B-, I-, O."""
    return _read(path, options, "bio")


def read_bmes(path: Path, options: TaggedOptions) -> Iterator[TaggedTokens]:
    """Sentences tagged B-, M-, E-, S-, O."""
    return _read(path, options, "bmes")


def read_conll(path: Path, options: ConllOptions) -> Iterator[TaggedTokens]:
    """Sentences of a CoNLL file; ``-DOCSTART-`` lines are skipped."""
    return _read(path, options, options.scheme)


def _read(path: Path, options: TaggedOptions, scheme: str) -> Iterator[TaggedTokens]:
    tokens: list[str] = []
    tags: list[str] = []
    known: dict[str, str] = {}
    token_column, tag_column = options.token_column, options.tag_column
    begin = width = 0
    by_tab = options.separator == "tab"
    for number, line in text_lines(path):
        if not line.strip(" \t") or line.startswith("-DOCSTART-"):
            if tokens:
                yield _sentence(path, begin, tokens, tags, options)
                tokens, tags = [], []
            continue
        if not width and options.separator == "auto":
            by_tab = "\t" in line
        cells = line.split("\t") if by_tab else re.split(" +", line.strip(" "))
        width = width or _width(cells, options, Location.of(path, number))
        if len(cells) != width:
            raise DataError(
                "ragged-row",
                "{found} columns, but the lines before have {expected}",
                at=Location.of(path, number),
                fix="each line is a token, a separator and a tag; sentences are parted by a blank line",
                found=len(cells),
                expected=width,
            )
        token = cells[token_column]
        if options.position_suffix and len(token) > 1 and token[-1] in "0123456789":
            token = token[:-1]
        if not token:
            raise DataError("empty-token", "the token is empty", at=Location.of(path, number))
        if not tokens:
            begin = number
        # A corpus has millions of tokens and few different ones.
        tokens.append(intern(token))
        if tag_column is not None:
            tag = cells[tag_column]
            if tag not in known:
                known[tag] = _checked(tag.strip(" "), scheme, path, number)
            tags.append(known[tag])
    if tokens:
        yield _sentence(path, begin, tokens, tags, options)


def _sentence(path: Path, line: int, tokens: list[str], tags: list[str], options: TaggedOptions) -> TaggedTokens:
    return TaggedTokens(tokens, tags if options.tag_column is not None else None, Location.of(path, line))


def _width(cells: list[str], options: TaggedOptions, at: Location) -> int:
    """Number of columns of the first line, provided that it has those asked for, and apart."""
    count = len(cells)
    asked = [options.token_column, *([] if options.tag_column is None else [options.tag_column])]
    places = [column + count if column < 0 else column for column in asked]
    if any(not 0 <= place < count for place in places) or len(set(places)) < len(places):
        raise DataError(
            "missing-column",
            "the line has {count} columns, which are too few for the token and the tag",
            at=at,
            fix="a token, a tab or space, and a tag are expected",
            count=count,
        )
    return count


def _checked(tag: str, scheme: str, path: Path, line: int) -> str:
    try:
        known = parse_tag(tag)[0] in SCHEMES[scheme] + "O"
    except ValueError:
        known = False
    if not known:
        raise DataError(
            "bad-tag",
            "{tag!r} is not a tag of the scheme {scheme}",
            at=Location.of(path, line),
            fix="its tags are O and {prefixes} followed by a hyphen and a type",
            tag=tag,
            scheme=scheme.upper(),
            prefixes=", ".join(SCHEMES[scheme]),
        )
    return tag
