"""What a task is: text in, features for the model; outputs of the model in, answers and scores out.

Training, evaluation, prediction, export and the server all call these methods, so an answer cannot depend on where it
is computed. A task makes one *feature* for each sequence that the model has to read and gets back that sequence's
outputs without padding. Which features go into one batch is the caller's choice (`zoo_cli.data.batching`); how they are
put together and cut apart again is `Task.stack` and `Task.unstack`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import BaseModel

from zoo_cli.base.errors import ArtifactError, Location, ZooError
from zoo_cli.base.files import read_json, write_json
from zoo_cli.data.batching import pad, unpad
from zoo_cli.registry import resolve, task
from zoo_cli.tokenizers.base import Tokenizer

Feature = dict[str, np.ndarray]
"""One sequence for the model: input name -> int64 array [S], or [C, S] for the C choices of a question. Labels may have
other shapes, and be floats."""

Outputs = dict[str, np.ndarray]
"""What the model says of one feature: output name -> array without batch axis and padding, [S, ...] or [...]."""

Steps = Generator[list[Any], list[Any], Any]
"""A conversation with the model: yields features, is sent their outputs in order, returns the answer. Tasks whose
answers are written token by token yield requests to generate instead, see `zoo_cli.tasks.generative`."""

Axes = tuple[str | int, ...]
"""Names of an array's axes; a number is an axis of that size."""

Example = TypeVar("Example")
TASK_FILE = "task.json"


class Metrics(ABC, Generic[Example]):
    """Accumulates scores over examples.

    What becomes of an example is found once, and recorded as often as it counts: resampling draws it many times.
    """

    def add(self, example: Example, features: Sequence[Feature], outputs: Sequence[Outputs]) -> None:
        """Count one gold example and what the model said of its features."""
        self.record(self.judge(example, features, outputs))

    @abstractmethod
    def judge(self, example: Example, features: Sequence[Feature], outputs: Sequence[Outputs]) -> Any:
        """What `record` counts of an example; nothing of it depends on other examples."""

    @abstractmethod
    def record(self, verdict: Any) -> None:
        """Count what `judge` found."""

    @abstractmethod
    def result(self) -> dict[str, Any]:
        """Scores by name; numbers, or nested tables of numbers (per label)."""


