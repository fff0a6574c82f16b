"""The teacher: asked anew for each batch, or once for each text with its answers kept on disk.

A teacher that is a bundle is asked through its ONNX graph where logits are all that is compared, which is faster on a
CPU; for all else the model shows what is inside of it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from zoo_cli.base.errors import PlatformError
from zoo_cli.base.files import atomic_folder, read_json, sha256_file, write_json
from zoo_cli.base.progress import progress
from zoo_cli.data.dataset import FeatureStore
from zoo_cli.distill.features import Adaptor, Answer, Key, gives_logits
from zoo_cli.engine.batches import Arrays, Batch, FeatureBatches
from zoo_cli.engine.guards import explain_memory
from zoo_cli.engine.setup import Assembly
from zoo_cli.models.checkpoint import CONFIG, PDPARAMS, SAFETENSORS
from zoo_cli.runtime.backends import Backend, OnnxBackend, graphs

logger = logging.getLogger(__name__)

_PREFIX = "teacher."
_INDEX = "index.json"


class Teacher:
    """A model that answers without learning.

    Args:
        assembly: the fine-tuned model.
        folder: where it was read from, a model folder or a bundle.
        inputs: names of its inputs.
    """

    def __init__(self, assembly: Assembly, folder: Path, inputs: Sequence[str]) -> None:
        self.assembly = assembly
        self.inputs = inputs
        files = [folder / name for name in (CONFIG, SAFETENSORS, PDPARAMS)]
        self._digest = "".join(sha256_file(file) for file in files if file.is_file())
        self._graph = folder if ("onnx", "fp32") in graphs(folder) and gives_logits(assembly.task) else None

    def graph(self, features: Collection[Key]) -> Backend | None:
        """The graph that answers with these features, if there is one and it is faster than the model."""
        if self._graph is None or set(features) != {Key("logits")} or paddle.device.get_device() != "cpu":
            return None
        try:
            return OnnxBackend(self._graph)
        except PlatformError as error:
            logger.info("the graph of %s is not used: %s", self._graph, error)
            return None

    def asked(self, features: Collection[Key]) -> AskedTeacher:
        """The teacher as a function from batches to these features."""
        return AskedTeacher(self, features)

    def identity(self, features: Collection[Key], data: str) -> str:
        """A hash of all that its answers depend on.

        Args:
            features: what it is asked for.
            data: fingerprint of the training set.
        """
        return hashlib.sha256(json.dumps([self._digest, data, sorted(map(str, features))]).encode()).hexdigest()


class AskedTeacher:
    """A teacher and what it is asked for; see `Teacher.asked`."""

    def __init__(self, teacher: Teacher, features: Collection[Key]) -> None:
        self._model = teacher.assembly.model
        self._names = teacher.assembly.task.output_names
        self._adaptor = Adaptor(self._model, teacher.assembly.task, teacher.inputs, features)
        self._graph = teacher.graph(features)

    def __call__(self, batch: Arrays) -> Answer:
        """The answer to a batch, in evaluation mode and without gradients."""
        if self._graph is not None:
            outputs = self._graph(dict(batch))
            return {Key(name): paddle.to_tensor(array) for name, array in zip(self._names, outputs, strict=True)}
        self._model.eval()
        with paddle.no_grad():
            return self._adaptor(batch)


# -- answers on disk --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """The arrays of one feature, one after another in a file of float32."""

    values: np.ndarray
    offsets: np.ndarray
    shapes: np.ndarray

    def __getitem__(self, row: int) -> np.ndarray:
        shape = self.shapes[row]
        start = self.offsets[row]
        return self.values[start : start + shape.prod()].reshape(shape)


class StoredAnswers:
    """Answers to every feature of a training set, mapped into memory.

    Args:
        folder: what `store_answers` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self._columns = {
            name: _Column(
                np.memmap(folder / f"{name}.f32", np.float32, "r"),
                np.load(folder / f"{name}.offsets.npy"),
                np.load(folder / f"{name}.shapes.npy"),
            )
            for name in read_json(folder / _INDEX)
        }

    def take(self, rows: np.ndarray) -> Arrays:
        """The answers to a batch, filled up with zeros: ``teacher.<feature>.<layer>`` -> array."""
        return {_PREFIX + name: _stack([column[row] for row in rows]) for name, column in self._columns.items()}


