"""The Open Inference Protocol, version 2, over HTTP (KServe's and Triton's), with the binary tensor extension.

https://github.com/kserve/open-inference-protocol. Models take and give text: inputs are BYTES tensors of shape [N] or
[N, 1], see `zoo_cli.runtime.tensors`.
"""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from zoo_cli import __version__
from zoo_cli.runtime import tensors
from zoo_cli.serve.exchange import begin, host_of, json_response, seconds_of, to_json, unless_gone
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.served import ServedModel

HEADER_LENGTH = "inference-header-content-length"
PLATFORM = "zoo"
_NUMBERS = {"FP32": np.float32, "FP64": np.float64, "INT32": np.int32, "INT64": np.int64}


class InputTensor(BaseModel):
    """One input."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] = {}


class OutputTensor(BaseModel):
    """One output that the client wants."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(BaseModel):
    """The JSON part of a request."""

    id: str = ""
    inputs: list[InputTensor]
    outputs: list[OutputTensor] = []
    parameters: dict[str, Any] = {}


def metadata(model: ServedModel) -> dict[str, Any]:
    """What the protocol says of a model."""
    task = model.task.name
    return {
        "name": model.name,
        "versions": [model.version],
        "platform": PLATFORM,
        "inputs": [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in tensors.input_names(task)],
        "outputs": [
            {"name": name, "datatype": kind, "shape": [-1]} for name, kind in tensors.output_types(task).items()
        ],
    }


# -- reading -----------------------------------------------------------------------------------------------------------


