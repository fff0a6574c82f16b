"""What the server does with too much, too slow and too wrong: it refuses with the right status and stays up."""

from __future__ import annotations

import gzip
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.bundles import WORDS
from tests.serve.live import Live, serving

PATH = "/v1/sequence_classification"


@pytest.fixture(autouse=True)
def still_up(server: Live) -> Any:
    yield
    assert server.post(PATH, {"text": WORDS}).status_code == 200
    assert server.client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "code", "field"),
    [
        ("extraction", {"inputs": [{"text": "a"}] * 65}, "too-many-items", "inputs"),
        ("extraction", {"inputs": [{"text": "a"}, {"text": "a" * 20_001}]}, "too-many-characters", "inputs[1]"),
        ("extraction", {"text": "a", "schema": [f"n{n}" for n in range(65)]}, "too-many-names", "schema"),
        ("extraction", {"text": "王芳" * 9_000, "schema": [f"n{n}" for n in range(64)]}, "too-many-tokens", None),
        ("sequence_classification", {"text": "a" * 2_000_000}, "body-too-large", None),
    ],
)
def test_sizes_are_413(server: Live, path: str, body: Any, code: str, field: str | None) -> None:
    response = server.post(f"/v1/{path}", body)
    assert (response.status_code, response.json()["error"]["code"]) == (413, code)
    assert response.json()["error"]["param"] == field


def test_ten_megabytes_announced_or_not(server: Live) -> None:
    body = b'{"text": "' + b"a" * 10_000_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    assert server.client.post(PATH, content=body, headers=headers).status_code == 413
    chunks = (body[start : start + 65_536] for start in range(0, len(body), 65_536))
    assert server.client.post(PATH, content=chunks, headers=headers).status_code == 413
    with server.connect() as connection:
        connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode())
        connection.sendall(b"Content-Length: 99999999999\r\n\r\n")
        assert b" 413 " in connection.recv(1000)


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"text": "\xe7\x8e"}', {}, 400),
        ('{"text": "王"}'.encode("gb18030"), {}, 400),
        ('{"text": "王"}'.encode("utf-16"), {}, 400),
        (b'{"text": "\\ud800"}', {}, 400),
        (b"[" * 50_000, {}, 400),
        (b'{"text": NaN}', {}, 422),
        (b'{"text": "a", "text": 3}', {}, 422),
        (gzip.compress(b'{"text": "a"}', mtime=0), {"Content-Encoding": "gzip"}, 415),
        (b'{"text": "a"}', {"Content-Type": "text/plain"}, 415),
        (b"text=a", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"text": "a"}', {"Request-Timeout": "soon"}, 400),
        (b'{"text": "a"}', {"Request-Timeout": "-1"}, 400),
        (b'{"text": "a"}', {"Request-Timeout": "nan"}, 400),
        (b'{"text": "\\u0000\\u0000"}', {}, 200),
        (b'\xef\xbb\xbf{"text": "a"}', {}, 400),
    ],
)
def test_malformed_bodies(server: Live, content: bytes, headers: dict[str, str], status: int) -> None:
    response = server.client.post(PATH, content=content, headers={"Content-Type": "application/json", **headers})
    assert response.status_code == status, response.text


def test_half_of_a_surrogate_pair_is_refused_wherever_it_is(server: Live) -> None:
    headers = {"Content-Type": "application/json"}
    body = b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["\\ud800"]}]}'
    assert server.client.post("/v2/models/single/infer", content=body, headers=headers).status_code == 422


def test_a_slow_body_is_408_and_slow_headers_lose_the_connection(server: Live) -> None:
    with server.connect() as body, server.connect() as headers, server.connect() as silent:
        begin = time.monotonic()
        body.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode())
        body.sendall(b"Content-Length: 20\r\n\r\n{")
        headers.sendall(b"GET /livez HTTP/1.1\r\nHost: ")
        for _ in range(6):
            headers.sendall(b"x")  # never a whole line
            time.sleep(0.1)
        assert b" 408 " in body.recv(1000)
        assert b" 408 " in headers.recv(1000) and headers.recv(10) == b""
        assert silent.recv(10) == b""
        assert time.monotonic() - begin < 8


