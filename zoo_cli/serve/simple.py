"""PaddleNLP's SimpleServing: `POST /{name}` with `data` and `parameters`, so that its clients go on unchanged.

Agreed with PaddleNLP 2.8: unknown keys beside `data` and `parameters` are refused; unknown parameters are not. Classes
come as numbers with confidences, what was extracted as Taskflow writes it, named entities as the server of its ERNIE
3.0 example does. `batch_size` has no meaning here, since batches are made across requests. PaddleNLP's handlers of
other tasks give raw logits; here they give the answers of `/v1/<task>`.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict

from zoo_cli.serve.exchange import begin, host_of, json_response, route_for, seconds_of, unless_gone
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.served import ServedModel
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.base import Task

_FIELDS = ("text", "text_pair", "question", "context", "choices")
_PARAMETERS = {"schema": "schema", "schema_lang": "schema_lang", "position_prob": "position_threshold"}


class SimpleRequest(RequestModel):
    """What SimpleServing's clients send."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"data": {"text": ["王芳在北京大学工作。"]}, "parameters": {"schema": ["人物", "组织机构"]}}]
        }
    )

    data: dict[str, Any]
    """The inputs: `text`, a string or a list of them, and where the task takes it `text_pair`."""
    parameters: dict[str, Any] | None = None
    """`schema`, `max_seq_len`, `prob_limit`, ..."""


def inputs_of(body: SimpleRequest) -> list[dict[str, Any]]:
    """One input for each text.

    Raises:
        Refusal: lists of texts differ in length (`bad-request`), or there is nothing to read (`no-text`).
    """
    parameters = body.parameters or {}
    columns = {name: body.data[name] for name in _FIELDS if body.data.get(name) is not None}
    if not columns:
        raise Refusal("no-text", "data has no text", field="data.text")
    lists = {name: value if isinstance(value, list) else [value] for name, value in columns.items()}
    count = max(map(len, lists.values()))
    for name, values in lists.items():
        if len(values) != count:
            raise Refusal("bad-request", "the fields of data differ in length", field=f"data.{name}")
    rows = [{name: values[index] for name, values in lists.items()} for index in range(count)]
    if parameters.get("is_split_into_words"):
        rows = [{**row, "tokens": row.pop("text", None)} for row in rows]
    shared = {own: parameters[key] for key, own in _PARAMETERS.items() if parameters.get(key) is not None}
    return [{**row, **shared} for row in rows]


def task_of(model: ServedModel, parameters: dict[str, Any]) -> Task[Any]:
    """The model's task with the options that the parameters ask for.

    Raises:
        Refusal: a parameter has a wrong value (`bad-parameter`).
    """
    options: dict[str, Any] = {}
    if "max_seq_len" in parameters:
        options["max_length"] = _length(parameters["max_seq_len"], model.task.options.max_length)
    if "prob_limit" in parameters and getattr(model.task.options, "kind", None) == "multi_label":
        options |= {"threshold": _share(parameters["prob_limit"]), "thresholds": {}}
    return model.variant(**options) if options else model.task


def _length(value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise Refusal("bad-parameter", "max_seq_len must be a whole number above 0", field="parameters.max_seq_len")
    return min(value, most)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise Refusal("bad-parameter", "prob_limit must be a number from 0 to 1", field="parameters.prob_limit")
    return float(value)


def result_of(task: Task[Any], answers: list[Any]) -> Any:
    """The answers as SimpleServing writes them."""
    if task.name == "token_classification":
        return {"value": [[_entity(entry) for entry in answer["entities"]] for answer in answers]}
    if task.name != "sequence_classification":
        return answers
    if task.options.kind == "regression":
        return {"logits": [[answer["score"]] for answer in answers]}
    number = {name: index for index, name in enumerate(task.options.labels)}
    if task.options.kind == "single_label":
        return {
            "label": [number[answer["label"]] for answer in answers],
            "confidence": [answer["score"] for answer in answers],
        }
    chosen = [sorted((number[entry["label"]], entry["score"]) for entry in answer["labels"]) for answer in answers]
    return {
        "label": [[label for label, _ in entries] for entries in chosen],
        "confidence": [[score for _, score in entries] for entries in chosen],
    }


def _entity(entry: dict[str, Any]) -> dict[str, Any]:
    return {"pos": [entry["start"], entry["end"]], "entity": entry["text"], "label": entry["label"]}


def _must_lead_somewhere(request: Request) -> None:
    host_of(request).find_route(request.path_params["name"])


def router() -> APIRouter:
    """The endpoint of all names; it must be the last one, since it takes every path."""
    routes = APIRouter(tags=["SimpleServing"])

    async def simple_serving(request: Request, name: str, body: SimpleRequest) -> Response:
        """Answer a client of PaddleNLP's SimpleServing."""
        model = host_of(request).find_route(name)
        values = inputs_of(body)
        begin(request, model, len(values))
        task = task_of(model, body.parameters or {})
        places = ["data"] * len(values)
        answers = await unless_gone(request, model.answer(values, seconds_of(request, model), places, task))
        return json_response({"result": result_of(task, answers)}, most=model.limits.answer_bytes)

    routes.add_api_route(
        "/{name:path}",
        simple_serving,
        methods=["POST"],
        operation_id="simple_serving",
        route_class_override=route_for(SimpleRequest, _must_lead_somewhere),
    )
    return routes
