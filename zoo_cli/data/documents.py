"""Plain text: files of documents for language models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from zoo_cli.base.errors import Location
from zoo_cli.data.examples import TextExample
from zoo_cli.data.formats import DocumentOptions
from zoo_cli.data.lines import text_lines

_HEADING = re.compile(r"^ ?= [^=](.*[^=])? = ?$")
"""Title of a WikiText article; its sections have two or more signs on each side."""


def read_documents(path: Path, options: DocumentOptions) -> Iterator[TextExample]:
    """Documents of a plain text file, as `options.document` says.

    Articles and whole files keep their line ends, so that all of them together are the file again; lines and paragraphs
    come without the white space around them, and empty ones are left out.
    """
    whole = options.document in ("article", "file")
    lines: list[str] = []
    start = 1

    def finished() -> Iterator[TextExample]:
        text = "".join(lines) if whole else "\n".join(lines).strip()
        if text.strip():
            yield TextExample(text, source=Location.of(path, start))

    for number, line in text_lines(path):
        if _begins(line, options) and any(map(str.strip, lines)):
            yield from finished()
            lines = []
        if not any(map(str.strip, lines)):
            start = number
        lines.append(line + "\n" if whole else line)
    yield from finished()


def _begins(line: str, options: DocumentOptions) -> bool:
    """Whether a document that is open ends before this line."""
    if options.document == "article":
        return _HEADING.match(line) is not None
    return options.document == "line" or (options.document == "paragraph" and not line.strip())
