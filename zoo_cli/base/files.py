"""Files and folders that are either there whole or not at all, and manifests that say what belongs in them."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location

MANIFEST = "MANIFEST.json"
_PARTIAL = ".partial-"
_OLD = ".partial-old-"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling to write; on success flush it to disk and rename it to `path`, else remove it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex[:8]}-{path.name}")
    try:
        yield partial
        _sync(partial)
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the system (Linux only) or the file system cannot."""
    at_working_directory, exchange = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return renameat2(at_working_directory, os.fsencode(one), at_working_directory, os.fsencode(other), exchange) == 0


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling folder to fill; on success flush everything in it and rename it to `path`.

    An existing `path` and the new folder swap names in one step, so that a reader sees the old folder or the new one.
    Where the file system cannot swap, the old one is moved aside just before the rename. What killed processes left is
    put right by `remove_partial`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{_PARTIAL}{uuid.uuid4().hex[:8]}-{path.name}")
    partial.mkdir()
    try:
        yield partial
        for entry in sorted(partial.rglob("*"), reverse=True):
            _sync(entry)
        _sync(partial)
        old = path.with_name(f"{_OLD}{uuid.uuid4().hex[:8]}-{path.name}")
        if not path.exists():
            partial.rename(path)
        elif not _exchange(partial, path):
            path.rename(old)
            partial.rename(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Remove what interrupted `atomic_file` and `atomic_folder` calls left in `folder`.

    A folder that was moved aside for one that never took its place gets its name back.
    """
    for entry in Path(folder).glob(f"{_OLD}*"):
        path = entry.with_name(re.sub(rf"^{re.escape(_OLD)}[0-9a-f]{{8}}-", "", entry.name))
        if not path.exists():
            entry.rename(path)
    for entry in Path(folder).glob(f"{_PARTIAL}*"):
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically, keys in the order given."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ArtifactError: the file is missing (`missing-file`), cannot be read (`unreadable-file`) or is not JSON
            (`broken-json`, with its line).
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ArtifactError("missing-file", "there is no such file", at=Location.of(path)) from error
    except OSError as error:
        place, reason = Location.of(path), error.strerror or str(error)
        raise ArtifactError("unreadable-file", "cannot be read: {reason}", at=place, reason=reason) from error
    except UnicodeDecodeError as error:
        raise ArtifactError("broken-json", "the file is not UTF-8 text", at=Location.of(path)) from error
    except json.JSONDecodeError as error:
        place = Location.of(path, error.lineno, error.colno)
        raise ArtifactError("broken-json", "not valid JSON: {reason}", at=place, reason=error.msg) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        place, reason = Location.of(path), str(error)
        raise ArtifactError("broken-json", "not valid JSON: {reason}", at=place, reason=reason) from error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_manifest(folder: Path, format_version: int = 1) -> None:
    """Write `MANIFEST.json` with the SHA-256 and size in bytes of every other file below `folder`."""
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): {"sha256": sha256_file(path), "size": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != folder / MANIFEST
    }
    write_json(folder / MANIFEST, {"format_version": format_version, "files": files})


def contained(folder: Path, name: str) -> Path:
    """`folder / name`, provided that it stays inside `folder`.

    Raises:
        ArtifactError: the name is absolute, climbs out or leaves through a link (`path-escape`).
    """
    path = Path(folder) / name
    try:
        inside = not Path(name).is_absolute() and path.resolve().is_relative_to(Path(folder).resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a NUL in the name
        inside = False
    if not inside:
        raise ArtifactError("path-escape", "{name!r} points outside of the folder", at=Location.of(folder), name=name)
    return path


def verify_manifest(folder: Path, supported_version: int = 1) -> dict[str, Any]:
    """Check every file of a folder against its manifest and return the manifest.

    Raises:
        ArtifactError: there is no manifest, its version is newer than supported, or a file is missing, damaged or
            not listed; the error names the file.
    """
    folder = Path(folder)
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ArtifactError("broken-manifest", "the manifest has no list of files", at=Location.of(folder / MANIFEST))
    version = manifest.get("format_version")
    if not isinstance(version, int) or not 1 <= version <= supported_version:
        raise ArtifactError(
            "format-version",
            "format version {version} is not one that this release reads (1 to {supported})",
            at=Location.of(folder / MANIFEST),
            version=version,
            supported=supported_version,
        )
    for name, entry in manifest["files"].items():
        path = contained(folder, name)
        if not path.is_file():
            raise ArtifactError("missing-file", "a file of the manifest is missing", at=Location.of(path))
        if not isinstance(entry, dict) or sha256_file(path) != entry.get("sha256"):
            raise ArtifactError("damaged-file", "the SHA-256 differs from the manifest", at=Location.of(path))
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path != folder / MANIFEST and name not in manifest["files"]:
            raise ArtifactError("unexpected-file", "the file is not in the manifest", at=Location.of(path))
    return manifest
