"""Errors that users see: each has an exit code, a stable name, a place and a way out.

A message is a ``str.format`` template plus its values, so that the same error can be shown in another language
(`zoo_cli.base.messages`). Code below the command line raises these; only the command line prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from zoo_cli.base.messages import translate


@dataclass(frozen=True)
class Location:
    """A place in a file; lines and columns count from 1.

    Args:
        file: path as the user wrote it.
        line: line number, or None for the file as a whole.
        column: column number in characters, or None for the whole line.
    """

    file: str
    line: int | None = None
    column: int | None = None

    @classmethod
    def of(cls, file: str | PathLike[str], line: int | None = None, column: int | None = None) -> Location:
        return cls(fspath(file), line, column)

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)


class ZooError(Exception):
    """Base of all errors a user may see.

    Args:
        code: stable name in kebab case, e.g. ``"unknown-key"``; `zoo explain CODE` tells more about it.
        message: template for one sentence without a full stop, e.g. ``"label {label!r} is not in the schema"``.
        at: where the fault lies.
        fix: template that says what to do about it.
        **values: what the templates name.
    """

    exit_code = 1

    def __init__(
        self, code: str, message: str, *, at: Location | None = None, fix: str | None = None, **values: Any
    ) -> None:
        self.code = code
        self.template = message
        self.fix_template = fix
        self.at = at
        self.values = values
        super().__init__(code, message)

    @property
    def message(self) -> str:
        return translate(self.template).format(**self.values)

    @property
    def english(self) -> str:
        """The message as programs read it."""
        return self.template.format(**self.values)

    @property
    def english_fix(self) -> str | None:
        """What to do about it, as programs read it."""
        return self.fix_template.format(**self.values) if self.fix_template else None

    @property
    def fix(self) -> str | None:
        return translate(self.fix_template).format(**self.values) if self.fix_template else None

    def __str__(self) -> str:
        text = f"{self.at}: {self.message}" if self.at else self.message
        return f"{text} ({self.fix})" if self.fix_template else text

    def as_dict(self) -> dict[str, Any]:
        """The error for `--json`, in English: code, message, fix, file, line, column, exit_code."""
        place = self.at or Location("")
        return {
            "code": self.code,
            "message": self.english,
            "fix": self.english_fix,
            "file": place.file or None,
            "line": place.line,
            "column": place.column,
            "exit_code": self.exit_code,
        }


class UsageError(ZooError):
    """Wrong command line or recipe."""

    exit_code = 2


class DataError(ZooError):
    """Data that cannot be read or does not fit the task."""

    exit_code = 3


class ArtifactError(ZooError):
    """Weights, a model folder or a bundle that is missing, cannot be had offline, or is damaged."""

    exit_code = 4


class PlatformError(ZooError):
    """The machine or the installation lacks something."""

    exit_code = 5


class GateError(ZooError):
    """A measured artifact breaks a limit set in the recipe."""

    exit_code = 6


class MemoryLimitError(ZooError):
    """Out of memory."""

    exit_code = 7


class DivergedError(ZooError):
    """The loss is no longer a number."""

    exit_code = 8


class PreemptedError(ZooError):
    """Stopped by SIGTERM after a checkpoint was saved."""

    exit_code = 75


class InterruptedByUser(ZooError):
    """Stopped by SIGINT after a checkpoint was saved."""

    exit_code = 130


class ErrorGroup(ZooError):
    """Several errors found in one pass; the exit code is that of the first.

    Args:
        errors: at least one error; groups among them are taken apart.
    """

    def __init__(self, errors: Iterable[ZooError]) -> None:
        self.errors: tuple[ZooError, ...] = tuple(
            each for error in errors for each in (error.errors if isinstance(error, ErrorGroup) else (error,))
        )
        first = self.errors[0]
        super().__init__(first.code, first.template, at=first.at, fix=first.fix_template, **first.values)
        self.exit_code = first.exit_code

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)

    def __reduce__(self) -> tuple[Any, ...]:
        return ErrorGroup, (self.errors,)  # to another process


def raise_all(errors: list[ZooError]) -> None:
    """Raise the one error, or all of them as a group; return if there is none."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ErrorGroup(errors)
