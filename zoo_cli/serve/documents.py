"""What the OpenAPI document says about refusals."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Refused(BaseModel):
    """Why there is no answer."""

    class Error(BaseModel):
        """The reason."""

        model_config = ConfigDict(use_attribute_docstrings=True)

        code: str
        """Stable name, e.g. `queue-full`."""
        message: str
        """One sentence."""
        type: str
        """`invalid_request_error` or `server_error`."""
        param: str | None
        """Path of what is wrong in the body, e.g. `inputs[3].text`."""
        request_id: str
        """Of the response's header `X-Request-ID`, as in the server's log."""

    error: Error


class OpenInferenceRefused(BaseModel):
    """Why there is no answer, as the Open Inference Protocol says it."""

    error: str


_REASONS = {
    400: "The body is not JSON, or a header is wrong.",
    401: "The server wants a key.",
    403: "The key is not known.",
    404: "There is no such model.",
    408: "The body did not arrive in time.",
    413: "The request, or its answer, is larger than the limits of the model.",
    415: "The body is not announced as JSON, or is compressed.",
    422: "The body is not what the model takes.",
    429: "The server has more work than it can do; try again after `Retry-After` seconds.",
    500: "The server failed on this input.",
    503: "The server is stopping, or the model is not ready yet.",
    504: "The request was not answered in time.",
}


def refusals(model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """All refusals by status, with bodies of this type."""
    return {status: {"model": model, "description": text} for status, text in _REASONS.items()}
