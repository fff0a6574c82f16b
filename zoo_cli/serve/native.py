"""`POST /v1/<task>`: typed requests and answers of every task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, create_model

from zoo_cli import registry
from zoo_cli.base.errors import ZooError
from zoo_cli.registry import TaskSpec
from zoo_cli.runtime.pipeline import with_parameters
from zoo_cli.serve.exchange import begin, host_of, json_response, route_for, seconds_of, unless_gone
from zoo_cli.serve.jobs import WrittenAnswer
from zoo_cli.serve.streaming import Events, event, event_response
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.decoding_options import GenerativeOptions


class Envelope(BaseModel):
    """What comes with every answer."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    """Name of the model that answered."""
    version: str
    """Its version: a hash of its files."""


_STREAM: Any = (
    bool,
    Field(
        False,
        description="Send the text while it is written, as server-sent events: an object with a `piece` of the text "
        "each, and in the end that of an answer without `stream`, or an `error`.",
    ),
)
_MODEL: Any = (str | None, Field(None, description="Name of the model; by default the first one of the task."))


def _count(value: Any) -> str:
    return "many" if isinstance(value, dict) and "inputs" in value else "one"


def request_body(spec: TaskSpec) -> Any:
    """The type of the request's body: one input, or `inputs` with fields that they share."""
    assert spec.request is not None
    single: type[BaseModel] = spec.request
    name = single.__name__.removesuffix("Input")
    written: dict[str, Any] = {"stream": _STREAM} if issubclass(spec.options, GenerativeOptions) else {}
    one = create_model(f"{name}Request", __base__=single, model=_MODEL, **written)
    shared: dict[str, Any] = {
        key: (field.annotation, field) for key, field in single.model_fields.items() if not field.is_required()
    }
    many = create_model(
        f"{name}Requests",
        __base__=RequestModel,
        inputs=(list[single], Field(min_length=1, description="The inputs; the other fields are shared by all.")),  # type: ignore[valid-type]
        model=_MODEL,
        **shared,
    )
    return Annotated[Annotated[one, Tag("one")] | Annotated[many, Tag("many")], Discriminator(_count)]


def answer_body(spec: TaskSpec) -> Any:
    """The type of the response's body."""
    assert spec.answer is not None
    name = spec.answer.__name__
    one = create_model(name + "Response", __base__=Envelope, answer=(spec.answer, Field(description="The answer.")))
    answers = (list[spec.answer], Field(description="The answers, in the order of the inputs."))  # type: ignore[name-defined]
    return one | create_model(name + "sResponse", __base__=Envelope, answers=answers)


def make_endpoint(spec: TaskSpec, body_type: Any) -> Callable[..., Awaitable[Response]]:
    """The function that answers requests of a task."""

    async def answer(request: Request, body: BaseModel) -> Response:
        fields = body.model_dump(exclude_unset=True, by_alias=True)
        model = host_of(request).find(fields.pop("model", None), spec.name)
        stream = fields.pop("stream", False)
        many = "inputs" in fields
        if many:
            inputs = fields.pop("inputs")
            values = [with_parameters(value, fields) for value in inputs]
            places = [f"inputs[{index}]" for index in range(len(values))]
        else:
            values, places = [fields], [""]
        begin(request, model, len(values))
        envelope = {"model": model.name, "version": model.version}
        if stream:
            written = model.stream(fields, seconds_of(request, model), "")
            return await event_response(request, _events(written, envelope))
        answers = await unless_gone(request, model.answer(values, seconds_of(request, model), places))
        content = {"answers": answers} if many else {"answer": answers[0]}
        return json_response({**content, **envelope}, most=model.limits.answer_bytes)

    answer.__annotations__["body"] = body_type
    return answer


async def _events(written: WrittenAnswer, envelope: dict[str, str]) -> Events:
    try:
        async for piece in written:
            yield event({"piece": piece})
        yield event({"answer": written.answer, **envelope})
    finally:
        written.close()


def fault_names(spec: TaskSpec) -> Callable[[Request, Any], str]:
    """Codes of bodies that lack what every input must have: those with which the task itself refuses such an input, as
    it does for `zoo predict`."""
    assert spec.request is not None
    needed = {field.alias or name for name, field in spec.request.model_fields.items() if field.is_required()}

    def name_fault(request: Request, detail: Any) -> str:
        field, missing = detail["loc"][-1] if detail["loc"] else None, detail["type"] == "missing"
        tasks = (model.task for model in host_of(request).models.values() if model.task.name == spec.name)
        task = next(tasks, None)
        if task is not None and field in needed and (missing or detail["input"] is None):
            try:
                task.request({} if missing else {field: None})
            except ZooError as error:
                return error.code
        return "bad-request"

    return name_fault


def router() -> APIRouter:
    """Endpoints of all tasks that say what their requests look like."""
    routes = APIRouter(tags=["tasks"])
    for name in registry.TASKS:
        spec = registry.task(name)
        if spec.request is None or spec.answer is None:
            continue
        body = request_body(spec)
        routes.add_api_route(
            f"/v1/{name}",
            make_endpoint(spec, body),
            route_class_override=route_for(body, name_fault=fault_names(spec)),
            methods=["POST"],
            name=name,
            operation_id=name,
            summary=(spec.answer.__doc__ or "").strip().splitlines()[0],
            response_model=answer_body(spec),
        )
    return routes
