"""Downloads that resume, are checked, and leave the whole file or none.

Settings, from the environment:

- `ZOO_HOME`: folder of the cache, `~/.cache/zoo` by default.
- `ZOO_OFFLINE`: any value but empty, `0`, `no`, `off` or `false`: never use the network.
- `ZOO_MIRROR`: stands in for the ``https://host`` of every address: another ``http(s)://host/path``, or a local folder
  (a path or ``file://``), which serves offline too.
- `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`: as everywhere.

A download in progress lives in `ZOO_HOME/downloads` under a name made from its address. The same folder remembers the
size and SHA-256 of every finished one, so that a file whose checksum nobody published is still checked from the second
time on.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from zoo_cli import __version__
from zoo_cli.base.errors import ArtifactError, Location, PlatformError, UsageError
from zoo_cli.base.files import atomic_file, read_json, sha256_file, write_json
from zoo_cli.base.locks import exclusive

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there and the bytes that there will be, if known."""

CHUNK = 1 << 18  # bytes read at once
SILENCE = 30.0  # seconds without a byte until a connection counts as broken
ATTEMPTS = 5  # connections in a row that bring nothing new
FIRST_PAUSE = 1.0  # seconds before the second attempt; doubles up to LONGEST_PAUSE
LONGEST_PAUSE = 30.0
_RETRY_STATUS = frozenset({408, 416, 425, 429, 500, 502, 503, 504})
_BY_HAND = "get {url} by other means and save it as {path}, or set ZOO_MIRROR to a folder or server that has it"


def cache_root() -> Path:
    """The folder of the cache.

    Raises:
        PlatformError: the user has no home folder, and `ZOO_HOME` is not set (`no-home`).
    """
    try:
        return Path(os.environ.get("ZOO_HOME") or "~/.cache/zoo").expanduser().absolute()
    except RuntimeError as error:
        fix = "set ZOO_HOME to a folder for what is downloaded"
        raise PlatformError("no-home", "this user has no home folder", fix=fix) from error


def downloads_folder() -> Path:
    """The folder of unfinished downloads and of what is remembered of finished ones."""
    return cache_root() / "downloads"


def is_offline() -> bool:
    """Whether `ZOO_OFFLINE` forbids the network."""
    return os.environ.get("ZOO_OFFLINE", "").strip().lower() not in ("", "0", "no", "off", "false")


class _Broken(Exception):
    """A connection that failed in a way that another attempt may cure."""

    def __init__(self, reason: object, pause: float = 0.0) -> None:
        super().__init__(str(reason) or type(reason).__name__)
        self.pause = pause


@dataclass
class _Record:
    """What is known of an address.

    Args:
        url: the published address.
        source: where the unfinished part came from.
        validator: ETag or modification time of that source, which tells whether it is still the same file.
        total: bytes of that source.
        size: bytes of the finished file.
        sha256: its hash.
    """

    url: str
    source: str | None = None
    validator: str | None = None
    total: int | None = None
    size: int | None = None
    sha256: str | None = None


