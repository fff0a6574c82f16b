"""HTTP/1.1 with a clock: clients that send or read too slowly lose their connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from zoo_cli.recipe.schema import ServeSection

MOST_HEADER_BYTES = 65_536
_GRACE = 1.0
"""Seconds by which the clock for a body runs later than the middleware's, which can still answer politely."""


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which by itself waits for ever.

    Class attributes:
        settings: of the server; set by `timed`.
    """

    settings: ClassVar[ServeSection]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._in_headers = False
        self._header_bytes = 0
        self._chunk = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect(self.settings.header_timeout)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        idle = self._reading is None and (self.cycle is None or self.cycle.response_complete)
        if idle:  # the bytes may be line ends, which begin no message
            self._expect(self.settings.header_timeout)
        self._chunk = len(data)
        self._header_bytes += self._chunk
        super().data_received(data)
        if self._in_headers and self._header_bytes > MOST_HEADER_BYTES and not self.transport.is_closing():
            self._close_with(b"431 Request Header Fields Too Large")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_headers, self._header_bytes = True, self._chunk  # which may hold all of the headers
        self._expect(self.settings.header_timeout)

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._expect(self.settings.body_timeout + _GRACE)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._expect(None)
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(self.settings.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._writing:
            self._writing.cancel()
            self._writing = None

    def _expect(self, seconds: float | None) -> None:
        """Wait so long, or no longer, for the next part of a request."""
        if self._reading:
            self._reading.cancel()
        self._reading = None if seconds is None else self.loop.call_later(seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._reading = None
        if self.transport.is_closing():
            return
        answered = self.cycle is not None and self.cycle.response_started
        if self._header_bytes and not answered:
            self._close_with(b"408 Request Timeout")
        else:
            self.transport.abort()

    def _close_with(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _stop(self) -> None:
        for timer in (self._reading, self._writing):
            if timer:
                timer.cancel()
        self._reading = self._writing = None


def timed(settings: ServeSection) -> Callable[..., asyncio.Protocol]:
    """The protocol class for these settings."""
    return type("TimedProtocol", (TimedProtocol,), {"settings": settings})
