"""Who can reach the server, over what, and for how long a connection may keep it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import Live, serving
from zoo_cli.base.errors import UsageError
from zoo_cli.recipe.schema import ServeSection
from zoo_cli.serve.server import bind, serve

PATH = "/v1/sequence_classification"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(files[0]), "-keyout", str(files[1])]
    subprocess.run(command, check=True, capture_output=True)
    return files


@pytest.fixture(scope="module")
def secure(
    bundles: dict[str, Path], certificate: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    """A server over TLS."""
    folder = tmp_path_factory.mktemp("secure")
    settings = [f"serve.tls_certificate={certificate[0]}", f"serve.tls_key={certificate[1]}"]
    with serving(folder, str(bundles["single"]), *settings, ready=False) as live:
        live.client = httpx.Client(
            base_url=live.url, timeout=30, verify=ssl.create_default_context(cafile=certificate[0])
        )
        live.wait_ready()
        yield live


def test_tls(secure: Live) -> None:
    assert secure.url.startswith("https://")
    assert secure.post(PATH, {"text": WORDS}).status_code == 200
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE"):
        httpx.get(f"{secure.url}/livez")
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{secure.port}/livez")
    assert secure.client.get("/livez").status_code == 200


@pytest.mark.parametrize("wrong", ["no key", "no certificate", "another key", "no file"])
def test_files_that_are_no_certificate(
    bundles: dict[str, Path], certificate: tuple[Path, Path], wrong: str, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("nothing")
    values: dict[str, str | None] = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    changes: dict[str, dict[str, str | None]] = {
        "no key": {"tls_key": None},
        "no certificate": {"tls_certificate": None},
        "another key": {"tls_key": str(tmp_path / "other")},
        "no file": {"tls_key": str(tmp_path / "missing")},
    }
    models = {"m": {"bundle": str(bundles["single"])}}
    settings = ServeSection.model_validate({"port": 0, "models": models, **values, **changes[wrong]})
    with contextlib.closing(bind(settings)) as listening, pytest.raises(UsageError) as raised:
        serve(settings, listening)
    assert raised.value.code in ("bad-certificate", "unreadable-file")


def test_a_client_that_does_not_read_loses_its_connection(bundles: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path, str(bundles["single"]), "serve.write_timeout=1") as live:
        whole = len(live.client.get("/openapi.json").content)
        count = 40_000_000 // whole  # more than any buffer between the two takes
        with live.connect() as connection:
            connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * count)
            time.sleep(3)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(1 << 20):
                    received += len(part)
            assert received < whole * count / 2
        assert live.post(PATH, {"text": WORDS}).status_code == 200


def test_only_this_machine_unless_told_otherwise(server: Live) -> None:
    assert ServeSection().host == "127.0.0.1"
    assert server.url.startswith("http://127.0.0.1:")
    with contextlib.closing(bind(ServeSection(port=0))) as listening:
        assert listening.getsockname()[0] == "127.0.0.1"


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio switches Nagle's algorithm off for the connections of a socket that it knows to be TCP."""

    async def accepted() -> int:
        arrived: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        listening = bind(ServeSection(port=0))
        address = listening.getsockname()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            arrived.set_result(writer.get_extra_info("socket"))

        async with await asyncio.start_server(accept, sock=listening):
            _, writer = await asyncio.open_connection(*address)
            connection = await arrived
            option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            writer.close()
        return option

    assert asyncio.run(accepted())


def test_scripts_of_other_origins_get_nothing(server: Live) -> None:
    headers = {"Origin": "https://example.org"}
    answer = server.client.post(PATH, json={"text": WORDS}, headers=headers)
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    asked = {**headers, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    preflight = server.client.options(PATH, headers=asked)
    assert preflight.status_code == 405
    assert not [name for name in preflight.headers if name.startswith("access-control-")]
