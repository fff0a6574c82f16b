"""Running a model on features of any lengths, without gradients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import paddle

from zoo_cli.data.batching import plan_batches
from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.objectives.base import to_tensors
from zoo_cli.tasks.base import Feature, Outputs, Task


class Predictor:
    """A model as a function from features to outputs, e.g. for `zoo_cli.tasks.base.answer_all`.

    Args:
        model: the model; it is put into evaluation mode by each call.
        task: names the outputs and says how features are padded.
        batch_size: most sequences in a forward pass.
        batch_tokens: most tokens in a forward pass, padding counted; overrules `batch_size`.
    """

    def __init__(
        self, model: paddle.nn.Layer, task: Task[Any], batch_size: int = 32, batch_tokens: int | None = None
    ) -> None:
        self._model = model
        self._task = task
        self._limits = (None if batch_tokens else batch_size, batch_tokens)

    def __call__(self, features: Sequence[Feature]) -> list[Outputs]:
        """The outputs of each feature, in order, without padding."""
        outputs: list[Outputs] = [{}] * len(features)
        for indices, _, result in self.batches(features):
            for index, row in zip(indices, self.rows(result, [features[i] for i in indices]), strict=True):
                outputs[index] = row
        return outputs

    def batches(self, features: Sequence[Feature]) -> Iterator[tuple[list[int], Arrays, Any]]:
        """Run the model on batches of features of like length, the longest first.

        Yields:
            For each batch the indices of its features, its input, and the model's result object.

        Raises:
            MemoryLimitError: memory did not suffice (`out-of-memory`).
        """
        self._model.eval()
        shapes = np.array([feature["input_ids"].shape for feature in features], np.int64)
        for indices in plan_batches(shapes, *self._limits):
            batch = self._task.stack([features[index] for index in indices])
            with paddle.no_grad(), explain_memory(batch):
                result = self._model(**to_tensors(batch))
            yield indices, batch, result

    def rows(self, result: Any, features: Sequence[Feature]) -> list[Outputs]:
        """The task's outputs of each feature of a batch, copied, so that the batch can be freed."""
        arrays = {name: getattr(result, name).numpy() for name in self._task.output_names}
        rows = self._task.unstack(arrays, [feature["input_ids"].shape[-1] for feature in features])
        return [{name: array.copy() for name, array in row.items()} for row in rows]
