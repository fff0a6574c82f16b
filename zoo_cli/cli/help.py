"""The pages that `--help` shows: in the user's language, and wrapped by the columns that characters take.

Typer's own pages are English, and count a Chinese character as one column. The English texts stay where they are, in
the docstrings and options of commands; the Chinese ones are in `configs/messages/zh/help.yaml`.
"""

from __future__ import annotations

import inspect
import re
import shutil
from collections.abc import Iterator
from typing import Any

import typer
from rich.cells import cell_len
from typer.core import TyperGroup

from zoo_cli.base.errors import UsageError
from zoo_cli.base.messages import translate

_WIDE = "\u2e80-\u9fff\uff00-\uffef"
_PIECES = re.compile(rf"[（「《]*[{_WIDE}][，。、；：？！）」》]*|[^\s{_WIDE}]+[，。、；：？！）」》]*|\s+")
"""What a line may be broken between: wide characters with their punctuation, words, spaces."""

_EXAMPLE = re.compile(r"([A-Z_]+=\S+ )?(zoo|echo) ")
_NOTES = ("required", "default", "env var")
_NOTE = re.compile(rf"({'|'.join(_NOTES)})(?=[;:\]])")
"""What Typer adds to the meaning of an option, in brackets."""

_NAMES_WIDTH = 30
"""Columns that the names of options take at most; longer ones have a line of their own."""

_FAULTS = {
    r"No such command '(?P<name>.*?)'": "there is no command {name!r}",
    r"No such option: (?P<name>[^\s]+)": "there is no option {name}",
    r"Missing (option|argument) (?P<name>.*?)\.": "{name} is missing",
    r"Invalid value for (?P<name>.+?): (?P<reason>.*)": "{name}: {reason}",
    r"Option (?P<name>.+?) requires an argument": "{name} needs a value",
    r"Got unexpected extra argument(?:s|\(s\))? \((?P<name>.*)\)": "{name} is one word too many",
}
"""What Typer says of a wrong call, and what we say."""


class Page(typer.Context):
    """The context of a call, with our own help page."""

    def get_help(self) -> str:
        command: Any = self.command
        lines = [self.usage()]
        for paragraph in paragraphs(command):
            if _EXAMPLE.match(paragraph):
                lines += ["", f"  {paragraph}"]
            else:
                lines += ["", *(f"  {line}" for line in wrap(translate(paragraph), _width() - 2))]
        described: dict[str, list[tuple[str, str]]] = {"argument": [], "option": []}
        for parameter in command.get_params(self):
            if not getattr(parameter, "hidden", False):
                described[parameter.param_type_name].append(self._describe(parameter))
        inner = [(name, summary(each)) for name, each in getattr(command, "commands", {}).items() if not each.hidden]
        lines += _listing(translate("Arguments:"), described["argument"])
        lines += _listing(translate("Options:"), described["option"])
        lines += _listing(translate("Commands:"), inner)
        return "\n".join(lines)

    def usage(self) -> str:
        """The line that says how the command is called."""
        command: Any = self.command
        words = [translate("Usage:"), self.command_path, translate("[OPTIONS]")]
        for parameter in command.params:
            if parameter.param_type_name == "argument":
                words.append(_argument(parameter))
        return " ".join([*words, "COMMAND ..."] if hasattr(command, "commands") else words)

    def _describe(self, parameter: Any) -> tuple[str, str]:
        """Name and meaning of an argument or option, with its default."""
        name, text = parameter.get_help_record(self)
        if parameter.param_type_name == "argument":
            name = _argument(parameter)
        english = parameter.help or ""
        notes = _NOTE.sub(lambda match: translate(match[0]), text.removeprefix(english))
        return name.replace(" range>", ">"), translate(english) + notes


class Group(TyperGroup):
    """A command with commands of its own, all of which have our help pages."""

    context_class = Page

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            command.context_class = Page
        return command


def wrong_call(error: Any) -> UsageError:
    """What Typer says of a call that it cannot read, as one of our errors."""
    said = " ".join(error.format_message().split())
    near = re.search(r"(?:Did you mean|Possible options:) (.*?)[?)]", said)
    command = getattr(getattr(error, "ctx", None), "command_path", "zoo")
    fix = "did you mean {near}?" if near else "`{command} --help` shows how it is called"
    template, found = "{reason}", dict[str, Any](reason=said)
    for pattern, text in _FAULTS.items():
        if match := re.match(pattern, said):
            template, found = text, match.groupdict()
    return UsageError("wrong-call", template, fix=fix, near=near and near[1], command=command, **found)


def paragraphs(command: Any) -> list[str]:
    """The help of a command in English, one line a paragraph."""
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n") if part.strip()]


def summary(command: Any) -> str:
    """The first sentence of a command's help, in the user's language."""
    first = translate(paragraphs(command)[0])
    return re.split(r"\.\s|\.$|。", first)[0]


def texts(command: Any, path: str = "zoo") -> Iterator[tuple[str, str]]:
    """Every English text in the help of a command and of those in it, with the command that it is of."""
    yield from ((each, path) for each in _NOTES)
    yield from ((each, path) for each in paragraphs(command) if not _EXAMPLE.match(each))
    with Page(command, info_name=path) as context:
        yield from ((each.help, path) for each in command.get_params(context) if getattr(each, "help", None))
    for name, inner in getattr(command, "commands", {}).items():
        yield from texts(inner, f"{path} {name}")


def wrap(text: str, width: int) -> list[str]:
    """A paragraph as lines of at most so many columns, if no word is longer."""
    lines = [""]
    for piece in _PIECES.findall(text):
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines]


def _argument(parameter: Any) -> str:
    """How an argument is written: in brackets if it may be left out, with dots if there may be several."""
    if "[" in (parameter.metavar or ""):
        return str(parameter.metavar)
    name = (parameter.metavar or parameter.name.upper()).rstrip(".")
    return (name if parameter.required else f"[{name}]") + ("..." if parameter.nargs == -1 else "")


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 100)


def _listing(title: str, rows: list[tuple[str, str]]) -> Iterator[str]:
    """A title and two columns, nothing if there are no rows."""
    if not rows:
        return
    yield from ("", title)
    column = min(max(cell_len(name) for name, _ in rows), _NAMES_WIDTH) + 2
    for name, text in rows:
        first, *rest = wrap(text, max(_width() - column - 2, 20))
        if cell_len(name) + 2 > column:
            yield f"  {name}"
            name = ""
        yield f"  {name}{' ' * (column - cell_len(name))}{first}".rstrip()
        yield from (f"  {' ' * column}{line}" for line in rest)
