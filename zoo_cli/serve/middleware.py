"""What stands between the network and the endpoints: identity, log, keys, sizes and times."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import random
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo_cli.base.errors import Location, UsageError
from zoo_cli.serve.exchange import Record, refusal_response, seconds_in
from zoo_cli.serve.hosting import Host
from zoo_cli.serve.metrics import Metrics
from zoo_cli.serve.refusals import CLIENT_GONE, Refusal, report

access_log = logging.getLogger("zoo.access")
_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
OPEN_PATHS = {"/", "/livez", "/readyz", "/v2/health/live", "/v2/health/ready"}
ADMIN = "/v1/admin/"
_SKIPPED_BYTES = 32_000_000


class Keys:
    """Keys of which one must be sent; only their hashes are kept.

    Args:
        path: file of keys, one a line; empty lines and lines that start with # do not count.

    Raises:
        UsageError: the file cannot be read or has no key.
    """

    def __init__(self, path: str) -> None:
        try:
            lines = [line.strip() for line in Path(path).read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("unreadable-file", "the file of keys cannot be read", at=Location.of(path)) from error
        keys = [line for line in lines if line and not line.startswith("#")]
        if not keys:
            raise UsageError("no-keys", "the file has no key", at=Location.of(path))
        self._hashes = [hashlib.sha256(key.encode()).digest() for key in keys]

    def check(self, headers: Headers) -> None:
        """Take `Authorization: Bearer KEY` or `X-API-Key: KEY`, in the same time whatever the key.

        Raises:
            Refusal: there is no key (`no-key`) or another one (`wrong-key`).
        """
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = headers.get("x-api-key", "")
        if not key:
            raise Refusal("no-key", "this server wants a key")
        digest = hashlib.sha256(key.strip().encode(errors="replace")).digest()
        # All are compared, so that the time does not tell which one was near.
        if not sum([hmac.compare_digest(digest, known) for known in self._hashes]):
            raise Refusal("wrong-key", "the key is not known")


class Observed:
    """Gives each request an id, a log line and its numbers.

    Args:
        app: what is called.
        metrics: of the process.
        log: whether to write log lines.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, log: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        method = scope["method"]
        if method == "HEAD":  # answered as GET; the web server leaves the body out
            scope = {**scope, "method": "GET"}
        sent_id = Headers(scope=scope).get("x-request-id", "")
        own_id = sent_id if _REQUEST_ID.fullmatch(sent_id) else f"{random.getrandbits(128):032x}"
        record = scope["zoo.record"] = Record(own_id)
        begin, size = time.perf_counter(), 0
        status: int | None = None

        async def send_observed(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = record.id
            else:
                size += len(message.get("body", b""))
            if status != CLIENT_GONE:
                await send(message)

        try:
            await self.app(scope, receive, send_observed)
        except Exception as error:
            # Not left to the web server, whose log would hold the message, and with it perhaps the client's text.
            report(_log, error, "a request failed")
            if status is None:
                await refusal_response(Refusal("fault", "the server failed"), scope)(scope, receive, send_observed)
        finally:
            seconds = time.perf_counter() - begin
            # The template of the path, since the path itself is the client's own text.
            endpoint = getattr(scope.get("route"), "path", "none")
            self.metrics.requests.labels(endpoint, record.model, str(status or 500)).inc()
            self.metrics.seconds.labels(endpoint).observe(seconds)
            if record.code:
                self.metrics.refused.labels(record.code).inc()
            if self.log:
                access_log.info(json.dumps(_line(scope, method, record, endpoint, status, size, seconds)))


def _line(
    scope: Scope, method: str, record: Record, endpoint: str, status: int | None, size: int, seconds: float
) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": record.id,
        "client": scope["client"][0] if scope.get("client") else None,
        "method": method,
        "endpoint": endpoint,
        "status": status,
        "code": record.code or None,
        "milliseconds": round(seconds * 1000, 2),
        "bytes": size,
        "model": record.model or None,
        "items": record.items,
    }


class Guarded:
    """Refuses what must not reach the endpoints, and hands them a body that is whole.

    Args:
        app: what is called.
        host: of the process.
        keys: that clients must send, or None.
        admin: that administrators must send, or None.
    """

    def __init__(self, app: ASGIApp, host: Host, keys: Keys | None, admin: Keys | None) -> None:
        self.app = app
        self.host = host
        self.keys = keys
        self.admin = admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            self._check_key(scope["path"], headers)
            if scope["method"] in ("POST", "PUT", "PATCH", "DELETE"):
                receive = await self._whole_body(scope, headers, receive)
        except Refusal as refusal:
            await refusal_response(refusal, scope)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _check_key(self, path: str, headers: Headers) -> None:
        if path.startswith(ADMIN):
            if self.admin is None:
                raise Refusal("admin-closed", "this server was started without serve.admin_keys")
            self.admin.check(headers)
        elif self.keys is not None and path not in OPEN_PATHS:
            self.keys.check(headers)

    async def _whole_body(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal("content-encoding", "compressed bodies are not taken")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        binary = scope["path"].startswith("/v2/")
        if not (kind == "application/json" or kind.endswith("+json") or binary) and _has_body(headers):
            raise Refusal("content-type", "the body must be JSON, with Content-Type: application/json")
        if not scope["path"].startswith(ADMIN):
            self._refuse_early(headers)
        body = await self._read(headers, receive)
        given = False

        async def receive_body() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return receive_body

    def _refuse_early(self, headers: Headers) -> None:
        """Refuse before the body is read when no model could take it in: that costs the server next to nothing."""
        if self.host.draining:
            raise Refusal("draining", "the server is stopping", retry_after=1)
        refusals = []
        for model in self.host.models.values():
            try:
                model.engine.refuse_if_full(1, seconds_in(headers, model))
            except Refusal as refusal:
                refusals.append(refusal)
        if refusals and len(refusals) == len(self.host.models):
            raise refusals[0]

    async def _read(self, headers: Headers, receive: Receive) -> bytes:
        settings = self.host.settings
        most = settings.body_bytes
        announced = int(length) if (length := headers.get("content-length", "")).isdigit() else 0
        too_large = Refusal("body-too-large", "the body has more than {most} bytes", most=most)
        if announced > _SKIPPED_BYTES:
            raise too_large
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(settings.body_timeout):
                # A client reads the refusal only after it has written all, so the rest is read and thrown away.
                while more and size <= _SKIPPED_BYTES:
                    message = await receive()
                    more = message.get("more_body", False)
                    size += len(message.get("body", b""))
                    if size <= most:
                        parts.append(message.get("body", b""))
        except TimeoutError as error:
            raise Refusal("slow-body", "the body did not arrive in time") from error
        if size > most:
            raise too_large
        return b"".join(parts)


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
