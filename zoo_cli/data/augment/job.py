"""Files with copies of labelled rows in which words are replaced.

The rows are cut into pieces, each written to a file of its own in `OUTPUT.building`; at the end they are put together.
A piece depends on its rows and the options only, so that neither the number of processes nor an interruption changes
the result.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.base.files import atomic_file, read_json, sha256_file, write_json
from zoo_cli.base.processes import worker_pool
from zoo_cli.base.progress import progress
from zoo_cli.data.augment.copies import CopyOptions, MaskedWords, copies, propose
from zoo_cli.data.augment.rows import Row, copy_row, free, texts_of, writer, written_format
from zoo_cli.data.augment.vectors import WordVectors, read_vectors
from zoo_cli.data.augment.words import is_replaceable, words_of
from zoo_cli.data.readers import parse_options, read
from zoo_cli.recipe.schema import Section

logger = logging.getLogger(__name__)

BUILDING = ".building"
_SETTINGS = "settings.json"
_ROWS = 64  # in a piece


@dataclass(frozen=True)
class Sources:
    """Where other words come from.

    Args:
        masked: makes a masked language model's proposals; None does without.
        identity: a hash of that model.
        vectors: file of word vectors; None does without.
    """

    masked: Callable[[], MaskedWords] | None
    identity: str
    vectors: Path | None


@dataclass(frozen=True)
class _Work:
    """What a process needs to copy rows."""

    sources: Sources
    options: CopyOptions
    format: str
    format_options: Section


class _Copier:
    """Copies rows in one process."""

    def __init__(self, work: _Work) -> None:
        self._options = work.options
        self._masked = None if work.sources.masked is None else work.sources.masked()
        self._vectors: WordVectors | None = None if work.sources.vectors is None else read_vectors(work.sources.vectors)
        self._spell = writer(work.format, work.format_options)[1]

    def piece(self, first: int, rows: Sequence[Row]) -> tuple[str, int]:
        """The lines of some rows, each followed by its copies, and how many copies there are.

        Args:
            first: number of the first row in the file, of which the random choices depend.
            rows: the rows.
        """
        texts = [(index, number, text) for index, row in enumerate(rows) for number, text in enumerate(texts_of(row))]
        words = [
            [word for word in free(rows[index], list(words_of(text))) if is_replaceable(word.text)]
            for index, _, text in texts
        ]
        proposals = propose([text for *_, text in texts], words, self._masked, self._vectors, self._options.candidates)
        found: list[list[Row]] = [[] for _ in rows]
        for (index, number, _), own, others in zip(texts, words, proposals, strict=True):
            generator = np.random.default_rng([self._options.seed, first + index, number])
            found[index] += [
                copy_row(rows[index], number, edits) for edits in copies(own, others, self._options, generator)
            ]
        lines = [self._spell(each) for row, own in zip(rows, found, strict=True) for each in (row, *own)]
        return "".join(lines), sum(map(len, found))


def augment_file(
    source: Path,
    output: Path,
    format: str,
    format_options: Any,
    sources: Sources,
    options: CopyOptions,
    *,
    processes: int = 1,
    resume: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write the rows of a file, each followed by copies of it with other words.

    Args:
        source: the file.
        output: file to write, of the format that `written_format` names, read with the same options.
        format: how the source is written.
        format_options: of that format.
        sources: where other words come from.
        options: how many copies, and how they are made.
        processes: how many work at the same time.
        resume: go on with a file that is unfinished.
        force: replace what is there.

    Returns:
        ``rows``, ``copies``, ``format`` and ``file`` of the output.

    Raises:
        UsageError: there is nothing to take words from (`no-words`), labels would not survive (`not-augmentable`), or
            the output is there (`output-exists`), unfinished (`build-unfinished`) or was begun otherwise
            (`build-changed`).
        DataError: the source or the vectors cannot be read.
        PlatformError: a process died (`worker-died`).
    """
    target = written_format(format)
    parsed = parse_options(format, format_options)
    if sources.masked is None and sources.vectors is None:
        raise UsageError(
            "no-words", "nothing says where other words come from", fix="name a masked language model or word vectors"
        )
    settings = {
        "source": sha256_file(source) if source.is_file() else None,
        "format": [format, parsed.model_dump(mode="json")],
        "model": sources.identity,
        "vectors": sha256_file(sources.vectors) if sources.vectors and sources.vectors.is_file() else None,
        "options": asdict(options),
    }
    folder = output.with_name(output.name + BUILDING)
    _claim(folder, output, settings, resume, force)
    rows: list[Any] = list(read(source, format, parsed))
    work = _Work(sources, options, format, parsed)
    pieces = {
        folder / f"{number:06d}": (first, rows[first : first + _ROWS])
        for number, first in enumerate(range(0, len(rows), _ROWS))
    }
    left = {place: piece for place, piece in pieces.items() if not place.is_file()}
    done = sum(len(own) for place, (_, own) in pieces.items() if place not in left)
    with progress("Copying rows with other words", len(rows), done) as show:
        made = _made(work, list(left.values()), processes)
        for (place, (_, own)), (text, count) in zip(left.items(), made, strict=True):
            with atomic_file(place) as partial:
                partial.write_text(f"{count}\n{text}", encoding="utf-8", newline="\n")
            show(len(own))
    total = _join(list(pieces), output, writer(format, parsed)[0])
    shutil.rmtree(folder)
    logger.info("%s: %d rows and %d copies", output, len(rows), total)
    return {"file": str(output), "format": target, "rows": len(rows), "copies": total}


