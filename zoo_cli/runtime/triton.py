"""A bundle's task inside of Triton's Python back end: text in, answers out, the graph run by another of its models.

`zoo export --layout triton` writes the model repository whose `model.py` takes `TritonPythonModel` from here. What
Triton gives such models to work with is its module `triton_python_backend_utils`
(https://github.com/triton-inference-server/python_backend), which exists inside of Triton only.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from zoo_cli import tokenizers
from zoo_cli.base.errors import ZooError
from zoo_cli.runtime import tensors
from zoo_cli.runtime.loading import Bundle
from zoo_cli.runtime.pipeline import Pipeline
from zoo_cli.tasks.base import load_task, outcomes

TASK_FOLDER = "task"
"""Folder of the tokenizer and the task, beside `model.py`."""
GRAPH, INPUTS, OUTPUTS = "graph", "graph_inputs", "graph_outputs"
"""Parameters in the model's configuration: name of the model that runs the graph, names of its tensors in order."""
_ARRAYS = {"BYTES": np.object_, "FP32": np.float32, "INT64": np.int64}


class GraphModel:
    """The graph, which another model of the same Triton runs: a `zoo_cli.runtime.backends.Backend`.

    Args:
        utils: the module `triton_python_backend_utils`.
        name: of the other model.
        input_names: of the graph.
        output_names: of the graph, in order.
        max_rows: that the other model takes at once.
    """

    def __init__(
        self, utils: Any, name: str, input_names: tuple[str, ...], output_names: list[str], max_rows: int
    ) -> None:
        self._utils = utils
        self._name = name
        self.input_names = input_names
        self._output_names = output_names
        self._max_rows = max_rows

    def clone(self) -> GraphModel:
        """Itself, which threads may share."""
        return self

    def __call__(self, batch: dict[str, np.ndarray]) -> list[np.ndarray]:
        count = len(batch[self.input_names[0]])
        parts = [self._run(batch, slice(start, start + self._max_rows)) for start in range(0, count, self._max_rows)]
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]

    def _run(self, batch: dict[str, np.ndarray], rows: slice) -> list[np.ndarray]:
        utils = self._utils
        # Triton knows no tensors that have nothing but the batch axis.
        arrays = {name: batch[name][rows] for name in self.input_names}
        arrays = {name: array[:, None] if array.ndim == 1 else array for name, array in arrays.items()}
        request = utils.InferenceRequest(
            model_name=self._name,
            requested_output_names=self._output_names,
            inputs=[utils.Tensor(name, np.ascontiguousarray(array)) for name, array in arrays.items()],
            preferred_memory=utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU, 0),
        )
        response = request.exec()
        if response.has_error():
            raise utils.TritonModelException(response.error().message())
        return [utils.get_output_tensor_by_name(response, name).as_numpy() for name in self._output_names]


class TritonPythonModel:
    """The model that clients ask, as Triton's Python back end wants it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer and the task.

        Args:
            args: by Triton: ``model_config`` as JSON, ``model_repository`` and ``model_version``.
        """
        self._utils: Any = importlib.import_module("triton_python_backend_utils")
        config = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in config["parameters"].items()}
        folder = Path(args["model_repository"]) / args["model_version"] / TASK_FOLDER
        graph = GraphModel(
            self._utils,
            parameters[GRAPH],
            tuple(parameters[INPUTS].split(",")),
            parameters[OUTPUTS].split(","),
            int(config["max_batch_size"]),
        )
        task = load_task(folder, tokenizers.load(folder), graph.input_names)
        self._pipeline: Pipeline = Bundle(folder, args["model_version"], task, graph, "triton", "").pipeline()

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests together: their sequences share batches, and each gets its own response or error.

        Args:
            requests: by Triton.
        """
        task, rows = self._pipeline.task, [self._rows(request) for request in requests]
        ends = iter(self._ends(task, [row for part in rows if isinstance(part, list) for row in part]))
        responses = []
        for request, part in zip(requests, rows, strict=True):
            answers = [next(ends) for _ in part] if isinstance(part, list) else [part]
            error = next((answer for answer in answers if isinstance(answer, ZooError)), None)
            responses.append(self._refusal(error) if error else self._response(request, answers))
        return responses

    def _rows(self, request: Any) -> list[Any] | ZooError:
        """The task's inputs that a request has, checked; or what is wrong with them."""
        task = self._pipeline.task
        columns = {}
        for name in tensors.input_names(task.name):
            tensor = self._utils.get_input_tensor_by_name(request, name)
            if tensor is not None:
                columns[name] = [_text(value) for value in tensor.as_numpy().reshape(-1)]
        try:
            return [task.request(row) for row in tensors.rows_of(task.name, columns, {}, "inputs")]
        except ZooError as error:
            return error

    def _ends(self, task: Any, asked: list[Any]) -> list[Any]:
        ends: list[Any] = []
        for start in range(0, len(asked), task.most_at_once):
            window = asked[start : start + task.most_at_once]
            ends += outcomes(task.conversations(window), self._pipeline.run)
        return ends

    def _response(self, request: Any, answers: list[Any]) -> Any:
        wanted = set(request.requested_output_names())
        outputs = []
        for name, kind in tensors.output_types(self._pipeline.task.name).items():
            if name in wanted:
                values = [tensors.element_of(answer, name, kind) for answer in answers]
                values = [value.encode() for value in values] if kind == "BYTES" else values
                outputs.append(self._utils.Tensor(name, np.array(values, _ARRAYS[kind]).reshape(-1, 1)))
        return self._utils.InferenceResponse(output_tensors=outputs)

    def _refusal(self, error: ZooError) -> Any:
        message = f"{error.message} [{error.code}]"
        return self._utils.InferenceResponse(output_tensors=[], error=self._utils.TritonError(message))


def _text(value: Any) -> str:
    """An element of a BYTES tensor; what is not UTF-8 loses the bytes that are not."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
