"""A task's requests and answers as named tensors, as the servers of tensors want them: Open Inference, Triton.

Inputs are strings named like the fields of the task's requests; a field that is no string, such as `schema`, is JSON in
each element. The output `result` is the answer as JSON; fields of it that are single values are outputs of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from zoo_cli import registry
from zoo_cli.base.errors import DataError

RESULT = "result"
_OUTPUT_TYPES = {str: "BYTES", float: "FP32", int: "INT64"}
_NOTHING = {"BYTES": "", "FP32": 0.0, "INT64": -1}
"""What stands in an output where an answer has no such field."""


def _fields(model: type | None) -> dict[str, Any]:
    fields = getattr(model, "model_fields", {})
    return {field.alias or name: field.annotation for name, field in fields.items() if name != "root"}


def _plain(annotation: Any) -> type | None:
    """The type of a single value, or None for anything else."""
    options = [part for part in getattr(annotation, "__args__", (annotation,)) if part is not type(None)]
    return options[0] if len(options) == 1 and options[0] in _OUTPUT_TYPES else None


def input_names(task: str) -> dict[str, bool]:
    """Name of each input -> whether its elements are JSON instead of plain text."""
    return {
        name: _plain(annotation) is not str and getattr(annotation, "__origin__", None) is not Literal
        for name, annotation in _fields(registry.task(task).request).items()
    }


def required_inputs(task: str) -> set[str]:
    """Names of the inputs that no request may leave out."""
    fields = getattr(registry.task(task).request, "model_fields", {})
    return {field.alias or name for name, field in fields.items() if field.is_required()}


def output_types(task: str) -> dict[str, str]:
    """Name of each output -> datatype in the words of the Open Inference Protocol."""
    found = {name: _plain(annotation) for name, annotation in _fields(registry.task(task).answer).items()}
    return {RESULT: "BYTES"} | {name: _OUTPUT_TYPES[kind] for name, kind in found.items() if kind}


def read_element(value: Any, is_json: bool, path: str) -> Any:
    """The field that an element of an input says.

    Args:
        value: the element.
        is_json: see `input_names`.
        path: place of the element, for errors.

    Raises:
        DataError: it begins like JSON and is none (`bad-request`).
    """
    if not is_json or not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        if value.lstrip().startswith(("[", "{")):
            raise DataError("bad-request", "the element is not JSON", path=path) from error
        return value  # a schema of a single name needs no quotes


def rows_of(task: str, columns: Mapping[str, Sequence[Any]], shared: Mapping[str, Any], path: str) -> list[Any]:
    """The task's inputs, one for each element.

    Args:
        task: its name.
        columns: elements of each input.
        shared: fields that all have unless an input says otherwise; what the task does not know is passed over.
        path: place of the inputs, for errors.

    Raises:
        DataError: an input is unknown, inputs differ in length (`bad-request`), or there is no element (`no-text`).
    """
    known = input_names(task)
    common = {name: read_element(value, known[name], name) for name, value in shared.items() if name in known}
    rows: list[dict[str, Any]] = [dict(common) for _ in range(max(map(len, columns.values()), default=0))]
    for index, (name, values) in enumerate(columns.items()):
        if name not in known:
            raise DataError(
                "bad-request",
                "the model has no input {name!r}; it has {names}",
                path=f"{path}[{index}].name",
                name=name,
                names=", ".join(known),
            )
        if len(values) != len(rows):
            raise DataError("bad-request", "the inputs differ in length", path=f"{path}[{index}].shape")
        for row, value in zip(rows, values, strict=True):
            row[name] = read_element(value, known[name], f"{path}[{index}]")
    if not rows:
        raise DataError("no-text", "the request has no elements", path=path)
    return rows


def element_of(answer: Any, name: str, kind: str) -> Any:
    """The element of an output: the whole answer as JSON, or one of its fields."""
    if name == RESULT:
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
    value = answer.get(name)
    return _NOTHING[kind] if value is None else value
