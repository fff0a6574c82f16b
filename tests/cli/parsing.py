"""Command lines in texts, read by the command line's own parser."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from zoo_cli.cli.app import app

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    inner = getattr(group, "commands", None)
    if inner is None:
        yield path, group
        return
    for name, command in inner.items():
        yield from commands(command, (*path, name))


def calls(line: str) -> Iterator[list[str]]:
    """The words behind `zoo` of each call in a line of shell."""
    line = re.sub(r"(^|\s)#.*", "", line)
    for part in re.split(r"\|\||&&|\||;|&(?!\w)", line):
        try:
            words = shlex.split(part.split(" > ")[0])
        except ValueError:
            continue  # a piece of a quoted text
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words.pop(0)
        if words and re.fullmatch(r"(.*/)?zoo", words[0]):
            yield words[1:]


def parse(words: list[str]) -> None:
    """Let the parser read a call; it raises where a command or an option does not exist."""
    command = ROOT
    while (inner := getattr(command, "commands", None)) is not None:
        while words and words[0] in ("--debug", "--verbose", "-v"):
            words = words[1:]
        if not words or words[0] in ("--version", "--help", "--install-completion", "--show-completion"):
            return
        assert words[0] in inner, f"there is no command {words[0]!r}"
        command, words = inner[words[0]], words[1:]
    if "--help" not in words:
        command.make_context(command.name or "", list(words))
