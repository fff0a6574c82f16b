"""`/v1/embeddings`, so that clients of OpenAI's protocol get vectors of texts."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from zoo_cli.serve.exchange import begin, host_of, json_response, route_for, seconds_of, unless_gone
from zoo_cli.serve.refusals import Refusal
from zoo_cli.tasks.api import RequestModel

PATH = "/v1/embeddings"
TASK = "embedding"
_TEXT = {"type": "string"}


class EmbeddingsRequest(RequestModel):
    """Texts whose vectors are asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"input": ["这家餐厅的菜很好吃。", "菜不好吃。"]}]})

    input: Annotated[Any, WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]})]
    """A text, or several. Token ids, which the protocol allows, are those of another vocabulary and refused."""
    model: str | None = None
    """Name of the model; by default the first one that gives vectors."""
    encoding_format: Literal["float", "base64"] = "float"
    """Numbers, or little-endian float32 in base64."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Length of the vectors: only that of the model."""
    user: str | None = None
    """Not used."""

    def texts(self) -> list[str]:
        """The texts.

        Raises:
            Refusal: there are none, they are no texts (`bad-request`), or they are token ids (`token-ids`).
        """
        given = self.input if isinstance(self.input, list) else [self.input]
        if not given:
            raise Refusal("bad-request", "there is no text", field="input")
        for index, text in enumerate(given):
            place = f"input[{index}]" if given is self.input else "input"
            if isinstance(text, int | list) and not isinstance(text, bool):
                raise Refusal(
                    "token-ids", "token ids of another vocabulary mean nothing to this model: send text", field=place
                )
            if not isinstance(text, str):
                raise Refusal("bad-request", "this is no text", field=place)
        return given


class _Documented(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)


class EmbeddingEntry(_Documented):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    """Number of the text."""
    embedding: list[float] | str
    """The vector, or its float32 numbers in base64."""
    truncated: bool | None = None
    """True where the text was too long and its end was not read; not in OpenAI's protocol."""


class EmbeddingsUsage(_Documented):
    """Numbers of tokens."""

    prompt_tokens: int
    """That the model read, special tokens included."""
    total_tokens: int
    """The same."""


class Embeddings(_Documented):
    """The vectors of all texts."""

    object: Literal["list"]
    data: list[EmbeddingEntry]
    """The vectors, in the order of the texts."""
    model: str
    """Name of the model that answered."""
    system_fingerprint: str
    """Its version: a hash of its files."""
    usage: EmbeddingsUsage
    """Numbers of tokens."""


def _entry(index: int, answer: dict[str, Any], encoding_format: str) -> dict[str, Any]:
    vector: Any = answer["embedding"]
    if encoding_format == "base64":
        vector = base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode()
    truncated = {"truncated": True} if answer.get("truncated") else {}
    return {"object": "embedding", "index": index, "embedding": vector, **truncated}


def router() -> APIRouter:
    """The endpoint."""
    routes = APIRouter(tags=["OpenAI"])

    async def embeddings(request: Request, body: EmbeddingsRequest) -> Response:
        """Vectors of texts, as OpenAI's embeddings."""
        model = host_of(request).find(body.model, TASK)
        texts = body.texts()
        begin(request, model, len(texts))
        places = [f"input[{index}]" for index in range(len(texts))] if isinstance(body.input, list) else ["input"]
        values = [{"text": text} for text in texts]
        answers = await unless_gone(request, model.answer(values, seconds_of(request, model), places))
        size = len(answers[0]["embedding"])
        if body.dimensions not in (None, size):
            raise Refusal("bad-request", "the vectors of this model have {size} numbers", field="dimensions", size=size)
        tokens = sum(answer["tokens"] for answer in answers)
        content = {
            "object": "list",
            "data": [_entry(index, answer, body.encoding_format) for index, answer in enumerate(answers)],
            "model": model.name,
            "system_fingerprint": model.version,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return json_response(content, most=model.limits.answer_bytes)

    routes.add_api_route(
        PATH,
        embeddings,
        methods=["POST"],
        operation_id="embeddings",
        response_model=Embeddings,
        route_class_override=route_for(EmbeddingsRequest),
    )
    return routes
