"""What all endpoints share: reading a request's circumstances, waiting for answers, writing responses."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from starlette.types import Receive, Scope

from zoo_cli.serve.hosting import Host
from zoo_cli.serve.refusals import CLIENT_GONE, Refusal
from zoo_cli.serve.served import ServedModel

TIMEOUT_HEADER = "request-timeout"


@dataclass
class Record:
    """What is known of one HTTP request, for its log line and the metrics.

    Args:
        id: the client's `X-Request-ID`, or a fresh one.
        endpoint: template of the path; never the path itself where that is the client's own text.
        model: name of the model that answered.
        items: number of inputs.
        code: stable name of the refusal, if any.
    """

    id: str
    endpoint: str = "other"
    model: str = ""
    items: int = 0
    code: str = ""


class ClientGone(Exception):
    """The client closed the connection before it had its answer."""


def record_of(scope: Scope) -> Record:
    """The record of a request."""
    return scope["zoo.record"]


def host_of(request: Request) -> Host:
    """The models of the process."""
    return request.app.state.host


def begin(request: Request, endpoint: str, model: ServedModel, items: int) -> None:
    """Note what a request is about."""
    record = record_of(request.scope)
    record.endpoint, record.model, record.items = endpoint, model.name, items


def seconds_of(request: Request, model: ServedModel) -> float:
    """Seconds in which the client wants its answer, by the header `Request-Timeout`; at most the model's limit.

    Raises:
        Refusal: the header is no positive number (`bad-header`).
    """
    value = request.headers.get(TIMEOUT_HEADER)
    if value is None:
        return model.limits.timeout
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise Refusal("bad-header", "Request-Timeout must be a number of seconds above 0")
    return min(seconds, model.limits.timeout)


async def _closed(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Any]) -> Any:
    """The result of `work`, which is cancelled when the client goes away.

    Raises:
        ClientGone: it did.
    """
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_closed(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


def to_json(value: Any) -> bytes:
    """A value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_response(
    value: Any, status: int = 200, most: int | None = None, headers: dict[str, str] | None = None
) -> Response:
    """A response with a JSON body.

    Args:
        value: the body.
        status: HTTP status.
        most: bytes that the body may have.
        headers: further headers.

    Raises:
        Refusal: the body is longer than `most` (`answer-too-large`).
    """
    body = to_json(value)
    if most is not None and len(body) > most:
        raise Refusal("answer-too-large", "the answer has {size} bytes; {most} are allowed", size=len(body), most=most)
    return Response(body, status, headers, media_type="application/json")


def refusal_response(refusal: Refusal, scope: Scope) -> Response:
    """A refusal in the format of the endpoint that it comes from."""
    record = record_of(scope)
    record.code = refusal.code
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if scope["path"].startswith("/v2"):  # the Open Inference Protocol wants a string here
        place = f"{refusal.field}: " if refusal.field else ""
        return json_response({"error": place + refusal.message}, refusal.status, headers=headers)
    error = {
        "code": refusal.code,
        "message": refusal.message,
        "type": "invalid_request_error" if refusal.status < 500 else "server_error",
        "param": refusal.field,
        "request_id": record.id,
    }
    return json_response({"error": error}, refusal.status, headers=headers)


def gone_response() -> Response:
    """What is logged for a client that went away; it is never sent."""
    return Response(status_code=CLIENT_GONE)
