"""Answers of a model that `zoo serve` runs elsewhere, in the form of a `zoo_cli.runtime.pipeline.Pipeline`."""

from __future__ import annotations

import http.client
import json
import queue
import random
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from zoo_cli import __version__, registry
from zoo_cli.base.errors import DataError, PlatformError, UsageError, ZooError
from zoo_cli.runtime.pipeline import with_parameters

CONCURRENCY = 16
"""Requests at the same time, unless told otherwise."""
PATIENCE = 600.0
"""Seconds for which an input is sent again and again to a server that has too much to do."""
_LONGEST_PAUSE = 60.0
_BROKEN = 3
"""Tries of a request whose connection breaks; the server closes those that idle."""
_USAGE = {401, 403, 404}
_DATA = {400, 413, 415, 422}
_AGAIN = {429, 503}


@dataclass(frozen=True)
class _Reply:
    status: int
    content: Any
    retry_after: float


class RemoteModel:
    """A model of a server.

    Args:
        url: of the server, e.g. ``"http://127.0.0.1:8000"``.
        model: name of the model; by default the first one.
        key: API key, where the server wants one.
        concurrency: requests at the same time.

    Attributes:
        model: name of the model.
        task: name of its task.

    Raises:
        UsageError: this is no address (`bad-url`), there is no such model, or the server wants another key.
        PlatformError: the server cannot be reached (`unreachable`), or has no model yet (`no-model`).
    """

    def __init__(
        self, url: str, model: str | None = None, key: str | None = None, concurrency: int = CONCURRENCY
    ) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise UsageError(
                "bad-url", "{url!r} is no address of a server", fix="for example http://HOST:8000", url=url
            )
        self._connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._address = (parts.hostname, port)
        self._url = url
        self._prefix = parts.path.rstrip("/")
        self._headers = {"User-Agent": f"zoo/{__version__}", "Content-Type": "application/json"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key}"
        self._seconds = 30.0
        self._concurrency = concurrency
        self._threads = threading.local()  # each with its own connection
        found = self._choose(model)
        self.model: str = found["id"]
        self.task: str = found["task"]
        self._endpoint: str = found["endpoint"]
        self._seconds = found["limits"]["timeout"] + 10.0

    def _choose(self, name: str | None) -> dict[str, Any]:
        reply = self._ask("GET", "/v1/models", None, threading.Event())
        try:
            models = {entry["id"]: entry for entry in reply["data"]}
        except (TypeError, KeyError, AttributeError) as error:
            raise PlatformError("unreachable", "{url} is no server of zoo", url=self._url) from error
        if not models:
            reason = self._send("GET", "/readyz", None).content
            raise PlatformError(
                "no-model",
                "the server {url} has no model: {reason}",
                url=self._url,
                reason=reason.get("status") if isinstance(reason, dict) else reason,
            )
        if name is not None and name not in models:
            raise UsageError(
                "unknown-model",
                "the server has no model {name!r}",
                fix="it has: {names}",
                name=name,
                names=", ".join(models),
            )
        return models[name] if name is not None else next(iter(models.values()))

    # -- answers ----------------------------------------------------------------------------------------------------

    def stream(self, inputs: Iterable[Any], window: int = CONCURRENCY, **parameters: Any) -> Iterator[Any]:
        """Answer inputs in order, as soon as they come and are answered.

        Args:
            inputs: as of `zoo_cli.runtime.pipeline.Pipeline.stream`; a thread of its own reads them.
            window: inputs at the same time at most, beside the client's own limit.
            **parameters: request fields that all inputs share.

        Raises:
            ZooError: of the first input that the server refuses, or that `inputs` raised, after the answers before it.
        """
        places = threading.Semaphore(min(window, self._concurrency))
        asked: queue.SimpleQueue[Future[Any] | None] = queue.SimpleQueue()
        left = threading.Event()

        def read() -> None:
            try:
                for value in inputs:
                    places.acquire()
                    if left.is_set():
                        return
                    asked.put(pool.submit(self._answer, with_parameters(value, parameters), left))
                asked.put(None)
            except Exception as error:
                failed: Future[Any] = Future()
                failed.set_exception(error)
                asked.put(failed)

        pool = ThreadPoolExecutor(self._concurrency)
        threading.Thread(target=read, daemon=True).start()  # which may be waiting for a line when all is over
        try:
            while (future := asked.get()) is not None:
                answer = future.result()
                places.release()
                yield answer
        finally:
            left.set()
            places.release()
            pool.shutdown(wait=False, cancel_futures=True)

    def _answer(self, value: Any, left: threading.Event) -> Any:
        fields = {"text": value} if isinstance(value, str) else value
        if not isinstance(fields, dict):
            raise DataError("bad-request", "expected a text, or an object with the fields of {task}", task=self.task)
        known = _fields(self.task)
        if known is not None and "context" in known and "text" in fields:  # the tasks themselves read both names
            fields = {"context": fields["text"], **fields}
        body = {name: each for name, each in fields.items() if known is None or name in known}
        return self._ask("POST", self._endpoint, {**body, "model": self.model}, left)["answer"]

    # -- the connection ---------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Any, left: threading.Event) -> Any:
        """The answer to one request, which is sent again while the server is busy, unless nobody waits any more."""
        end = time.monotonic() + PATIENCE
        while True:
            reply = self._send(method, path, body)
            if reply.status == 200:
                return reply.content
            # A little later than asked, so that not all come back at once.
            pause = reply.retry_after * random.uniform(1.0, 1.25)
            if reply.status not in _AGAIN or time.monotonic() + pause > end or left.wait(pause):
                raise self._refusal(reply)

    def _send(self, method: str, path: str, body: Any) -> _Reply:
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
        for left in reversed(range(_BROKEN)):
            connection = self._connection()
            try:
                connection.request(method, self._prefix + path, content, self._headers)
                response = connection.getresponse()
                text = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if left and not isinstance(error, TimeoutError):
                    time.sleep(0.1)
                    continue
                reason = str(error) or type(error).__name__
                raise PlatformError(
                    "unreachable", "the server {url} does not answer: {reason}", url=self._url, reason=reason
                ) from error
            return _Reply(response.status, _parsed(text), _pause(response.headers.get("Retry-After")))
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPConnection:
        if not hasattr(self._threads, "connection"):
            self._threads.connection = self._connect(*self._address, timeout=self._seconds)
        return self._threads.connection

    def _refusal(self, reply: _Reply) -> ZooError:
        error = reply.content.get("error") if isinstance(reply.content, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("code"), str):
            error = {"code": "unreachable", "message": f"the server {self._url} answers with status {reply.status}"}
        kind = UsageError if reply.status in _USAGE else DataError if reply.status in _DATA else PlatformError
        field = f"{error['param']}: " if error.get("param") else ""
        fix = "name a key with --api-key or ZOO_API_KEY" if reply.status in (401, 403) else None
        return kind(error["code"], "{field}{reason}", fix=fix, field=field, reason=str(error.get("message")))


def _fields(task: str) -> set[str] | None:
    """Fields that a task's requests have, or None of a task that only the server knows."""
    if task not in registry.TASKS:
        return None
    fields = getattr(registry.task(task).request, "model_fields", {})
    return {field.alias or name for name, field in fields.items()}


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _pause(header: str | None) -> float:
    """Seconds that the server wants to be left alone."""
    try:
        return max(0.1, min(float(header or 1.0), _LONGEST_PAUSE))
    except ValueError:  # a date, which ours does not send
        return 1.0
