"""A bundle as one file: the same bytes for the same bundle, and nothing is unpacked that its manifest does not list."""

from __future__ import annotations

import gzip
import json
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import MANIFEST, atomic_file, atomic_folder, contained, sha256_file, verify_manifest
from zoo_cli.runtime.loading import existing_bundle

SUFFIXES = (".tar.gz", ".zip")
ROOT = "bundle"
_MODE = 0o644
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile, EOFError, KeyError, NotImplementedError)
_MANIFEST_BYTES = 10_000_000
"""A manifest larger than this is none."""


def pack(bundle: Path, target: Path) -> dict[str, Any]:
    """Write the files of a bundle's manifest into an archive, below `bundle/`.

    Times, owners and modes of the files are not kept, so that equal bundles make equal archives.

    Args:
        bundle: the bundle's folder.
        target: ends in ``.tar.gz`` or ``.zip``.

    Returns:
        ``archive``, its ``sha256`` and ``bytes``, and the number of its ``files``.

    Raises:
        ArtifactError: the bundle is damaged.
        UsageError: another kind of archive (`unknown-archive`).
    """
    write = _WRITERS[_suffix(target)]
    names = [MANIFEST, *sorted(verify_manifest(bundle)["files"])]
    with atomic_file(target) as partial:
        write(partial, bundle, names)
    size, digest = target.stat().st_size, sha256_file(target)
    return {"archive": str(target), "sha256": digest, "bytes": size, "files": len(names)}


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise UsageError(
        "unknown-archive", "an archive's name ends in {names}", at=Location.of(path), names=" or ".join(SUFFIXES)
    )


def _write_tar(target: Path, bundle: Path, names: Sequence[str]) -> None:
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name in names:
            entry = tarfile.TarInfo(f"{ROOT}/{name}")
            entry.size, entry.mode = (bundle / name).stat().st_size, _MODE
            with (bundle / name).open("rb") as source:
                archive.addfile(entry, source)


def _write_zip(target: Path, bundle: Path, names: Sequence[str]) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo(f"{ROOT}/{name}", (1980, 1, 1, 0, 0, 0))  # the earliest time that ZIP knows
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, _MODE << 16
            with (bundle / name).open("rb") as source, archive.open(entry, "w") as packed:
                shutil.copyfileobj(source, packed)


_WRITERS = {".tar.gz": _write_tar, ".zip": _write_zip}


def unpack(archive: Path, folder: Path) -> dict[str, Any]:
    """Unpack a bundle and check its files.

    Args:
        archive: that `pack` wrote.
        folder: gets the bundle; must not exist.

    Returns:
        ``bundle``, and the number of its ``files``.

    Raises:
        ArtifactError: the archive cannot be read, has another file than its manifest says, one that leaves the folder,
            or one that is damaged.
        UsageError: another kind of archive (`unknown-archive`), or the folder is there already (`folder-exists`).
    """
    suffix = _suffix(archive)
    if folder.exists():
        raise UsageError("folder-exists", "there is such a folder already", at=Location.of(folder))
    try:
        with atomic_folder(folder) as partial:
            with _open(archive, suffix) as (names, member):
                _unpack(archive, names, member, partial)
            manifest = verify_manifest(partial)
    except (*_BROKEN, OSError) as error:
        reason = str(error) or type(error).__name__
        raise ArtifactError(
            "broken-archive", "the archive cannot be read: {reason}", at=Location.of(archive), reason=reason
        ) from error
    return {"bundle": str(folder), "files": len(manifest["files"]) + 1}


Member = Callable[[str], IO[bytes]]


@contextmanager
def _open(archive: Path, suffix: str) -> Iterator[tuple[list[str], Member]]:
    """Names of an archive's entries, and a function that opens one; links and devices cannot be opened."""
    if suffix == ".zip":
        with zipfile.ZipFile(archive) as zipped:
            yield [entry.filename for entry in zipped.infolist() if not entry.is_dir()], zipped.open
        return
    with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r:") as tarred:

        def member(name: str) -> IO[bytes]:
            entry = tarred.getmember(name)
            stream = tarred.extractfile(entry) if entry.isreg() else None
            if stream is None:
                raise KeyError(f"{name!r} is no file")
            return stream

        yield [entry.name for entry in tarred.getmembers() if not entry.isdir()], member
        while packed.read(1 << 20):  # up to the checksum at the end
            pass


def _unpack(archive: Path, names: Sequence[str], member: Member, folder: Path) -> None:
    """Write the files of the manifest, each with at most the bytes that the manifest gives it."""
    with member(f"{ROOT}/{MANIFEST}") as stream:
        text = stream.read(_MANIFEST_BYTES)
    (folder / MANIFEST).write_bytes(text)
    try:
        listed = {name: int(entry["size"]) for name, entry in json.loads(text)["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            "broken-manifest", "the archive's manifest has no list of files", at=Location.of(archive)
        ) from error
    known = {f"{ROOT}/{name}" for name in (MANIFEST, *listed)}
    for name in names:
        if name not in known:
            raise ArtifactError(
                "unexpected-file", "the manifest does not list {name!r}", at=Location.of(archive), name=name
            )
    for name, size in listed.items():
        path = contained(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with member(f"{ROOT}/{name}") as stream, path.open("wb") as target:
            left = size + 1  # one byte too many is enough for the checksum to fail
            while left and (part := stream.read(min(left, 1 << 20))):
                target.write(part)
                left -= len(part)


@contextmanager
def opened(path: Path) -> Iterator[Path]:
    """The folder of a bundle that is named by it, by its run folder or by an archive, unpacked for the time being.

    Raises:
        ArtifactError: there is none (`no-bundle`), or see `unpack`.
    """
    if path.is_file():
        with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
            unpack(path, Path(scratch) / ROOT)
            yield Path(scratch) / ROOT
    else:
        yield existing_bundle(path)