def test_endless_headers_are_431(server: Live) -> None:
    with server.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
        try:
            for _ in range(30):
                connection.sendall(b"X-Filler: " + b"a" * 4000 + b"\r\n")
            assert b" 431 " in connection.recv(1000)
        except (ConnectionResetError, BrokenPipeError):
            pass  # it closed while we still wrote


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\r\n" * 50, b"POST / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http(server: Live, garbage: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(garbage)
        answer = connection.recv(100)
        assert answer == b"" or b" 400 " in answer or b" 408 " in answer


def test_the_log_holds_no_text(server: Live) -> None:
    secret = "秘密secret"
    server.post(PATH, {"text": secret}, X_Request_ID="my-id")
    server.post(PATH, {"text": secret, secret: 1})
    server.post(f"/{secret}", {"data": {"text": secret}})
    log = server.log.read_text()
    assert "secret" not in log and "秘密" not in log
    line = next(json.loads(line) for line in log.splitlines() if '"my-id"' in line)
    assert line["endpoint"] == PATH and line["status"] == 200 and line["items"] == 1 and line["milliseconds"] > 0


def test_request_ids_are_clean(server: Live) -> None:
    assert server.client.get("/livez", headers={"X-Request-ID": "a-1"}).headers["x-request-id"] == "a-1"
    assert len(server.client.get("/livez", headers={"X-Request-ID": "a b{}"}).headers["x-request-id"]) == 32


def tokens(live: Live) -> float:
    return live.metric("zoo_tokens_total", kind="text")


def wait_until_idle(live: Live) -> None:
    end = time.monotonic() + 60
    while live.metric("zoo_queue_items") and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0.5)  # what was taken by the model before is counted when it is done
    assert live.metric("zoo_queue_items") == 0


def test_overload_deadlines_and_clients_that_go_away(bundles: dict[str, Path], tmp_path: Path) -> None:
    settings = ["serve.limits.queue_items=8", "serve.batch_tokens=64", "serve.threads=1"]
    inputs = [{"text": WORDS * 2}] * 8  # each is a batch of its own
    with serving(tmp_path, str(bundles["slow"]), *settings) as live:

        def ask(number: int) -> httpx.Response:
            return live.post(PATH, {"inputs": inputs})

        before = tokens(live)
        with ThreadPoolExecutor(12) as pool:
            responses = list(pool.map(ask, range(12)))
        statuses = [response.status_code for response in responses]
        assert set(statuses) == {200, 429}
        refused = [response for response in responses if response.status_code == 429]
        assert all(int(response.headers["retry-after"]) >= 1 for response in refused)
        assert all(response.json()["error"]["code"] == "queue-full" for response in refused)
        assert live.metric("zoo_refused_total", reason="queue-full") == len(refused)
        whole = (tokens(live) - before) / statuses.count(200)

        # A deadline that cannot be met: what was not begun by then is never computed.
        before = tokens(live)
        response = live.post(PATH, {"inputs": inputs}, Request_Timeout="0.05")
        assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline")
        wait_until_idle(live)
        assert tokens(live) - before <= whole / 2

        # Clients that go away take their inputs with them.
        before = tokens(live)
        body = json.dumps({"inputs": inputs}).encode()
        with live.connect() as connection:
            connection.sendall(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode())
            connection.sendall(f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            while not live.metric("zoo_queue_items"):
                time.sleep(0.01)
            connection.shutdown(socket.SHUT_RDWR)
        wait_until_idle(live)
        assert tokens(live) - before < whole
        assert live.metric("zoo_requests_total", status="499") == 1
        assert live.post(PATH, {"text": WORDS}).status_code == 200
