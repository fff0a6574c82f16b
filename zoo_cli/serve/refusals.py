"""Why a request gets no answer, as a status code with a stable name."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from zoo_cli.base.errors import ZooError

STATUS_OF_CODE = {
    "not-found": 404,
    "unknown-model": 404,
    "method-not-allowed": 405,
    "slow-body": 408,
    "body-too-large": 413,
    "too-many-items": 413,
    "too-many-characters": 413,
    "too-many-names": 413,
    "too-many-tokens": 413,
    "too-many-sequences": 413,
    "answer-too-large": 413,
    "content-type": 415,
    "content-encoding": 415,
    "broken-json": 400,
    "bad-header": 400,
    "no-key": 401,
    "wrong-key": 403,
    "admin-closed": 403,
    "several-workers": 409,
    "busy": 409,
    "queue-full": 429,
    "fault": 500,
    "draining": 503,
    "not-ready": 503,
    "closed": 503,
    "deadline": 504,
}
"""Refusals that are no fault of the input's content; those that are have status 422."""

CLIENT_GONE = 499
"""Status in log and metrics of a request whose client went away; nobody receives it."""


class Refusal(ZooError):
    """A request that is not answered.

    Args:
        code: stable name; it decides the status.
        message: template of one sentence.
        field: path of what is wrong in the request's body, e.g. ``"inputs[3].schema"``.
        retry_after: seconds after which to try again.
        **values: what the template names.
    """

    def __init__(
        self, code: str, message: str, *, field: str | None = None, retry_after: int | None = None, **values: Any
    ) -> None:
        super().__init__(code, message, **values)
        self.field = field
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """HTTP status."""
        return STATUS_OF_CODE.get(self.code, 422)

    def within(self, place: str) -> Refusal:
        """The same refusal about a part of a larger body, e.g. of ``inputs[3]``."""
        self.field = ".".join(part for part in (place, self.field) if part) or None
        return self


def refusal_of(error: ZooError) -> Refusal:
    """A task's complaint about an input, as status 422 with the field that it names."""
    if isinstance(error, Refusal):
        return error
    field = error.values.get("path") or error.values.get("place")
    message = error.english + (f" ({error.english_fix})" if error.english_fix else "")
    return Refusal(error.code, "{reason}", field=field, reason=message)


def report(log: logging.Logger, error: Exception, what: str) -> None:
    """Log a fault with the places it went through, but without its message, which may quote a client's text."""
    places = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, places)
