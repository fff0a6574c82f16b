"""Learning from documents segment by segment, with what the model remembers of the earlier segments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import paddle

from zoo_cli.engine.batches import Arrays
from zoo_cli.engine.document_batches import COUNTS, SLOTS, STARTS
from zoo_cli.engine.objectives.base import Losses, to_tensors
from zoo_cli.engine.objectives.supervised import label_count


class Memories:
    """What a model remembers in each slot; implements `zoo_cli.engine.objectives.base.Carrying`.

    Args:
        initial_state: the model's states before the first segment: name -> array without the batch axis.
    """

    def __init__(self, initial_state: Mapping[str, np.ndarray]) -> None:
        self._initial = {name: paddle.to_tensor(array) for name, array in initial_state.items()}
        self._slots: dict[int, dict[str, paddle.Tensor]] = {}

    def begin(self, slots: np.ndarray) -> None:
        """Forget what is remembered in these slots, in which documents start."""
        for slot in slots.tolist():
            self._slots[slot] = self._initial

    def read(self, model: paddle.nn.Layer, inputs: Mapping[str, Any], slots: np.ndarray) -> Any:
        """The model's result for the next segment of some slots, whose states are kept for the next batch.

        Args:
            model: the model.
            inputs: its inputs, a row for each slot.
            slots: their numbers, int64 [B].
        """
        states = [self._slots[slot] for slot in slots.tolist()]
        carried = {name: paddle.stack([state[name] for state in states]) for name in self._initial}
        result = model(**inputs, **carried)
        for place, slot in enumerate(slots.tolist()):
            self._slots[slot] = {
                name: getattr(result, name)[place].detach().astype("float32") for name in self._initial
            }
        return result

    def carried(self) -> dict[str, paddle.Tensor]:
        return {f"{slot}.{name}": value for slot, state in self._slots.items() for name, value in state.items()}

    def carry(self, values: Mapping[str, np.ndarray]) -> None:
        self._slots = {}
        for key, value in values.items():
            slot, _, name = key.partition(".")
            self._slots.setdefault(int(slot), {})[name] = paddle.to_tensor(value)


class Recurrent(Memories):
    """Minimises the `loss` that the model returns, and hands the states that it returns to the next batch.

    Batches are those of `zoo_cli.engine.document_batches`. Rows that do not count are read without gradient. No
    gradient flows from a segment to earlier ones.
    """

    def loss(self, model: paddle.nn.Layer, batch: Arrays, step: int) -> Losses:
        arrays = dict(batch)
        slots, starts, counts = (arrays.pop(name) for name in (SLOTS, STARTS, COUNTS))
        self.begin(slots[starts == 1])
        learnt, only_read = np.flatnonzero(counts), np.flatnonzero(counts == 0)

        def read(rows: np.ndarray) -> Any:
            return self.read(model, to_tensors({name: array[rows] for name, array in arrays.items()}), slots[rows])

        if not len(learnt):
            # The gradient of nothing is zero, yet all parameters must have one.
            return Losses(read(only_read).loss * 0.0, 0.0)
        if len(only_read):
            with paddle.no_grad():
                read(only_read)
        result = read(learnt)
        return Losses(result.loss, label_count({name: array[learnt] for name, array in arrays.items()}))