class _Work:
    """The files that belong to one address in the downloads folder."""

    def __init__(self, url: str) -> None:
        key = hashlib.sha256(url.encode()).hexdigest()[:16]
        stem = f"{key}-{unquote(urlsplit(url).path).rsplit('/', 1)[-1]}"
        self.url = url
        self.part = downloads_folder() / f"{stem}.part"
        self.lock = downloads_folder() / f"{stem}.lock"
        self.record_file = downloads_folder() / f"{stem}.json"

    def load(self) -> _Record:
        if not self.record_file.is_file():
            return _Record(self.url)
        try:
            return _Record(**read_json(self.record_file))
        except TypeError as error:
            raise ArtifactError(
                "broken-record", "not a record of a download", at=Location.of(self.record_file), fix="delete the file"
            ) from error

    def save(self, record: _Record) -> None:
        write_json(self.record_file, asdict(record))

    def part_size(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0


def download(url: str, path: Path, *, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """Make `path` the file published at `url`, from where an earlier attempt stopped if there was one.

    A file that is there already is checked and kept. Processes that want the same address wait for one another.

    Args:
        url: ``http(s)`` address.
        path: where the file goes.
        sha256: published checksum in hexadecimal; without it, that of the first download of this address holds.
        progress: called as bytes come in.

    Returns:
        `path`.

    Raises:
        ArtifactError: the file cannot be had: `offline`, `download-missing` (the server has no such file),
            `download-refused`, `download-failed` (no connection, or it kept breaking), `checksum`, `disk-full`,
            `cannot-write`.
        UsageError: `ZOO_MIRROR` is neither a server nor a folder (`bad-mirror`).
    """
    path = Path(path)
    work = _Work(url)
    source = source_of(url)
    with _writing(path, url), exclusive(work.lock):
        record = work.load()
        expected = sha256 or record.sha256
        if path.is_file():
            found = sha256_file(path)
            if expected is None or found == expected:
                work.save(_Record(url, size=path.stat().st_size, sha256=found))
                return path
            if is_offline() and not isinstance(source, Path):
                raise _wrong_checksum(url, path, path, found, expected)
            logger.warning("%s is damaged and is downloaded again", path)
            path.unlink()
        if isinstance(source, Path):
            _copy(url, source, work, path, progress)
        elif is_offline():
            raise ArtifactError(
                "offline", "the file is not in the cache and ZOO_OFFLINE is set", at=Location.of(path), fix=_BY_HAND,
                url=url, path=path,
            )  # fmt: skip
        else:
            _transfer(source, work, record, path, progress)
        found = sha256_file(work.part)
        if expected is not None and found != expected:
            work.part.unlink()
            raise _wrong_checksum(url, path, source, found, expected, None if sha256 else work.record_file)
        finished = _Record(url, size=work.part_size(), sha256=found)
        with atomic_file(path) as partial:
            shutil.move(work.part, partial)  # a rename, unless `path` is on another disk
        work.save(finished)
    return path


def discard_unfinished(part: Path) -> None:
    """Remove an unfinished download, a ``.part`` file of the downloads folder.

    Raises:
        BlockingIOError: a process is at work on it.
    """
    with exclusive(part.with_suffix(".lock"), wait=False):
        part.unlink(missing_ok=True)


def source_of(url: str) -> str | Path:
    """The address itself, that address on the mirror, or a file below the mirror folder."""
    mirror = os.environ.get("ZOO_MIRROR", "").strip()
    if not mirror:
        return url
    path = urlsplit(url).path.lstrip("/")
    scheme, separator, rest = mirror.partition("://")
    if scheme in ("http", "https"):
        return f"{mirror.rstrip('/')}/{path}"
    if separator and scheme != "file":
        raise UsageError(
            "bad-mirror",
            "ZOO_MIRROR is {mirror!r}, which is neither a server nor a folder",
            fix="use an http:// or https:// address, a file:// address or the path of a folder",
            mirror=mirror,
        )
    folder = Path(unquote(rest)) if separator else Path(mirror).expanduser()
    return folder / unquote(path)


@contextmanager
def _writing(path: Path, url: str) -> Iterator[None]:
    """Say what to do when the disk is full or may not be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _disk_full(path, url, None) from error
        raise ArtifactError(
            "cannot-write",
            "the file cannot be read or written: {reason}",
            at=Location.of(error.filename or path),
            fix="set ZOO_HOME to a folder of your own",
            reason=error.strerror or error,
        ) from error


def _disk_full(path: Path, url: str, missing: int | None) -> ArtifactError:
    return ArtifactError(
        "disk-full",
        "the disk is full: {missing} more bytes are needed" if missing else "the disk is full",
        at=Location.of(path),
        fix="free space (zoo cache prune) or set ZOO_HOME to another disk, and start again: the download resumes",
        missing=missing,
        url=url,
    )


def _wrong_checksum(
    url: str, path: Path, source: str | Path, found: str, expected: str, remembered_in: Path | None = None
) -> ArtifactError:
    if remembered_in is None:
        message = "{source} has the SHA-256 {found}, but {expected} was published: the file is not used"
        fix = _BY_HAND
    else:
        message = "{source} has the SHA-256 {found}, but had {expected} when it was first downloaded: it is not used"
        fix = "if the publisher replaced it, delete {remembered_in} and start again; else " + _BY_HAND
    return ArtifactError(
        "checksum", message, at=Location.of(path), fix=fix,
        source=source, found=found, expected=expected, remembered_in=remembered_in, url=url, path=path,
    )  # fmt: skip


def _copy(url: str, source: Path, work: _Work, path: Path, progress: Progress | None) -> None:
    """Take the file from a mirror folder."""
    if not source.is_file():
        raise ArtifactError(
            "download-missing", "the mirror folder has no file {source}", at=Location.of(path), fix=_BY_HAND,
            source=source, url=url, path=path,
        )  # fmt: skip
    total = source.stat().st_size
    _check_space(total, path, work)
    shutil.copyfile(source, work.part)
    if progress:
        progress(total, total)


def _check_space(missing: int, path: Path, work: _Work) -> None:
    if shutil.disk_usage(work.part.parent).free < missing:
        raise _disk_full(path, work.url, missing)


def _transfer(source: str, work: _Work, record: _Record, path: Path, progress: Progress | None) -> None:
    """Fill the part file over as many connections as it takes, while each brings something new."""
    if record.source != source or record.validator is None:
        work.part.unlink(missing_ok=True)
    most, idle = work.part_size(), 0
    while True:
        try:
            _receive(source, work, record, path, progress)
            return
        except _Broken as broken:
            idle = 0 if work.part_size() > most else idle + 1
            most = max(most, work.part_size())
            if idle == ATTEMPTS:
                raise ArtifactError(
                    "download-failed",
                    "{source} cannot be downloaded: {reason}; {have} bytes are kept",
                    at=Location.of(path),
                    fix="start again to resume, check the network and HTTPS_PROXY, or " + _BY_HAND,
                    source=source,
                    reason=str(broken),
                    have=work.part_size(),
                    url=work.url,
                    path=path,
                ) from broken
            pause = max(broken.pause, min(FIRST_PAUSE * 2**idle, LONGEST_PAUSE))
            logger.info("%s: %s; next attempt in %.0f s", source, broken, pause)
            time.sleep(pause)


def _receive(source: str, work: _Work, record: _Record, path: Path, progress: Progress | None) -> None:
    """One connection: append to the part file what it lacks, or write it anew if the server's file is another now."""
    have = work.part_size() if record.validator else 0
    if have and have == record.total:
        return
    headers = {"User-Agent": f"zoo-cli/{__version__}", "Accept-Encoding": "identity"}
    if have and record.validator:
        headers.update({"Range": f"bytes={have}-", "If-Range": record.validator})
    with _open(source, headers, work, path) as response:
        start, total = _extent(response)
        if start and (start != have or total != record.total):
            work.part.unlink()
            raise _Broken("the server resumed at another place or with another file")
        if not start:
            have = 0
            record.source, record.total, record.validator = source, total, _validator(response)
            work.part.unlink(missing_ok=True)
            work.save(record)
        if total is not None:
            _check_space(total - have, path, work)
        with work.part.open("ab") as part:
            while chunk := _read(response):
                part.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, total)
            part.flush()
            os.fsync(part.fileno())
    if total is not None and have > total:
        work.part.unlink()
    if total is not None and have != total:
        raise _Broken(f"the connection ended after {have} of {total} bytes")


def _open(source: str, headers: dict[str, str], work: _Work, path: Path) -> Any:
    """The server's answer, if it is a file."""
    at = Location.of(path)
    values = {"source": source, "url": work.url, "path": path}
    try:
        response = urllib.request.urlopen(urllib.request.Request(source, headers=headers), timeout=SILENCE)
    except urllib.error.HTTPError as error:
        status, wait = error.code, error.headers.get("Retry-After", "")
        error.close()
        if status in (404, 410):
            raise ArtifactError(
                "download-missing", "the server has no file {source}", at=at, fix=_BY_HAND, **values
            ) from error
        if status not in _RETRY_STATUS:
            raise ArtifactError(
                "download-refused", "the server refuses {source}: {status} {reason}", at=at, fix=_BY_HAND,
                status=status, reason=error.reason, **values,
            ) from error  # fmt: skip
        if status == 416:  # the server's file is shorter than the part
            work.part.unlink(missing_ok=True)
        pause = min(float(wait), 2 * LONGEST_PAUSE) if wait.isdigit() else 0.0
        raise _Broken(f"the server answers {status} {error.reason}", pause) from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ArtifactError(
                "download-refused", "the certificate of {source} is not trusted: {reason}", at=at,
                fix="set SSL_CERT_FILE to the certificates of your network, or " + _BY_HAND,
                reason=reason.verify_message, **values,
            ) from error  # fmt: skip
        raise _Broken(reason) from error
    kind = response.headers.get_content_type()
    if kind == "text/html" or response.headers.get("Content-Encoding", "identity") != "identity":
        response.close()
        raise ArtifactError(
            "download-refused", "{source} answers with a web page or compressed, as login pages and some proxies do",
            at=at, fix=_BY_HAND, **values,
        )  # fmt: skip
    return response


def _read(response: Any) -> bytes:
    try:
        data: bytes = response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(error) from error
    return data


def _extent(response: Any) -> tuple[int, int | None]:
    """First byte of the answer and bytes of the whole file."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if not match:
            raise _Broken("the server sent a range without saying which")
        return int(match[1]), int(match[2])
    length = response.headers.get("Content-Length")
    return 0, int(length) if length and length.isdigit() else None


def _validator(response: Any) -> str | None:
    """What `If-Range` may hold: a strong ETag, else the modification time."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