def _stack(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays [...] of any shapes as one, [B, ...]."""
    batch = np.zeros(
        (len(arrays), *(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True))), np.float32
    )
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(map(slice, array.shape))] = array
    return batch


def stored_answer(batch: Arrays) -> Answer:
    """The stored answer that a batch brings; empty if it brings none."""
    answer: Answer = {}
    for name, array in batch.items():
        if name.startswith(_PREFIX):
            feature, _, layer = name.removeprefix(_PREFIX).rpartition(".")
            answer[Key(feature, int(layer))] = paddle.to_tensor(array)
    return answer


class TaughtBatches(FeatureBatches):
    """Batches that bring the teacher's answers along; see `FeatureBatches` for the other arguments.

    Args:
        answers: to the same features.
    """

    def __init__(self, answers: StoredAnswers, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._answers = answers

    def load(self, epoch: int, indices: np.ndarray) -> Batch:
        batch = super().load(epoch, indices)
        return Batch({**batch.arrays, **self._answers.take(indices)}, batch.tokens)


def needed_bytes(teacher: AskedTeacher, features: FeatureStore, pad: Any) -> int:
    """About how much space the answers to all features need: those to the longest one, scaled by lengths."""
    lengths = features.shapes().prod(axis=1)
    longest = int(lengths.argmax())
    answer = teacher(pad([features[longest]]))
    relative = lengths / lengths[longest]
    total = 0.0
    for key, value in answer.items():
        total += 4 * math.prod(value.shape) * (relative ** (2 if key.feature == "attention" else 1)).sum()
    return int(total)


def store_answers(
    teacher: AskedTeacher, features: FeatureStore, pad: Any, folder: Path, batch_size: int
) -> StoredAnswers:
    """Ask the teacher once for each feature, or open what is stored already.

    Args:
        teacher: who is asked.
        features: the training set.
        pad: stacks features.
        folder: where to write; named after `Teacher.identity`.
        batch_size: most features in one batch; all of a batch have the same length, so that nothing is padded.

    Raises:
        MemoryLimitError: memory did not suffice.
    """
    if not (folder / _INDEX).is_file():
        with atomic_folder(folder) as partial, progress("Asking the teacher", len(features)) as show:
            writer = _Writer(partial, len(features))
            for rows in _alike(features, batch_size):
                batch = pad(features.take(rows))
                with explain_memory(batch):
                    answer = teacher(batch)
                writer.add(rows, answer)
                show(len(rows))
            writer.close()
        logger.info("the teacher's answers are kept in %s", folder)
    return StoredAnswers(folder)


def _alike(features: FeatureStore, batch_size: int) -> Iterable[np.ndarray]:
    """Batches of features of the same shape, the longest first."""
    shapes, groups = np.unique(features.shapes(), axis=0, return_inverse=True)
    for group in reversed(range(len(shapes))):
        rows = np.flatnonzero(groups.reshape(-1) == group)
        yield from np.split(rows, range(batch_size, len(rows), batch_size))


class _Writer:
    """Appends answers to one file a feature."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._offsets: dict[str, np.ndarray] = {}
        self._shapes: dict[str, np.ndarray] = {}
        self._sizes: dict[str, int] = {}

    def add(self, rows: np.ndarray, answer: Answer) -> None:
        """Append the answers to some features."""
        for key, tensor in answer.items():
            name, values = str(key), tensor.astype("float32").numpy()
            if name not in self._sizes:
                self._offsets[name] = np.zeros(self._count, np.int64)
                self._shapes[name] = np.zeros((self._count, values.ndim - 1), np.int64)
                self._sizes[name] = 0
            size = math.prod(values.shape[1:])
            self._offsets[name][rows] = self._sizes[name] + size * np.arange(len(rows))
            self._shapes[name][rows] = values.shape[1:]
            self._sizes[name] += values.size
            with (self._folder / f"{name}.f32").open("ab") as file:
                file.write(np.ascontiguousarray(values).tobytes())

    def close(self) -> None:
        """Write where each answer stands."""
        for name in self._sizes:
            np.save(self._folder / f"{name}.offsets.npy", self._offsets[name])
            np.save(self._folder / f"{name}.shapes.npy", self._shapes[name])
        write_json(self._folder / _INDEX, list(self._sizes))