def parse(body: bytes, header_length: str | None) -> tuple[InferRequest, list[list[Any]]]:
    """The JSON part, and the elements of each input.

    Raises:
        Refusal: the body is not of the protocol.
    """
    if header_length is not None and not (header_length.isdigit() and int(header_length) <= len(body)):
        raise Refusal("bad-header", "Inference-Header-Content-Length is not a place in the body")
    size = len(body) if header_length is None else int(header_length)
    try:
        request = InferRequest.model_validate(json.loads(body[:size]))
    except ValidationError as error:
        detail = error.errors()[0]
        field = ".".join(map(str, detail["loc"]))
        raise Refusal("bad-request", "{reason}", field=field, reason=detail["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise Refusal("broken-json", "the request is not JSON") from error
    elements = []
    place = size
    for index, tensor in enumerate(request.inputs):
        length = tensor.parameters.get("binary_data_size")
        count = _count(tensor, index)
        if length is None:
            values = _flat(tensor.data or [])
        else:
            if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length <= len(body) - place:
                raise Refusal("bad-request", "binary_data_size is not in the body", field=f"inputs[{index}]")
            values = _binary(body[place : place + length], tensor.datatype, index)
            place += length
        if len(values) != count:
            raise Refusal("bad-request", "the data does not fill the shape", field=f"inputs[{index}].shape")
        elements.append(values)
    return request, elements


def _count(tensor: InputTensor, index: int) -> int:
    if not tensor.shape or any(size < 0 for size in tensor.shape) or math.prod(tensor.shape[1:]) != 1:
        raise Refusal("bad-request", "the shape must be [N] or [N, 1]", field=f"inputs[{index}].shape")
    return tensor.shape[0]


def _flat(data: list[Any]) -> list[Any]:
    return [value[0] if isinstance(value, list) and len(value) == 1 else value for value in data]


def _binary(data: bytes, datatype: str, index: int) -> list[Any]:
    if datatype in _NUMBERS:
        if len(data) % np.dtype(_NUMBERS[datatype]).itemsize:
            raise Refusal("bad-request", "the data ends within an element", field=f"inputs[{index}]")
        return np.frombuffer(data, _NUMBERS[datatype]).tolist()
    if datatype != "BYTES":
        raise Refusal("bad-request", "datatype {kind} is not taken", field=f"inputs[{index}].datatype", kind=datatype)
    values: list[str] = []
    place = 0
    try:
        while place < len(data):
            (size,) = struct.unpack_from("<I", data, place)
            if place + 4 + size > len(data):
                raise ValueError
            values.append(data[place + 4 : place + 4 + size].decode())
            place += 4 + size
    except (struct.error, ValueError) as error:
        raise Refusal("bad-request", "the data is no list of UTF-8 strings", field=f"inputs[{index}]") from error
    return values


def values_of(model: ServedModel, request: InferRequest, elements: list[list[Any]]) -> list[dict[str, Any]]:
    """The task's inputs; the request's parameters that are fields of the task are shared by all.

    Raises:
        DataError: an input is unknown, or the inputs differ in length.
        Refusal: two inputs have the same name.
    """
    columns = {tensor.name: values for tensor, values in zip(request.inputs, elements, strict=True)}
    if len(columns) < len(elements):
        raise Refusal("bad-request", "two inputs have the same name", field="inputs")
    return tensors.rows_of(model.task.name, columns, request.parameters, "inputs")


# -- writing -----------------------------------------------------------------------------------------------------------


def response(model: ServedModel, request: InferRequest, answers: list[Any]) -> Response:
    """The answers as tensors, in JSON or binary as the client wants each.

    Raises:
        Refusal: there is no output of a name, or the answer is too large.
    """
    types = tensors.output_types(model.task.name)
    wanted = request.outputs or [OutputTensor(name=name) for name in types]
    default = bool(request.parameters.get("binary_data_output", False))
    outputs, parts = [], []
    for output in wanted:
        if output.name not in types:
            raise Refusal("bad-request", "the model has no output {name!r}", field="outputs", name=output.name)
        kind = types[output.name]
        values = [tensors.element_of(answer, output.name, kind) for answer in answers]
        entry: dict[str, Any] = {"name": output.name, "datatype": kind, "shape": [len(values)]}
        if output.parameters.get("binary_data", default):
            parts.append(_packed(values, kind))
            entry["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            entry["data"] = values
        outputs.append(entry)
    content = {"model_name": model.name, "model_version": model.version, "id": request.id, "outputs": outputs}
    head = to_json(content)
    size = len(head) + sum(map(len, parts))
    if size > model.limits.answer_bytes:
        raise Refusal("answer-too-large", "the answer has {size} bytes", size=size)
    if not parts:
        return Response(head, media_type="application/json")
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return Response(b"".join([head, *parts]), headers=headers, media_type="application/octet-stream")


def _packed(values: list[Any], kind: str) -> bytes:
    if kind != "BYTES":
        return np.array(values, _NUMBERS[kind]).tobytes()
    encoded = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


# -- endpoints ---------------------------------------------------------------------------------------------------------


def _find(request: Request, name: str, version: str | None) -> ServedModel:
    model = host_of(request).find(name)
    if version is not None and version != model.version:
        raise Refusal("unknown-model", "model {name!r} has no version {version!r}", name=name, version=version)
    return model


def router() -> APIRouter:
    """All endpoints of the protocol."""
    routes = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @routes.get("")
    async def server_metadata() -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "zoo", "version": __version__, "extensions": ["binary_tensor_data"]}

    @routes.get("/health/live", operation_id="v2_live")
    async def live() -> dict[str, bool]:
        """Whether the process runs."""
        return {"live": True}

    @routes.get("/health/ready", operation_id="v2_ready", responses={503: {"model": dict[str, bool]}})
    async def ready(request: Request) -> Response:
        """Whether the process should get requests."""
        reason = host_of(request).unready
        return json_response({"ready": reason is None}, 503 if reason else 200)

    @routes.post("/repository/index")
    async def repository_index(request: Request) -> list[dict[str, str]]:
        """All models."""
        models = host_of(request).models.values()
        return [{"name": model.name, "version": model.version, "state": "READY", "reason": ""} for model in models]

    async def describe(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
        """Inputs and outputs of a model."""
        return metadata(_find(request, name, version))

    async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, bool]:
        """Whether a model answers."""
        _find(request, name, version)
        return {"ready": True}

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Answer the elements of the inputs."""
        model = _find(request, name, version)
        parsed, elements = parse(await request.body(), request.headers.get(HEADER_LENGTH))
        values = values_of(model, parsed, elements)
        begin(request, model, len(values))
        places = [f"element {index}" for index in range(len(values))]
        answers = await unless_gone(request, model.answer(values, seconds_of(request, model), places))
        return response(model, parsed, answers)

    for prefix, suffix in (("/models/{name}", ""), ("/models/{name}/versions/{version}", "_version")):
        routes.add_api_route(prefix, describe, operation_id=f"v2_describe{suffix}")
        routes.add_api_route(f"{prefix}/ready", model_ready, operation_id=f"v2_model_ready{suffix}")
        routes.add_api_route(f"{prefix}/infer", infer, methods=["POST"], operation_id=f"v2_infer{suffix}")
    return routes
