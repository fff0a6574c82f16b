"""What requests and answers of a task look like to a client, for the server's checks and its documentation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class RequestModel(BaseModel):
    """Base of the requests: unknown keys are refused, and nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class AnswerModel(BaseModel):
    """Base of the answers."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)
