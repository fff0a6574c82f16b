"""Downloads against a server that drops, corrupts, stalls, refuses and lies."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.base.file_server import FileServer, serving
from zoo_cli.base import download as module
from zoo_cli.base.download import cache_root, download, downloads_folder
from zoo_cli.base.errors import ArtifactError, UsageError

CONTENT = random.Random(0).randbytes(600_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PATH = "/models/a.bin"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ZOO_OFFLINE", "ZOO_MIRROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "FIRST_PAUSE", 0.0)
    return tmp_path / "home"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(files={PATH: CONTENT}) as server:
        yield server


def parts() -> list[Path]:
    return list(downloads_folder().glob("*.part"))


def failure(server: FileServer, path: Path, **options: str) -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        download(server.url(PATH), path, **options)
    assert caught.value.exit_code == 4
    return caught.value


def test_writes_the_whole_file_once(server: FileServer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.bin"
    assert download(server.url(PATH), target, sha256=SHA256) == target
    assert target.read_bytes() == CONTENT
    assert list(target.parent.iterdir()) == [target]
    download(server.url(PATH), target, sha256=SHA256)
    assert len(server.requests) == 1
    assert [path.suffix for path in downloads_folder().iterdir()] == [".json"]


def test_resumes_within_one_call_and_fetches_no_byte_twice(server: FileServer, tmp_path: Path) -> None:
    server.drops = [250_000, 100_000]
    seen: list[tuple[int, int | None]] = []
    download(server.url(PATH), tmp_path / "a", sha256=SHA256, progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked_ranges == [None, "bytes=250000-", "bytes=350000-"]
    assert server.sent == len(CONTENT)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert {total for _, total in seen} == {len(CONTENT)}


def test_resumes_in_a_later_call(server: FileServer, tmp_path: Path) -> None:
    server.drops = [200_000] + [0] * module.ATTEMPTS
    error = failure(server, tmp_path / "a")
    assert error.code == "download-failed"
    assert "200000 bytes are kept" in str(error)
    assert not (tmp_path / "a").exists()
    seen: list[int] = []
    download(server.url(PATH), tmp_path / "a", progress=lambda done, _: seen.append(done))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked_ranges[-1] == "bytes=200000-"
    assert server.sent == len(CONTENT)
    assert min(seen) > 200_000


def test_gives_up_only_after_connections_that_bring_nothing(server: FileServer, tmp_path: Path) -> None:
    server.drops = [1000] * (3 * module.ATTEMPTS)
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == 3 * module.ATTEMPTS + 1


def test_starts_again_where_the_server_knows_no_ranges(server: FileServer, tmp_path: Path) -> None:
    server.ranges, server.drops = False, [250_000]
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + 250_000


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_asks_for_no_range_without_a_strong_validator(server: FileServer, tmp_path: Path, etag: str | None) -> None:
    server.etag, server.drops = etag, [250_000]
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked_ranges == [None, None]


def test_modification_time_serves_as_validator(server: FileServer, tmp_path: Path) -> None:
    server.etag, server.modified, server.drops = 'W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT", [250_000]
    download(server.url(PATH), tmp_path / "a")
    assert server.requests[1][1]["if-range"] == server.modified
    assert server.sent == len(CONTENT)


@pytest.mark.parametrize("size", [100_000, 250_000, 700_000])
def test_a_file_that_changed_meanwhile_is_taken_whole(server: FileServer, tmp_path: Path, size: int) -> None:
    server.drops = [250_000] + [0] * module.ATTEMPTS
    failure(server, tmp_path / "a")
    changed = random.Random(1).randbytes(size)
    server.files[PATH], server.etag = changed, '"two"'
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == changed


def test_a_file_that_shrank_under_the_same_validator_is_taken_whole(server: FileServer, tmp_path: Path) -> None:
    server.drops = [250_000] + [0] * module.ATTEMPTS
    failure(server, tmp_path / "a")
    server.files[PATH] = CONTENT[:100_000]  # the range is beyond its end: status 416
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT[:100_000]


@settings(max_examples=25, deadline=None)
@given(
    drops=st.lists(st.integers(0, 5000) | st.none(), max_size=6),
    ranges=st.booleans(),
    etag=st.sampled_from(['"one"', 'W/"x"', None]),
    size=st.integers(0, 4000),
)
def test_whatever_drops_the_content_is_right_or_absent(
    drops: list[int | None], ranges: bool, etag: str | None, size: int
) -> None:
    content = CONTENT[:size]
    with tempfile.TemporaryDirectory() as folder, serving(files={PATH: content}) as server:
        os.environ["ZOO_HOME"] = f"{folder}/home"  # the fixture restores it
        server.drops, server.ranges, server.etag = list(drops), ranges, etag
        target = Path(folder) / "a"
        try:
            download(server.url(PATH), target)
        except ArtifactError as error:
            assert error.code == "download-failed"
            assert not target.exists()
        else:
            assert target.read_bytes() == content


def test_wrong_checksum_is_refused_and_removed(server: FileServer, tmp_path: Path) -> None:
    server.files[PATH] = b"\0" + CONTENT[1:]
    error = failure(server, tmp_path / "a", sha256=SHA256)
    assert error.code == "checksum"
    assert SHA256 in str(error)
    assert hashlib.sha256(server.files[PATH]).hexdigest() in str(error)
    assert server.url(PATH) in str(error.fix)
    assert str(tmp_path / "a") in str(error.fix)
    assert not (tmp_path / "a").exists()
    assert not parts()
    server.files[PATH] = CONTENT
    assert download(server.url(PATH), tmp_path / "a", sha256=SHA256).read_bytes() == CONTENT


def test_without_a_published_checksum_the_first_download_sets_it(server: FileServer, tmp_path: Path) -> None:
    download(server.url(PATH), tmp_path / "a")
    server.files[PATH], server.etag = CONTENT[::-1], '"two"'
    error = failure(server, tmp_path / "b")
    assert error.code == "checksum"
    assert "first downloaded" in error.message
    record = Path(error.values["remembered_in"])
    assert str(record) in str(error.fix)
    record.unlink()  # what the message says
    assert download(server.url(PATH), tmp_path / "b").read_bytes() == CONTENT[::-1]


def test_a_published_checksum_outranks_the_remembered_one(server: FileServer, tmp_path: Path) -> None:
    download(server.url(PATH), tmp_path / "a")
    changed = CONTENT[::-1]
    server.files[PATH], server.etag = changed, '"two"'
    download(server.url(PATH), tmp_path / "b", sha256=hashlib.sha256(changed).hexdigest())
    assert (tmp_path / "b").read_bytes() == changed


def test_a_damaged_file_is_downloaded_again(server: FileServer, tmp_path: Path) -> None:
    download(server.url(PATH), tmp_path / "a")
    (tmp_path / "a").write_bytes(CONTENT[:-1])
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_damaged_file_is_an_error_offline(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"something else")
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    assert failure(server, tmp_path / "a", sha256=SHA256).code == "checksum"
    assert (tmp_path / "a").read_bytes() == b"something else"


def test_a_file_put_there_by_hand_is_taken(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    (tmp_path / "a").write_bytes(CONTENT)
    download(server.url(PATH), tmp_path / "a", sha256=SHA256)
    download(server.url(PATH), tmp_path / "a")
    assert not server.requests


@pytest.mark.parametrize(
    ("status", "code"), [(404, "download-missing"), (410, "download-missing"), (403, "download-refused")]
)
def test_final_statuses_are_not_tried_again(server: FileServer, tmp_path: Path, status: int, code: str) -> None:
    server.statuses = [status]
    error = failure(server, tmp_path / "a")
    assert error.code == code
    assert server.url(PATH) in str(error)
    assert len(server.requests) == 1


def test_passing_statuses_are_tried_again(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    server.statuses, server.headers = [503, 429, 500], {"Retry-After": "7"}
    download(server.url(PATH), tmp_path / "a")
    assert [pause for pause in pauses if pause] == [7.0, 7.0, 7.0]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_pauses_grow(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(module, "FIRST_PAUSE", 1.0)
    server.statuses = [503] * module.ATTEMPTS
    error = failure(server, tmp_path / "a")
    assert "503" in error.message
    assert len(server.requests) == module.ATTEMPTS
    assert pauses == sorted(set(pauses))


def test_a_length_that_is_never_reached_is_an_error(server: FileServer, tmp_path: Path) -> None:
    server.extra_length = 10
    error = failure(server, tmp_path / "a")
    assert error.code == "download-failed"
    assert not (tmp_path / "a").exists()


def test_silence_breaks_the_connection_and_the_download_resumes(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 1.5)  # so long that a busy machine is not silent by itself
    server.stalls = [4.0]
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked_ranges == [None, f"bytes={server.chunk}-"]


def test_no_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ArtifactError) as caught:
        download(f"http://127.0.0.1:{port}/a.bin", tmp_path / "a")
    assert caught.value.code == "download-failed"
    assert "refused" in caught.value.message
    assert str(tmp_path / "a") in str(caught.value.fix)


@pytest.mark.parametrize("headers", [{"Content-Type": "text/html; charset=utf-8"}, {"Content-Encoding": "gzip"}])
def test_a_login_page_is_not_taken_for_the_file(server: FileServer, tmp_path: Path, headers: dict[str, str]) -> None:
    server.headers = headers
    assert failure(server, tmp_path / "a").code == "download-refused"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_offline_asks_nobody(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", value)
    error = failure(server, tmp_path / "a")
    assert error.code == "offline"
    assert server.url(PATH) in str(error.fix)
    assert str(tmp_path / "a") in str(error.fix)
    assert not server.requests


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_offline_switched_off(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ZOO_OFFLINE", value)
    assert download(server.url(PATH), tmp_path / "a").read_bytes() == CONTENT


def test_mirror_server_takes_the_place_of_the_host(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/mirror/zoo" + PATH] = CONTENT
    monkeypatch.setenv("ZOO_MIRROR", server.url("/mirror/zoo/"))
    download("https://files.invalid" + PATH, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/mirror/zoo" + PATH]


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_mirror_folder_serves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    folder = tmp_path / "my mirror"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a b.bin").write_bytes(CONTENT)
    monkeypatch.setenv("ZOO_MIRROR", form.format(folder))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    seen: list[tuple[int, int | None]] = []
    download("https://files.invalid/models/a%20b.bin", tmp_path / "a", progress=lambda *now: seen.append(now))
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert seen == [(len(CONTENT), len(CONTENT))]
    with pytest.raises(ArtifactError) as caught:
        download("https://files.invalid/models/other.bin", tmp_path / "b")
    assert caught.value.code == "download-missing"
    assert str(folder / "models" / "other.bin") in str(caught.value)


def test_mirror_is_held_to_the_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mirror" / "models").mkdir(parents=True)
    (tmp_path / "mirror" / "models" / "a.bin").write_bytes(CONTENT[:-1])
    monkeypatch.setenv("ZOO_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(ArtifactError) as caught:
        download("https://files.invalid" + PATH, tmp_path / "a", sha256=SHA256)
    assert caught.value.code == "checksum"
    assert not (tmp_path / "a").exists()


def test_a_part_from_elsewhere_is_not_continued(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.drops = [250_000] + [0] * module.ATTEMPTS
    failure(server, tmp_path / "a")
    with serving(files={PATH: CONTENT[::-1]}) as mirror:  # with the same ETag
        monkeypatch.setenv("ZOO_MIRROR", mirror.base)
        download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT[::-1]


def test_mirror_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_MIRROR", "ftp://example.invalid")
    with pytest.raises(UsageError, match="ftp"):
        download("https://files.invalid/a", tmp_path / "a")


def test_a_full_disk_is_seen_before_the_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": len(CONTENT) - 1}))
    error = failure(server, tmp_path / "a")
    assert error.code == "disk-full"
    assert str(len(CONTENT)) in error.message


def test_a_disk_that_fills_up_keeps_the_part(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def full(handle: int) -> None:
        if any(os.path.samestat(os.fstat(handle), part.stat()) for part in parts()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        assert failure(server, tmp_path / "a").code == "disk-full"
    assert not (tmp_path / "a").exists()
    sent = server.sent
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.sent == sent


def test_a_cache_that_cannot_be_written(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    error = failure(server, tmp_path / "a")
    assert error.code == "cannot-write"
    assert "ZOO_HOME" in str(error.fix)


def test_a_record_that_is_none(server: FileServer, tmp_path: Path) -> None:
    download(server.url(PATH), tmp_path / "a")
    (record,) = downloads_folder().glob("*.json")
    record.write_text('{"nonsense": 1}')
    error = failure(server, tmp_path / "a")
    assert error.code == "broken-record"
    assert str(record) in str(error)


def test_cache_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache_root() == Path("/somewhere/.cache/zoo")
    monkeypatch.setenv("ZOO_HOME", "~/elsewhere")
    assert cache_root() == Path("/somewhere/elsewhere")


DOWNLOAD = """
import sys
from pathlib import Path
from zoo_cli.base.download import download
download(sys.argv[1], Path(sys.argv[2]))
"""


def start(url: str, path: Path, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", DOWNLOAD, url, str(path)], env={**os.environ, **environment})


def test_resumes_after_kill_9(server: FileServer, tmp_path: Path) -> None:
    server.chunk, server.delay = 20_000, 0.05
    process = start(server.url(PATH), tmp_path / "a")
    while not parts() or parts()[0].stat().st_size < 100_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a").exists()
    server.delay = 0.0
    kept = parts()[0].stat().st_size
    download(server.url(PATH), tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked_ranges == [None, f"bytes={kept}-"]


def test_two_processes_fetch_once(server: FileServer, tmp_path: Path) -> None:
    server.chunk, server.delay = 100_000, 0.1
    processes = [start(server.url(PATH), tmp_path / "a") for _ in range(2)]
    assert [process.wait(300) for process in processes] == [0, 0]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_goes_through_the_proxy_of_the_environment(server: FileServer, tmp_path: Path) -> None:
    url = "http://files.invalid" + PATH
    proxy = {"HTTP_PROXY": server.base, "http_proxy": server.base, "NO_PROXY": "", "no_proxy": ""}
    assert start(url, tmp_path / "a", **proxy).wait(300) == 0
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == [url]
