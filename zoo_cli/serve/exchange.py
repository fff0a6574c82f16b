"""What all endpoints share: reading a request's circumstances, waiting for answers, writing responses."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import Headers
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
        model: name of the model that answered.
        items: number of inputs.
        code: stable name of the refusal, if any.
    """

    id: str
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


def begin(request: Request, model: ServedModel, items: int) -> None:
    """Note what a request is about."""
    record = record_of(request.scope)
    record.model, record.items = model.name, items


def seconds_of(request: Request, model: ServedModel) -> float:
    """Seconds in which the client wants its answer, by the header `Request-Timeout`; at most the model's limit.

    Raises:
        Refusal: the header is no positive number (`bad-header`).
    """
    return seconds_in(request.headers, model)


def seconds_in(headers: Headers, model: ServedModel) -> float:
    """The same, of a request's headers."""
    value = headers.get(TIMEOUT_HEADER)
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


async def unless_gone(request: Request, work: Awaitable[Any]) -> Any:
    """The result of `work`, which is cancelled when the client goes away.

    Raises:
        ClientGone: it did.
    """
    waiting = asyncio.current_task()
    assert waiting is not None
    gone = asyncio.ensure_future(_closed(request.receive))

    def stop(watcher: asyncio.Future[None]) -> None:
        if not watcher.cancelled():
            waiting.cancel()

    gone.add_done_callback(stop)
    try:
        return await work
    except asyncio.CancelledError:
        if not gone.done():
            raise
        waiting.uncancel()
        raise ClientGone from None
    finally:
        gone.remove_done_callback(stop)
        gone.cancel()


def route_for(
    body_type: Any,
    before: Callable[[Request], Any] = lambda request: None,
    name_fault: Callable[[Request, Any], str] = lambda request, detail: "bad-request",
) -> type[APIRoute]:
    """A kind of route whose body is read by pydantic at once: FastAPI's own way takes four times as long.

    Args:
        body_type: of the endpoint's argument `body`; its documentation is FastAPI's.
        before: called before the body is looked at; may raise a `Refusal`.
        name_fault: the code of what pydantic says of a body that is JSON but not of its type.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(body_type)

    class BodyRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            endpoint: Callable[..., Awaitable[Response]] = self.endpoint

            async def handle(request: Request) -> Response:
                before(request)
                try:
                    body = adapter.validate_json(await request.body())
                except ValidationError as error:
                    details = error.errors(include_url=False)
                    raise invalid_body(details, partial(name_fault, request)) from error
                return await endpoint(request, body=body, **request.path_params)

            return handle

    return BodyRoute


def invalid_body(details: Sequence[Any], name_fault: Callable[[Any], str] = lambda detail: "bad-request") -> Refusal:
    """The refusal of a body that is not of its type.

    Args:
        details: pydantic's errors; the first is told.
        name_fault: the code of an error.
    """
    detail = details[0]
    if detail["type"] == "json_invalid":
        return Refusal("broken-json", "the body is not JSON")
    path = ""
    for part in detail["loc"]:
        if part in ("one", "many") and not path:  # which of two types, not a key
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return Refusal(name_fault(detail), "{reason}", field=path or None, reason=detail["msg"])


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


def refusal_body(refusal: Refusal, scope: Scope) -> dict[str, Any]:
    """What a client is told about a refusal, which is noted."""
    record = record_of(scope)
    record.code = refusal.code
    error = {
        "code": refusal.code,
        "message": refusal.english,
        "type": "invalid_request_error" if refusal.status < 500 else "server_error",
        "param": refusal.field,
        "request_id": record.id,
    }
    return {"error": error}


def refusal_response(refusal: Refusal, scope: Scope) -> Response:
    """A refusal in the format of the endpoint that it comes from."""
    body = refusal_body(refusal, scope)
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if scope["path"].startswith("/v2"):  # the Open Inference Protocol wants a string here
        place = f"{refusal.field}: " if refusal.field else ""
        body = {"error": place + refusal.english}
    return json_response(body, refusal.status, headers=headers)


def gone_response() -> Response:
    """What is logged for a client that went away; it is never sent."""
    return Response(status_code=CLIENT_GONE)
