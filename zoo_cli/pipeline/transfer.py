"""`zoo push` and `zoo pull`: bundles to and from a store.

The manifest is written last and read first, so that what was pushed in part is no bundle. While files are sent, a
journal beside them says which are there, so that the same push goes on after an interruption. A pull checks every
file's SHA-256 and gives the folder its name when all are right.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from zoo_cli.base.errors import ArtifactError, Location, UsageError
from zoo_cli.base.files import MANIFEST, atomic_folder, contained, sha256_file, verify_manifest
from zoo_cli.base.progress import progress
from zoo_cli.pipeline.stores import Store, open_store
from zoo_cli.runtime.loading import bundle_folder

JOURNAL = "PUSHING.json"
_UNFINISHED = ".pulling-"


def push(bundle: Path, target: str, force: bool = False) -> dict[str, Any]:
    """Write a bundle to a store.

    Args:
        bundle: the bundle, or its run folder.
        target: address of the bundle's folder there, see `zoo_cli.pipeline.stores.open_store`.
        force: replace another bundle.

    Returns:
        ``target``, ``files``, and of those ``sent``, the rest having been there.

    Raises:
        ArtifactError: the bundle is damaged, or the store fails (`store-failed`).
        UsageError: there is another bundle (`target-exists`).
        PlatformError: the store's driver is missing.
    """
    folder = bundle_folder(bundle)
    wanted = {name: entry["sha256"] for name, entry in verify_manifest(folder)["files"].items()}
    own = (folder / MANIFEST).read_bytes()
    store = open_store(target)
    there = store.read(MANIFEST)
    files = len(wanted) + 1
    if there == own:
        return {"target": target, "files": files, "sent": 0}
    if there is not None and not force:
        raise UsageError("target-exists", "there is another bundle", at=Location(target), fix="replace it with --force")
    old = _hashes(there) if there is not None else {}
    # A file that was about to be sent may be there or not, so the journal says so beforehand.
    known: dict[str, str | None] = {**old, **_journal(store)}
    missing = [name for name, digest in wanted.items() if known.get(name) != digest]
    known |= dict.fromkeys(missing)
    _note(store, known)
    with progress("Sending", len(missing)) as show:
        for name in missing:
            store.send(folder / name, name)
            known[name] = wanted[name]
            _note(store, known)
            show(1)
    store.write(MANIFEST, own)
    for name in [JOURNAL, *(name for name in old if name not in wanted)]:
        store.remove(name)
    return {"target": target, "files": files, "sent": len(missing) + 1}


def _note(store: Store, known: dict[str, str | None]) -> None:
    store.write(JOURNAL, json.dumps(known).encode())


def _journal(store: Store) -> dict[str, str | None]:
    """What an interrupted push has sent; None for files that may be there in part."""
    content = store.read(JOURNAL)
    try:
        value = json.loads(content) if content is not None else {}
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _hashes(manifest: bytes) -> dict[str, str]:
    """Names and hashes of a manifest.

    Raises:
        ArtifactError: it is none (`broken-manifest`).
    """
    try:
        return {str(name): str(entry["sha256"]) for name, entry in json.loads(manifest)["files"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(
            "broken-manifest", "the manifest has no list of files", at=Location(MANIFEST), fix="push the bundle again"
        ) from error


def pull(source: str, folder: Path, force: bool = False) -> dict[str, Any]:
    """Get a bundle from a store.

    Args:
        source: address of the bundle's folder there.
        folder: gets the bundle.
        force: replace what is there.

    Returns:
        ``bundle``, ``files``, and of those ``fetched``, the rest having been there from an interrupted pull.

    Raises:
        ArtifactError: there is no bundle (`no-bundle`), a file is missing, damaged or outside of the folder, or the
            store fails.
        UsageError: there is such a folder already (`folder-exists`).
        PlatformError: the store's driver is missing.
    """
    if folder.exists() and not force:
        raise UsageError(
            "folder-exists", "there is such a folder already", at=Location.of(folder), fix="replace it with --force"
        )
    store = open_store(source)
    manifest = store.read(MANIFEST)
    if manifest is None:
        raise ArtifactError("no-bundle", "there is no bundle, or it was not pushed to its end", at=Location(source))
    wanted = _hashes(manifest)
    unfinished = folder.absolute().with_name(f"{_UNFINISHED}{folder.absolute().name}")
    unfinished.mkdir(parents=True, exist_ok=True)
    fetched = 0
    with progress("Getting", len(wanted)) as show:
        for name, digest in wanted.items():
            path = contained(unfinished, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.is_file() or sha256_file(path) != digest:
                path.unlink(missing_ok=True)
                store.fetch(name, path, digest)
                fetched += 1
                if sha256_file(path) != digest:
                    path.unlink()
                    raise ArtifactError(
                        "damaged-file",
                        "the SHA-256 of {name} differs from the manifest",
                        at=Location(f"{source}/{name}"),
                        fix="try again, in case it is being replaced now; else push it again",
                        name=name,
                    )
            show(1)
    with atomic_folder(folder) as partial:
        for name in wanted:
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (unfinished / name).rename(target)
        (partial / MANIFEST).write_bytes(manifest)
        verify_manifest(partial)
    shutil.rmtree(unfinished)
    return {"bundle": str(folder), "files": len(wanted) + 1, "fetched": fetched + 1}
