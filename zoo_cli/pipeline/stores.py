"""Places where bundles are kept: a folder, a web server that takes PUT, or what fsspec has a driver for, such as S3."""

from __future__ import annotations

import http.client
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from zoo_cli.base.download import CHUNK, SILENCE, download, is_offline
from zoo_cli.base.errors import ArtifactError, Location, PlatformError
from zoo_cli.base.files import atomic_file, contained

_DRIVERS = {"s3": "pip install 'zoo-cli[s3]'"}


class Store(Protocol):
    """Files below one address, by names with ``/``."""

    def read(self, name: str) -> bytes | None:
        """Content of a small file, or None where there is none."""

    def fetch(self, name: str, path: Path, sha256: str) -> None:
        """Get a file. Where the store allows, what an earlier call left is gone on with."""

    def send(self, path: Path, name: str) -> None:
        """Write a file, in one piece."""

    def write(self, name: str, content: bytes) -> None:
        """Write a small file."""

    def remove(self, name: str) -> None:
        """Remove a file, if the store can."""


def open_store(address: str) -> Store:
    """The store at an address: a path, ``file://``, ``http(s)://`` or any scheme of fsspec.

    Raises:
        PlatformError: the driver for the scheme is missing (`no-driver`).
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return FolderStore(Path(address).expanduser())
    if scheme == "file":
        return FolderStore(Path(urllib.parse.unquote(rest)))
    if is_offline():
        raise ArtifactError("offline", "{address} needs the network, and ZOO_OFFLINE is set", address=address)
    if scheme in ("http", "https"):
        return HttpStore(address.rstrip("/"))
    return DriverStore(address.rstrip("/"), scheme)


class FolderStore:
    """A folder of this machine or of a network drive."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, name: str) -> bytes | None:
        path = contained(self.root, name)
        return path.read_bytes() if path.is_file() else None

    def fetch(self, name: str, path: Path, sha256: str) -> None:
        source = contained(self.root, name)
        if not source.is_file():
            raise ArtifactError("missing-file", "a file of the manifest is missing", at=Location.of(source))
        with atomic_file(path) as partial:
            shutil.copyfile(source, partial)

    def send(self, path: Path, name: str) -> None:
        with atomic_file(contained(self.root, name)) as partial:
            shutil.copyfile(path, partial)

    def write(self, name: str, content: bytes) -> None:
        with atomic_file(contained(self.root, name)) as partial:
            partial.write_bytes(content)

    def remove(self, name: str) -> None:
        contained(self.root, name).unlink(missing_ok=True)


class HttpStore:
    """A web server: GET (with ranges, to go on), PUT, and DELETE if it can."""

    def __init__(self, base: str) -> None:
        self.base = base

    def _url(self, name: str) -> str:
        return f"{self.base}/{urllib.parse.quote(name)}"

    def _ask(self, method: str, name: str, body: Any = None, size: int = 0) -> bytes:
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"} if body is not None else {}
        request = urllib.request.Request(self._url(name), data=body, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=SILENCE) as response:
                content: bytes = response.read()
                return content
        except urllib.error.HTTPError as error:
            error.close()
            raise _failed(self._url(name), f"{method} is answered {error.code} {error.reason}", error.code) from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise _failed(self._url(name), reason) from error

    def read(self, name: str) -> bytes | None:
        try:
            return self._ask("GET", name)
        except ArtifactError as error:
            if error.values.get("status") in (404, 410):
                return None
            raise

    def fetch(self, name: str, path: Path, sha256: str) -> None:
        download(self._url(name), path, sha256=sha256)

    def send(self, path: Path, name: str) -> None:
        with path.open("rb") as body:
            self._ask("PUT", name, body, path.stat().st_size)

    def write(self, name: str, content: bytes) -> None:
        self._ask("PUT", name, content, len(content))

    def remove(self, name: str) -> None:
        try:
            self._ask("DELETE", name)
        except ArtifactError as error:
            # A file more does no harm, and many servers take no DELETE.
            if error.values.get("status") not in (403, 404, 405, 410, 501):
                raise


class DriverStore:
    """A store that fsspec has a driver for, e.g. ``s3://bucket/models/msra``.

    Credentials and endpoints are the driver's own business: of S3 the usual ``AWS_...`` variables.
    """

    def __init__(self, address: str, scheme: str) -> None:
        try:
            import fsspec

            self._files, root = fsspec.core.url_to_fs(address)
        except ImportError as error:
            fix = _DRIVERS.get(scheme, "install fsspec and its driver for {scheme}")
            raise PlatformError(
                "no-driver", "{reason}", fix=fix, reason=str(error).rstrip("."), scheme=scheme
            ) from error
        except ValueError as error:
            raise PlatformError(
                "no-driver",
                "there is no store of the kind {scheme}://",
                fix="name a folder, http(s)://, or s3://BUCKET/PREFIX",
                scheme=scheme,
            ) from error
        self._address, self._root = address, str(root).rstrip("/")

    @contextmanager
    def _asking(self, name: str) -> Iterator[str]:
        try:
            yield f"{self._root}/{name}"
        except (ArtifactError, FileNotFoundError):
            raise
        except Exception as error:  # each driver has errors of its own
            raise _failed(f"{self._address}/{name}", str(error) or type(error).__name__) from error

    def read(self, name: str) -> bytes | None:
        try:
            with self._asking(name) as place:
                # A listing that is remembered would hide what was written since.
                self._files.invalidate_cache()
                content: bytes = self._files.cat_file(place)
                return content
        except FileNotFoundError:
            return None

    def fetch(self, name: str, path: Path, sha256: str) -> None:
        part = path.with_name(f"{path.name}.{sha256[:16]}.part")
        try:
            with self._asking(name) as place, self._files.open(place, "rb") as source, part.open("ab") as target:
                source.seek(target.tell())
                shutil.copyfileobj(source, target, CHUNK)
        except FileNotFoundError as error:
            raise ArtifactError(
                "missing-file", "a file of the manifest is missing", at=Location(f"{self._address}/{name}")
            ) from error
        part.replace(path)

    def send(self, path: Path, name: str) -> None:
        with self._asking(name) as place:
            self._files.put_file(str(path), place)

    def write(self, name: str, content: bytes) -> None:
        with self._asking(name) as place:
            self._files.pipe_file(place, content)

    def remove(self, name: str) -> None:
        try:
            with self._asking(name) as place:
                self._files.rm_file(place)
        except FileNotFoundError:
            return


def _failed(address: str, reason: object, status: int | None = None) -> ArtifactError:
    return ArtifactError(
        "store-failed",
        "the store does not do what it should: {reason}",
        at=Location(address),
        fix="the same command goes on where it was",
        reason=str(reason),
        status=status,
    )