def _claim(folder: Path, output: Path, settings: dict[str, Any], resume: bool, force: bool) -> None:
    """Make the folder of the pieces ready, or refuse."""
    if force:
        shutil.rmtree(folder, ignore_errors=True)
        output.unlink(missing_ok=True)
    if output.exists():
        raise UsageError(
            "output-exists", "the file is there already", at=Location.of(output), fix="replace it with --force"
        )
    known = folder / _SETTINGS
    if known.is_file():
        if not resume:
            raise UsageError(
                "build-unfinished",
                "there is an unfinished build",
                at=Location.of(folder),
                fix="go on with --resume, or start anew with --force",
            )
        before = read_json(known)
        names = [name for name, value in settings.items() if before.get(name) != value]
        if names:
            raise UsageError(
                "build-changed",
                "the build was started with other settings: {names}",
                at=Location.of(folder),
                fix="call it as before, or start anew with --force",
                names=", ".join(names),
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(known, settings)


_copier: _Copier | None = None
"""Of this process, if it is one of several."""


def _start(work: _Work) -> None:
    global _copier
    _copier = _Copier(work)


def _copy_piece(first: int, rows: Sequence[Row]) -> tuple[str, int]:
    assert _copier is not None
    return _copier.piece(first, rows)


def _made(work: _Work, pieces: Sequence[tuple[int, list[Any]]], processes: int) -> Iterator[tuple[str, int]]:
    """Text and number of copies of each piece, in order."""
    if processes == 1 or len(pieces) < 2:
        copier = _Copier(work) if pieces else None
        for first, rows in pieces:
            assert copier is not None
            yield copier.piece(first, rows)
        return
    # Not forked: neither paddle's threads nor those of a progress bar survive that.
    context = multiprocessing.get_context("spawn")
    with worker_pool(min(processes, len(pieces)), context, _start, (work,)) as pool:
        yield from pool.map(_copy_piece, *zip(*pieces, strict=True))


def _join(pieces: Sequence[Path], output: Path, head: str) -> int:
    """Put the pieces together; returns how many copies they hold."""
    total = 0
    with atomic_file(output) as partial, partial.open("wb") as file:
        file.write(head.encode())
        for piece in pieces:
            with piece.open("rb") as part:
                total += int(part.readline())
                shutil.copyfileobj(part, file)
    return total
