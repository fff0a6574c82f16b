"""A web server that can misbehave, for tests of downloads."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class FileServer:
    """What the server does and did. Lists of faults are used up from the front, one a request.

    Args:
        files: path -> content.
        ranges: whether it understands `Range`.
        etag, modified: validators that it sends.
        statuses: statuses to answer with instead of the file; 0 means none.
        drops: bytes of the answer's body after which it closes the connection; None means not at all.
        stalls: seconds of silence in the middle of the answer.
        chunk, delay: it sends so many bytes, then waits so many seconds.
        extra_length: bytes that it promises beyond those it sends.
        headers: further headers.
        requests: path and headers of each request.
        bodies: bytes sent in answer to each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    modified: str | None = None
    statuses: list[int] = field(default_factory=list)
    drops: list[int | None] = field(default_factory=list)
    stalls: list[float] = field(default_factory=list)
    chunk: int = 1 << 16
    delay: float = 0.0
    extra_length: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    base: str = ""
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    bodies: list[int] = field(default_factory=list)

    def url(self, path: str) -> str:
        return self.base + path

    @property
    def sent(self) -> int:
        """Bytes sent in all."""
        return sum(self.bodies)

    @property
    def asked_ranges(self) -> list[str | None]:
        """The `Range` header of each request."""
        return [headers.get("range") for _, headers in self.requests]


def _handler(server: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            return

        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            self.index = len(server.bodies)
            server.bodies.append(0)
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            status = server.statuses.pop(0) if server.statuses else 0
            if status or path not in server.files:
                self.send_response(status or 404)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                return
            content = server.files[path]
            start = 0
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if match and server.ranges and self.headers.get("If-Range") in (server.etag, server.modified):
                start = int(match[1])
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(content) - start + server.extra_length))
            for name, validator in (("ETag", server.etag), ("Last-Modified", server.modified)):
                if validator:
                    self.send_header(name, validator)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.send_body(content[start:])

        def send_body(self, body: bytes) -> None:
            drop = server.drops.pop(0) if server.drops else None
            stall = server.stalls.pop(0) if server.stalls else 0.0
            body = body if drop is None else body[:drop]
            try:
                for first in range(0, len(body), server.chunk):
                    piece = body[first : first + server.chunk]
                    self.wfile.write(piece)
                    server.bodies[self.index] += len(piece)
                    time.sleep(stall or server.delay)
                    stall = 0.0
            except OSError:  # the client is gone
                self.close_connection = True

    return Handler


@contextmanager
def serving(**settings: Any) -> Iterator[FileServer]:
    """Run a server on a free port of this machine."""
    server = FileServer(**settings)
    http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    http.daemon_threads = True
    server.base = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
