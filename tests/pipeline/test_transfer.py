"""`zoo push` and `zoo pull`: folders, a web server, S3."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zoo_cli.base.errors import ArtifactError, PlatformError, UsageError, ZooError
from zoo_cli.base.files import MANIFEST, verify_manifest, write_manifest
from zoo_cli.pipeline import stores
from zoo_cli.pipeline.transfer import JOURNAL, pull, push


def bundle(folder: Path, **contents: bytes) -> Path:
    folder.mkdir()
    (folder / "onnx" / "fp32").mkdir(parents=True)
    for name, content in {"a": b"1" * 3000, "b": b"2", "c": b"", **contents}.items():
        (folder / name).write_bytes(content)
    (folder / "onnx" / "fp32" / "模型 x.onnx").write_bytes(bytes(range(256)) * 4000)
    write_manifest(folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def web_server(files: dict[str, bytes], log: list[str]) -> Iterator[str]:
    """A server that takes GET (with ranges), PUT and DELETE."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            log.append(f"GET {self.path}")
            body = files.get(self.path)
            if body is None:
                self.answer(404)
            else:
                self.answer(200, body, ETag=f'"{hash(body)}"', Content_Type="application/octet-stream")

        def do_PUT(self) -> None:
            log.append(f"PUT {self.path}")
            if self.path.endswith(".locked"):
                self.answer(403)
                return
            files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(201)

        def do_DELETE(self) -> None:
            log.append(f"DELETE {self.path}")
            self.answer(204 if files.pop(self.path, None) is not None else 404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    values = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**values, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem().mkdir("models")
        yield "s3://models"
    server.stop()


@pytest.fixture(params=["folder", "file", "http", "memory", "s3"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    if request.param == "s3":
        yield f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    elif request.param == "memory":
        pytest.importorskip("fsspec")
        yield f"memory://{tmp_path.name}/msra"
    elif request.param == "http":
        with web_server({}, []) as base:
            yield f"{base}/models/msra"
    else:
        yield f"{'file://' if request.param == 'file' else ''}{tmp_path / 'store' / 'msra'}"


def test_round_trip(address: str, tmp_path: Path) -> None:
    source = bundle(tmp_path / "bundle")
    assert push(source, address) == {"target": address, "files": 5, "sent": 5}
    assert push(source, address)["sent"] == 0
    pull(address, tmp_path / "copy")
    assert content(tmp_path / "copy") == content(source)
    verify_manifest(tmp_path / "copy")
    assert not list(tmp_path.glob(".*"))


def test_another_bundle_is_replaced_on_request_only(address: str, tmp_path: Path) -> None:
    push(bundle(tmp_path / "one", d=b"old"), address)
    pull(address, tmp_path / "copy")
    two = bundle(tmp_path / "two", b=b"3", e=b"new")
    with pytest.raises(UsageError) as caught:
        push(two, address)
    assert caught.value.code == "target-exists"
    assert push(two, address, force=True)["sent"] == 3  # b, e and the manifest
    with pytest.raises(UsageError) as caught:
        pull(address, tmp_path / "copy")
    assert caught.value.code == "folder-exists"
    pull(address, tmp_path / "copy", force=True)
    assert content(tmp_path / "copy") == content(two)


class Cut(Exception):
    pass


def test_interrupted_transfers_go_on(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = bundle(tmp_path / "bundle")
    sent: list[str] = []
    for kind in (stores.FolderStore, stores.HttpStore, stores.DriverStore):
        whole = kind.send

        def send(self: Any, path: Path, name: str, whole: Any = whole) -> None:
            if len(sent) == 2:
                sent.append("cut")
                raise Cut
            whole(self, path, name)
            sent.append(name)

        monkeypatch.setattr(kind, "send", send)
    with pytest.raises(Cut):
        push(source, address)
    with pytest.raises(ArtifactError) as caught:
        pull(address, tmp_path / "early")
    assert caught.value.code == "no-bundle" and not (tmp_path / "early").exists()
    push(source, address)
    names = [name for name in sent if name != "cut"]
    assert sorted(names) == sorted(verify_manifest(source)["files"])  # each once

    fetched: list[str] = []
    for kind in (stores.FolderStore, stores.HttpStore, stores.DriverStore):
        get = kind.fetch

        def fetch(self: Any, name: str, path: Path, sha256: str, get: Any = get) -> None:
            if len(fetched) == 2:
                fetched.append("cut")
                raise Cut
            get(self, name, path, sha256)
            fetched.append(name)

        monkeypatch.setattr(kind, "fetch", fetch)
    with pytest.raises(Cut):
        pull(address, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert pull(address, tmp_path / "copy")["fetched"] == 3
    assert len(fetched) == 5 and content(tmp_path / "copy") == content(source)


def test_a_damaged_store_is_noticed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    push(bundle(tmp_path / "bundle"), str(store))
    assert not (store / JOURNAL).exists()
    (store / "a").write_bytes(b"1" * 2999 + b"2")
    with pytest.raises(ArtifactError) as caught:
        pull(str(store), tmp_path / "copy")
    assert caught.value.code == "damaged-file" and "a" in str(caught.value)
    assert not (tmp_path / "copy").exists()
    (store / "a").unlink()
    with pytest.raises(ArtifactError) as caught:
        pull(str(store), tmp_path / "copy")
    assert caught.value.code == "missing-file"
    (store / MANIFEST).write_text((store / MANIFEST).read_text().replace('"a"', '"../a"'))
    with pytest.raises(ArtifactError) as caught:
        pull(str(store), tmp_path / "copy")
    assert caught.value.code == "path-escape" and not (tmp_path / "copy").exists()
    (store / MANIFEST).write_text("[]")
    with pytest.raises(ArtifactError) as caught:
        pull(str(store), tmp_path / "copy")
    assert caught.value.code == "broken-manifest"


def test_a_partly_fetched_file_is_gone_on_with(s3: str, tmp_path: Path) -> None:
    source = bundle(tmp_path / "bundle")
    push(source, f"{s3}/parts")
    digest = verify_manifest(source)["files"]["a"]["sha256"]
    folder = tmp_path / ".pulling-copy"
    folder.mkdir()
    (folder / f"a.{digest[:16]}.part").write_bytes(b"1" * 1000)
    assert pull(f"{s3}/parts", tmp_path / "copy")["fetched"] == 5
    assert content(tmp_path / "copy") == content(source)


def test_what_is_wrong_with_a_store_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = bundle(tmp_path / "bundle", **{"x.locked": b"1"})
    with web_server({}, []) as base, pytest.raises(ArtifactError) as refused:
        push(source, base)
    assert refused.value.code == "store-failed" and "403" in str(refused.value) and "x.locked" in str(refused.value)
    with pytest.raises(ArtifactError) as silent:
        push(source, "http://127.0.0.1:9/x")
    assert silent.value.code == "store-failed"
    with pytest.raises(PlatformError) as unknown:
        push(source, "nothing://x/y")
    assert unknown.value.code == "no-driver"
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    with pytest.raises(ArtifactError) as offline:
        pull("http://127.0.0.1:9/x", tmp_path / "copy")
    assert offline.value.code == "offline"
    (source / "a").write_bytes(b"")
    with pytest.raises(ZooError) as damaged:
        push(source, str(tmp_path / "store"))
    assert damaged.value.exit_code == 4 and not (tmp_path / "store").exists()
