"""Building a corpus: several processes, constant memory, and files that do not depend on how the work was done.

The input is cut into pieces (`zoo_cli.data.corpus.reading`). Processes encode pieces into files of their own, which are
appended to the corpus in the order of the pieces; after each one the state is written down. A build that was killed,
however hard, goes on from there and gives the same bytes. `PREFIX.building` holds the unfinished corpus; the files of
`PREFIX` appear when it is finished.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.files import read_json, remove_partial, sha256_json, write_json
from zoo_cli.base.locks import exclusive
from zoo_cli.base.processes import worker_pool
from zoo_cli.base.progress import Advance, progress
from zoo_cli.data.corpus.encoding import Encoder, EncodingOptions
from zoo_cli.data.corpus.format import IDS, INDEX, REPORT, ArrayWriter, map_array, write_index
from zoo_cli.data.corpus.reading import (
    Faults,
    Piece,
    Place,
    ReadingOptions,
    find_files,
    line_number,
    plan_pieces,
)
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

BUILDING = ".building"
_SETTINGS, _STATE, _LOCK = "settings.json", "state.json", ".lock"
_ARRAYS = ("ids", "lens", "docs")
_PIECE_BYTES = 8 << 20
_WATCH, _PATIENCE = 0.2, 10.0  # seconds
FORMAT_VERSION = 1


@dataclass
class _Counts:
    """What is known of the pieces that are done."""

    pieces: int = 0
    bytes: int = 0
    unknown_tokens: int = 0
    faults: Faults = field(default_factory=Faults)


@dataclass(frozen=True)
class _Part:
    """A piece that a process has encoded into `PATH.ids`, `PATH.lens` and `PATH.docs`."""

    path: Path
    unknown: int
    faults: Faults


def build_corpus(
    inputs: Sequence[Path],
    prefix: str | os.PathLike[str],
    tokenizer: PretrainedTokenizer,
    reading: ReadingOptions | None = None,
    encoding: EncodingOptions | None = None,
    *,
    processes: int = 1,
    shard: tuple[int, int] = (0, 1),
    resume: bool = False,
    force: bool = False,
    piece_bytes: int = _PIECE_BYTES,
) -> dict[str, Any]:
    """Tokenize text files into a corpus.

    The same inputs and options give the same files, whatever the number of processes and interruptions.

    Args:
        inputs: files and folders, see `find_files`.
        prefix: path of the corpus without endings. A shard gets ``PREFIX-III-of-NNN``, for `merge_shards`.
        tokenizer: makes tokens.
        reading: how the text is written.
        encoding: how it becomes ids.
        processes: how many work at the same time.
        shard: (i, n) for the i-th of n parts, counted from 0, as several machines may each build one.
        resume: go on with an unfinished build; without one start from the beginning.
        force: start anew, deleting the corpus or the unfinished build that is there.
        piece_bytes: size of a piece.

    Returns:
        The report, which is also in `PREFIX_corpus.json`: options, counts of documents, sentences, tokens, unknown
        tokens, and faults with the places of the first few.

    Raises:
        UsageError: there is a corpus (`corpus-exists`) or an unfinished build (`build-unfinished`) already, the build
            that is to go on had other inputs or options (`build-changed`), another process works on it (`build-busy`),
            or options do not go together.
        DataError: an input is missing, or there is not one token in them (`empty-corpus`); a shard may be empty.
        PlatformError: a process died (`worker-died`).
    """
    number, of = shard
    if not 0 <= number < of:
        raise UsageError(
            "bad-shard", "shard {i}/{n} does not exist", fix="count from 0, as in 0/4 to 3/4", i=number, n=of
        )
    target = str(prefix) if of == 1 else f"{prefix}-{number:03d}-of-{of:03d}"
    encoder = Encoder(tokenizer, reading or ReadingOptions(), encoding or EncodingOptions())
    files, others = find_files(inputs)
    pieces = plan_pieces(files, piece_bytes)
    pieces = pieces[len(pieces) * number // of : len(pieces) * (number + 1) // of]
    report = _head(encoder, files, others, piece_bytes)
    if of > 1:
        report["shard"] = {"number": number, "of": of}
    stamps = [[path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    folder = Path(target + BUILDING)
    with _exclusive(folder):
        _prepare(folder, target, {**report, "stamps": stamps}, resume, force)
        with _Build(folder, encoder) as build:
            build.run(pieces, processes)
            return build.finish(target, report)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    lock = folder.with_name(f".{folder.name}{_LOCK}")
    deadline = time.monotonic() + _PATIENCE
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(exclusive(lock, wait=False))
                break
            except BlockingIOError as error:
                # The workers of a build that was killed share its lock until they notice.
                if time.monotonic() > deadline:
                    raise UsageError(
                        "build-busy", "another process builds this corpus", at=Location.of(folder)
                    ) from error
                time.sleep(0.05)
        yield


def _head(encoder: Encoder, files: Sequence[Path], others: int, piece_bytes: int) -> dict[str, Any]:
    """What the corpus is made of and how."""
    tokenizer = encoder.tokenizer
    return {
        "format_version": FORMAT_VERSION,
        "tokenizer": {
            "class": type(tokenizer).__name__,
            "size": len(tokenizer),
            "sha256": tokenizer_digest(tokenizer),
        },
        "id_count": encoder.id_count,
        "reading": asdict(encoder.reading),
        "encoding": asdict(encoder.options),
        "piece_bytes": piece_bytes,
        "inputs": [{"name": str(path), "size": path.stat().st_size} for path in files],
        "ignored_files": others,
    }


def tokenizer_digest(tokenizer: PretrainedTokenizer) -> str:
    """A hash of a tokenizer's files and settings."""
    digest = sha256()
    for role, file in sorted(tokenizer.files.items()):
        digest.update(role.encode() + file.data)
    digest.update(sha256_json([tokenizer.config, tokenizer.added_tokens]).encode())
    return digest.hexdigest()


