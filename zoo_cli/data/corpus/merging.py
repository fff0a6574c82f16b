"""Putting corpora together: the shards of one build, which give the files of a build in one go."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, Location, UsageError
from zoo_cli.base.files import read_json, write_json
from zoo_cli.data.corpus.format import IDS, REPORT, ArrayWriter, Corpus, array_writer, open_corpus, write_index
from zoo_cli.data.corpus.reading import PLACES

_SHARD = re.compile(r"-\d{3,}-of-(\d{3,})" + re.escape(REPORT) + "$")
_SUMS = ("bytes", "documents", "sentences", "tokens", "unknown_tokens")
_BLOCK = 1 << 22


def merge_shards(prefix: str | os.PathLike[str], force: bool = False) -> dict[str, Any]:
    """Put the shards ``PREFIX-III-of-NNN`` together; the result is that of a build without shards, byte for byte.

    Args:
        prefix: path of the corpus without endings.
        force: replace a corpus that is there.

    Returns:
        The report, as `build_corpus` does.

    Raises:
        DataError: there are no shards, one is missing, or they were built in different ways (`bad-shards`); or there is
            not one token in them (`empty-corpus`).
        UsageError: there is a corpus already (`corpus-exists`).
    """
    target = str(prefix)
    place = Location.of(target)
    if Path(target + IDS).exists() and not force:
        raise UsageError(
            "corpus-exists", "there is a corpus already", at=Location.of(target + IDS), fix="replace it with --force"
        )
    folder, name = Path(target).parent, Path(target).name
    found = sorted(
        file
        for file in folder.glob(f"*{REPORT}")
        if file.name.startswith(name) and _SHARD.match(file.name[len(name) :])
    )
    reports = [read_json(file) for file in found]
    of = reports[0]["shard"]["of"] if reports else 0
    if not reports or [report["shard"]["number"] for report in reports] != list(range(of)):
        raise DataError(
            "bad-shards",
            "of {of} shards there are {found}",
            at=place,
            fix="build the others, or name them without -000-of-004 and so on",
            of=of or "the",
            found=len(found) or "none",
        )
    heads = [
        {key: value for key, value in report.items() if key not in ("shard", "faults", *_SUMS)} for report in reports
    ]
    if any(head != heads[0] for head in heads):
        raise DataError("bad-shards", "the shards were built from other inputs or with other options", at=place)

    if not any(report["tokens"] for report in reports):
        raise DataError("empty-corpus", "there is no text in any of the shards", at=place)
    corpora = [open_corpus(str(file).removesuffix(REPORT)) for file in found]
    for ending in (REPORT, IDS):
        Path(target + ending).unlink(missing_ok=True)
    _join_index(corpora, target)
    with array_writer(Path(target + IDS), corpora[0].ids.dtype) as writer:
        for corpus in corpora:
            _append(writer, corpus.ids)
    report = {
        **heads[0],
        **{key: sum(report[key] for report in reports) for key in _SUMS},
        "faults": _merge_faults([report["faults"] for report in reports]),
    }
    write_json(Path(target + REPORT), report)
    return report


def _append(writer: ArrayWriter, array: np.ndarray, plus: int = 0) -> None:
    for start in range(0, len(array), _BLOCK):
        block = array[start : start + _BLOCK]
        writer.append(block + plus if plus else block)


def _join_index(corpora: Sequence[Corpus], target: str) -> None:
    """Write the index of corpora one after another, in constant memory."""
    with TemporaryDirectory(dir=Path(target).parent, prefix=".merging-") as folder:
        lens, docs = Path(folder) / "lens.npy", Path(folder) / "docs.npy"
        with array_writer(lens, np.dtype("<i4")) as lens_writer, array_writer(docs, np.dtype("<i8")) as docs_writer:
            docs_writer.append(np.zeros(1, "<i8"))
            for corpus in corpora:
                _append(docs_writer, corpus.docs[1:], lens_writer.rows)
                _append(lens_writer, corpus.lens)
        write_index(target, np.load(lens, mmap_mode="r"), np.load(docs, mmap_mode="r"))


def _merge_faults(faults: Sequence[dict[str, Any]]) -> dict[str, Any]:
    kinds = sorted({kind for each in faults for kind in each})
    return {
        kind: {
            "count": sum(each[kind]["count"] for each in faults if kind in each),
            "at": [place for each in faults if kind in each for place in each[kind]["at"]][:PLACES],
        }
        for kind in kinds
    }