class Task(ABC, Generic[Example]):
    """One task with its options and tokenizer.

    Args:
        options: the recipe's `task` section, of the class that the task's specification names.
        tokenizer: the model's tokenizer.
        inputs: the model's integer inputs, e.g. ``("input_ids", "token_type_ids", "attention_mask")``; names of
            `states` are passed over.

    Class attributes:
        name: key in `zoo_cli.registry.TASKS`.
        output_names: fields of the model's result that `steps` and `Metrics` need, in order.
        padding: input or label name -> value that fills up shorter rows (0 unless named).
        square: input or label names whose last two axes are both the sequence.
        fixed: input or label names without a sequence axis, such as a vector of classes.
        axes: inputs and outputs of the model whose axes behind the batch differ from those of a text, ``("length",)``:
            name -> names of the axes; a number is an axis of that size.
        sequence_outputs: those of `output_names` whose first axis is the sequence (padding is cut from them).
        states: inputs, and outputs of the same names, that the model hands on from one feature of an example to the
            next one; float arrays without a sequence axis. Most models have none.
        most_at_once: examples whose features and outputs may be held at the same time.
        readings: how often the features of an example are read one after another; the last outputs are the answer.
        label_smoothing: share of the training loss that treats all labels alike (Szegedy et al., 2016), from the
            options of tasks that have it.
    """

    name: str
    output_names: tuple[str, ...]
    sequence_outputs: frozenset[str] = frozenset()
    padding: Mapping[str, float] = {}
    square: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    axes: Mapping[str, Axes] = {}
    states: tuple[str, ...] = ()
    most_at_once: int = 1024
    readings: int = 1
    label_smoothing: float = 0.0

    def __init__(self, options: Any, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        self.options = options
        self.tokenizer = tokenizer
        self.inputs = tuple(name for name in inputs if name not in self.states)

    # -- what the model needs to know -------------------------------------------------------------------------------

    def fit(self, examples: Iterable[Example]) -> None:
        """Learn from the training examples what the options leave open, such as the list of labels.

        Called once before training, and before `model_config`; what it sets is part of `self.options`, so `save`
        writes it to `task.json`. Most tasks have nothing to learn.
        """

    def model_config(self) -> dict[str, Any]:
        """Configuration keys that the task sets, e.g. ``num_labels`` and ``id2label``."""
        return {}

    def fit_model(self, state_shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Learn the shapes of `states` from the model; what it sets is part of `self.options`.

        Args:
            state_shapes: see `zoo_cli.models.config.ModelConfig.state_shapes`.
        """

    def initial_state(self) -> dict[str, np.ndarray]:
        """Each of `states` as it is before the first feature of an example, float32."""
        return {}

    @property
    def graph_inputs(self) -> tuple[str, ...]:
        """All inputs of the model, in the order in which exported graphs take them."""
        return (*self.inputs, *self.states)

    def input_axes(self) -> dict[str, Axes]:
        """Axes behind the batch of each of `graph_inputs`; `states` are floats, all others integers."""
        states = self.initial_state()
        return {
            name: states[name].shape if name in states else self.axes.get(name, ("length",))
            for name in self.graph_inputs
        }

    def comparable(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Which outputs of a batch all back ends agree on: name -> booleans that fit the output from its first axis on.

        They agree on all of an output that is not named.
        """
        return {}

    # -- batches ----------------------------------------------------------------------------------------------------

    def stack(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """Features as one batch, filled up to the same length: name -> array with the batch as first axis."""
        return pad(features, self.padding, square=self.square, fixed=self.fixed)

    def unstack(self, outputs: Mapping[str, np.ndarray], lengths: Sequence[int]) -> list[Outputs]:
        """The outputs of each feature of a batch, without padding.

        Args:
            outputs: for each of `output_names` the model's array, with the batch as first axis.
            lengths: number of tokens S of each feature.
        """
        return unpad(outputs, lengths, self.sequence_outputs)

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[Any], training: bool) -> Iterator[Example]:
        """Examples of the task's own class from those of another that a data format holds, e.g. prompts from annotated
        texts.

        Args:
            examples: what a reader yields.
            training: whether to draw what is drawn for training only, e.g. negative examples.
        """
        yield from examples

    @abstractmethod
    def request_of(self, example: Example) -> dict[str, Any]:
        """The prediction request, as JSON, that asks for what a gold example states."""

    @abstractmethod
    def encode(self, example: Example, training: bool) -> list[Feature]:
        """Features of a gold example, with labels.

        Training may drop, cut or sample; with ``training=False`` nothing that counts for the score is lost.
        """

    @abstractmethod
    def metrics(self) -> Metrics[Example]:
        """A new, empty accumulator."""

    def score_answers(self, examples: Sequence[Any], answer: Callable[[list[Any]], Iterable[Any]]) -> dict[str, Any]:
        """Scores of whole answers, as users get them, where `metrics` scores something smaller; else none.

        Args:
            examples: gold examples as a reader yields them.
            answer: from prediction requests, as JSON, to their answers in order.
        """
        return {}

    def read(self, features: list[Feature]) -> Steps:
        """Have the model read all features of an example, and return their outputs in order."""
        return (yield features)

    def tune(self, metrics: Any) -> None:
        """Set options to what is best for the development data, where the options ask for it.

        Called after each evaluation in training, before its scores are read and the model is saved. Most tasks have
        nothing to tune.

        Args:
            metrics: accumulator from `metrics` that counted the development examples.
        """

    # -- prediction -------------------------------------------------------------------------------------------------

    @abstractmethod
    def request(self, value: Any) -> Any:
        """Check one input of prediction (a string, or the JSON object of an input line) and return it as `steps`
        takes it.

        Raises:
            DataError: the value lacks a field or has a wrong one.
        """

    @abstractmethod
    def steps(self, request: Any) -> Steps:
        """Answer one request. Most tasks yield once; extraction yields once for each level of its schema."""

    def conversations(self, requests: Sequence[Any]) -> list[Steps]:
        """The `steps` of many requests. Tasks that are faster for it prepare them together, such as their tokens."""
        return [self.steps(request) for request in requests]

    # -- the task file ----------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """Write `task.json`."""
        options: BaseModel = self.options
        write_json(
            Path(folder) / TASK_FILE, {"task": self.name, "version": 1, "options": options.model_dump(mode="json")}
        )


def load_task(folder: Path, tokenizer: Tokenizer, inputs: Sequence[str]) -> Task[Any]:
    """The task that a model folder was made for.

    Raises:
        ArtifactError: `task.json` is missing, broken or of a newer version.
    """
    place = Path(folder) / TASK_FILE
    value = read_json(place)
    if not isinstance(value, dict) or value.get("version") != 1:
        raise ArtifactError("format-version", "the task file is not of version 1", at=Location.of(place))
    spec = task(value["task"])
    return resolve(spec.implementation)(spec.options.model_validate(value["options"]), tokenizer, inputs)


def outcomes(steps: Iterable[Steps], run: Any) -> list[Any]:
    """Drive many conversations at once; one that fails does not disturb the others.

    Args:
        steps: the conversations; all of them are open at the same time, so pass a window, not a whole data set.
        run: function from a list of features to the list of their outputs.

    Returns:
        Of each, in order, its answer, or the `ZooError` that its task raised.
    """
    open_steps = list(steps)
    ends: dict[int, Any] = {}
    waiting: dict[int, list[Any]] = {}

    def advance(index: int, outputs: list[Any] | None) -> None:
        try:
            waiting[index] = open_steps[index].send(outputs) if outputs is not None else next(open_steps[index])
        except StopIteration as stop:
            ends[index] = stop.value
        except ZooError as error:
            ends[index] = error

    for index in range(len(open_steps)):
        advance(index, None)
    while waiting:
        batch, waiting = dict(waiting), {}
        outputs = iter(run([feature for features in batch.values() for feature in features]))
        for index, features in batch.items():
            advance(index, [next(outputs) for _ in features])
    return [ends[index] for index in range(len(open_steps))]


def answer_all(steps: Iterable[Steps], run: Any) -> Generator[Any, None, None]:
    """The answers of many conversations in order; arguments as of `outcomes`.

    Raises:
        ZooError: of the first conversation that failed, after the answers before it.
    """
    for end in outcomes(steps, run):
        if isinstance(end, ZooError):
            raise end
        yield end
