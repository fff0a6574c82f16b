"""Responses that reach their client piece by piece, as server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from zoo_cli.base.errors import ZooError
from zoo_cli.serve.exchange import ClientGone, record_of, refusal_body, to_json, unless_gone
from zoo_cli.serve.intake import fault
from zoo_cli.serve.refusals import Refusal, refusal_of, report

_log = logging.getLogger(__name__)
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # proxies pass each event on at once

Events = AsyncGenerator[bytes, None]


def event(value: object) -> bytes:
    """A value as a server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"


async def event_response(request: Request, events: Events) -> Response:
    """A response of events; it begins when the first one is there, so that a refusal before it has its own status.

    Args:
        request: whose client gets them.
        events: closed in the end, also when the client goes away. A `Refusal` that it raises later on is the last
            event, in the format of other responses.

    Raises:
        Refusal: there is no first event.
        ClientGone: the client went away before it.
    """
    try:
        first = await unless_gone(request, anext(events))
    except BaseException:
        await events.aclose()
        raise
    return _EventResponse(request, first, events)


class _EventResponse(Response):
    media_type = "text/event-stream"

    def __init__(self, request: Request, first: bytes, events: Events) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(_HEADERS)
        self._request = request
        self._first = first
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_gone(self._request, self._send(scope, send))
        except ClientGone:
            record_of(scope).code = "client-gone"
        finally:
            await self._events.aclose()

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        try:
            async for each in self._events:
                await send({"type": "http.response.body", "body": each, "more_body": True})
        except ZooError as error:
            await self._send_error(refusal_of(error), scope, send)
        except Exception as error:
            report(_log, error, "a stream failed")
            await self._send_error(fault(), scope, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_error(self, refusal: Refusal, scope: Scope, send: Send) -> None:
        body = event(refusal_body(refusal, scope))
        await send({"type": "http.response.body", "body": body, "more_body": True})