def _prepare(folder: Path, target: str, settings: dict[str, Any], resume: bool, force: bool) -> None:
    """Make the folder of the build ready, or refuse."""
    finished = Path(target + REPORT)
    if force:
        shutil.rmtree(folder, ignore_errors=True)
        for ending in (REPORT, IDS, INDEX):
            Path(target + ending).unlink(missing_ok=True)
    if not folder.exists() and (finished.exists() or Path(target + IDS).exists()):
        raise UsageError(
            "corpus-exists", "there is a corpus already", at=Location.of(target + IDS), fix="replace it with --force"
        )
    if (folder / _SETTINGS).exists():
        if not resume:
            raise UsageError(
                "build-unfinished",
                "there is an unfinished build",
                at=Location.of(folder),
                fix="go on with --resume, or start anew with --force",
            )
        _refuse_changes(read_json(folder / _SETTINGS), settings, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob("parts-*"):
        shutil.rmtree(leftover)
    remove_partial(folder)
    write_json(folder / _SETTINGS, settings)


def _refuse_changes(before: Any, now: dict[str, Any], folder: Path) -> None:
    if before == now:
        return
    names = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
    raise UsageError(
        "build-changed",
        "the build was started with other settings: {names}",
        at=Location.of(folder),
        fix="call it as before, or start anew with --force",
        names=", ".join(names).replace("stamps", "the input files have changed") or "some are gone",
    )


class _Build:
    """The unfinished corpus in its folder.

    Args:
        folder: `PREFIX.building`.
        encoder: encodes pieces.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._folder, self._encoder = folder, encoder
        self._parts = folder / f"parts-{uuid.uuid4().hex[:8]}"
        self._counts = _Counts()
        state = read_json(folder / _STATE) if (folder / _STATE).exists() else None
        rows = dict.fromkeys(_ARRAYS, 0)
        if state is not None:
            rows = state["rows"]
            faults = Faults(
                state["faults"]["counts"],
                {kind: [Place(*place) for place in places] for kind, places in state["faults"]["places"].items()},
            )
            self._counts = _Counts(state["pieces"], state["bytes"], state["unknown_tokens"], faults)
        types = {"ids": encoder.dtype, "lens": np.dtype("<i4"), "docs": np.dtype("<i8")}
        self._renamed = state is not None and not self._array("ids").exists()
        self._writers = {
            name: ArrayWriter(self._array(name), types[name], rows=rows[name])
            for name in _ARRAYS
            if not (self._renamed and name == "ids")
        }
        if not rows["docs"]:
            self._writers["docs"].append(np.zeros(1, "<i8"))
        self._rows = {**rows, "docs": max(1, rows["docs"])}

    def _array(self, name: str) -> Path:
        return self._folder / f"{name}.npy"

    def __enter__(self) -> _Build:
        return self

    def __exit__(self, *error: object) -> None:
        for writer in self._writers.values():
            writer.close(complete=False)
        shutil.rmtree(self._parts, ignore_errors=True)

    def run(self, pieces: Sequence[Piece], processes: int) -> None:
        """Encode the pieces that are not done yet."""
        left = pieces[self._counts.pieces :]
        if not left:
            return
        self._parts.mkdir()
        self._encoder.prepare()
        started = time.perf_counter()
        done = 0
        with ExitStack() as stack:
            show: Advance | None = None
            for piece, part in zip(left, self._encoded(left, processes), strict=True):
                if show is None:  # opened behind the processes: they must not be forked beside its thread
                    show = stack.enter_context(
                        progress("Building the corpus", len(pieces), self._counts.pieces, ("speed",))
                    )
                self._append(piece, part)
                done += _size(piece)
                show(1, speed=f"{done / 1e6 / (time.perf_counter() - started):.1f} MB/s")

    def _encoded(self, pieces: Sequence[Piece], processes: int) -> Iterator[_Part]:
        tasks = [(piece, self._parts / f"{number:06d}") for number, piece in enumerate(pieces)]
        if processes == 1:
            for piece, path in tasks:
                yield _encode_piece(self._encoder, piece, path)
            return
        context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        arguments = (self._encoder, os.getpid())
        with worker_pool(processes, context, _start_worker, arguments) as pool:
            yield from _in_order(pool, tasks, 2 * processes)

    def _append(self, piece: Piece, part: _Part) -> None:
        """Make a part belong to the corpus."""
        sentences = self._writers["lens"].rows
        self._writers["ids"].append_file(part.path.with_suffix(".ids"))
        self._writers["lens"].append_file(part.path.with_suffix(".lens"))
        self._writers["docs"].append(np.fromfile(part.path.with_suffix(".docs"), "<i8") + sentences)
        for name in _ARRAYS:
            self._writers[name].sync()
            part.path.with_suffix(f".{name}").unlink()
        counts = self._counts
        counts.pieces += 1
        counts.bytes += _size(piece)
        counts.unknown_tokens += part.unknown
        counts.faults.update(part.faults)
        self._rows = {name: writer.rows for name, writer in self._writers.items()}
        write_json(self._folder / _STATE, {"rows": self._rows, **asdict(counts)})

    def finish(self, target: str, report: dict[str, Any]) -> dict[str, Any]:
        """Put the files of the corpus in their place and remove the folder."""
        rows = self._rows
        if not rows.get("ids") and "shard" not in report:  # of few pieces a shard may get none
            raise DataError(
                "empty-corpus",
                "there is no text in the input: {faults}",
                fix="look at --format, --json-key and --encoding",
                faults=", ".join(f"{kind} {count}" for kind, count in self._counts.faults.counts.items()) or "no lines",
            )
        for name, writer in self._writers.items():
            if name != "ids":
                writer.sync()
        lens = map_array(self._array("lens"), "<i4", (rows["lens"],), 128)
        docs = map_array(self._array("docs"), "<i8", (rows["docs"],), 128)
        write_index(target, lens, docs)
        if not self._renamed:
            self._writers.pop("ids").close()
            self._array("ids").replace(target + IDS)
        report = {
            **report,
            "bytes": self._counts.bytes,
            "documents": rows["docs"] - 1,
            "sentences": rows["lens"],
            "tokens": rows["ids"],
            "unknown_tokens": self._counts.unknown_tokens,
            "faults": {
                kind: {
                    "count": count,
                    "at": [f"{place.file}:{line_number(place)}" for place in self._counts.faults.places.get(kind, [])],
                }
                for kind, count in sorted(self._counts.faults.counts.items())
            },
        }
        write_json(Path(target + REPORT), report)
        shutil.rmtree(self._folder)
        return report


def _size(piece: Piece) -> int:
    return (Path(piece.file).stat().st_size if piece.end is None else piece.end) - piece.start


def _encode_piece(encoder: Encoder, piece: Piece, path: Path) -> _Part:
    """Encode one piece into files."""
    faults, unknown, sentences = Faults(), 0, 0
    with ExitStack() as stack:
        files = {name: stack.enter_context(path.with_suffix(f".{name}").open("wb")) for name in _ARRAYS}
        for block in encoder.encode(piece, faults):
            files["ids"].write(block.ids.tobytes())
            files["lens"].write(block.lens.tobytes())
            files["docs"].write((block.ends + sentences).tobytes())
            sentences += len(block.lens)
            unknown += block.unknown
    return _Part(path, unknown, faults)


_worker_encoder: Encoder
"""Encoder of a worker process."""


def _start_worker(encoder: Encoder, parent: int) -> None:
    global _worker_encoder
    _worker_encoder = encoder
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # the processes are the parallelism
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells when to stop
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process when its parent has been killed, which leaves it waiting for work for ever."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)


def _work(piece: Piece, path: Path) -> _Part:
    return _encode_piece(_worker_encoder, piece, path)


def _in_order(pool: ProcessPoolExecutor, tasks: Iterable[tuple[Piece, Path]], ahead: int) -> Iterator[_Part]:
    """Parts in the order of their pieces; at most `ahead` are in work or waiting for an earlier one."""
    waiting: deque[Future[_Part]] = deque()
    submit: Callable[..., Future[_Part]] = pool.submit
    for piece, path in tasks:
        waiting.append(submit(_work, piece, path))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
