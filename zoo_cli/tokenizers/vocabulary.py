"""Reading vocabulary files, with errors that name the line at fault."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from zoo_cli.base.errors import ArtifactError, Location


class ResourceFile(NamedTuple):
    """A vocabulary file as read: its path, for messages, and its bytes, so that saving gives back the same file."""

    path: str
    data: bytes

    @classmethod
    def read(cls, path: str | PathLike[str]) -> ResourceFile:
        """Read a file.

        Raises:
            ArtifactError: there is no such file (`missing-file`).
        """
        try:
            return cls(str(path), Path(path).read_bytes())
        except (FileNotFoundError, IsADirectoryError) as error:
            raise ArtifactError(
                "missing-file",
                "the tokenizer needs the file {name}",
                at=Location.of(path),
                fix="download it with the model, or name the folder that holds it",
                name=Path(path).name,
            ) from error

    def text(self) -> str:
        """The file as UTF-8 text.

        Raises:
            ArtifactError: it is not UTF-8 (`broken-vocabulary`, with the line).
        """
        try:
            return self.data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = self.data.count(b"\n", 0, error.start) + 1
            raise ArtifactError(
                "broken-vocabulary", "the line is not UTF-8 text", at=Location(self.path, line)
            ) from error


def read_vocabulary(file: ResourceFile, with_ids: bool = False) -> dict[str, int]:
    """Tokens and ids of a `vocab.txt`: one token a line whose id is the line number from 0, or `token<TAB>id`.

    Args:
        file: the file; a byte order mark and carriage returns at line ends are ignored.
        with_ids: lines may carry an id of their own (UNIMO, UnifiedTransformer).

    Raises:
        ArtifactError: the file is empty, or a line has an empty or repeated token, or a bad or repeated id
            (`broken-vocabulary`, with the line).
    """
    vocabulary: dict[str, int] = {}
    lines = file.text().removeprefix("\ufeff").split("\n")
    if lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ArtifactError("broken-vocabulary", "the vocabulary is empty", at=Location(file.path))
    used: set[int] = set()
    for index, line in enumerate(lines):
        token, number = line.rstrip("\r"), index
        if with_ids and "\t" in token:
            token, _, digits = token.rpartition("\t")
            if not digits.isdecimal():
                raise ArtifactError(
                    "broken-vocabulary",
                    "expected a token, a tab and a number, found {line!r}",
                    at=Location(file.path, index + 1),
                    line=line,
                )
            number = int(digits)
        if not token:
            raise ArtifactError("broken-vocabulary", "the line is empty", at=Location(file.path, index + 1))
        if token in vocabulary or number in used:
            raise ArtifactError(
                "broken-vocabulary",
                "token {token!r} or id {number} appears a second time",
                at=Location(file.path, index + 1),
                fix="remove the repeated line",
                token=token,
                number=number,
            )
        vocabulary[token] = number
        used.add(number)
    return vocabulary


def require_tokens(vocabulary: dict[str, int], tokens: Iterable[str], file: ResourceFile) -> None:
    """Check that a vocabulary has the tokens that encoding cannot do without.

    Raises:
        ArtifactError: one is missing (`broken-vocabulary`).
    """
    for token in tokens:
        if token not in vocabulary:
            raise ArtifactError(
                "broken-vocabulary",
                "the vocabulary lacks the special token {token!r}",
                at=Location(file.path),
                fix="use the vocabulary of this model, or name its special tokens in tokenizer_config.json",
                token=token,
            )
