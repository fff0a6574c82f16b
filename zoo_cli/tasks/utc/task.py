"""Unified text classification with PaddleNLP's UTC.

The model reads ``[CLS] [O-MASK] choice [O-MASK] choice ... [SEP] text [SEP] second text [SEP]``, as PaddleNLP's
`UTCTemplate` puts it together: every choice begins at position 1 and sees no other choice, and positions go on behind
the longest. The marker ``[O-MASK]`` of a choice, compared with the first ``[SEP]``, says whether the choice holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.data.examples import OptionExample, TextExample
from zoo_cli.tasks.base import Axes, Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.scores import ratio, sigmoid
from zoo_cli.tasks.token_classification.tags import Chunk, ChunkCounts
from zoo_cli.tasks.utc.spec import UTCOptions
from zoo_cli.tokenizers.pretrained import PretrainedTokenizer

MARKER = "[O-MASK]"
"""Token in front of each choice."""

INPUTS = ("input_ids", "token_type_ids", "position_ids", "attention_mask", "omask_positions", "cls_positions")
"""What the model takes: four of [S], [S], [S] and [1, S, S], the places [n] of the markers, and that of the [SEP]."""


class UTCTask(Task[OptionExample]):
    """Choices that hold for a text; any number of them.

    Training data have choices of their own in each row, or labels, of which all are the choices of every row. Labels of
    features are float32 [n], zeros and ones.

    Answers are ``{"predictions": [{"label", "score"}, ...]}``, with ``"truncated": true`` where a text was cut.
    """

    name = "utc"
    output_names = ("logits",)
    square = frozenset({"attention_mask"})
    axes: Mapping[str, Axes] = {
        "attention_mask": (1, "length", "length"),
        "omask_positions": ("choices",),
        "cls_positions": (),
        "logits": ("choices",),
    }
    options: UTCOptions

    def __init__(self, options: UTCOptions, tokenizer: PretrainedTokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, INPUTS)
        self.padding = {"input_ids": tokenizer.pad_token_id, "labels": -100}
        self._marker = tokenizer.convert_token_to_id(MARKER)
        if self._marker == tokenizer.unk_token_id:
            raise UsageError(
                "no-marker",
                "the vocabulary has no token {marker}",
                fix="use the vocabulary of a UTC checkpoint, or add the token to yours",
                marker=MARKER,
            )

    @property
    def choices(self) -> list[str]:
        """What to choose from where nothing else is said.

        Raises:
            UsageError: neither the options nor `fit` gave it (`no-labels`).
        """
        if self.options.choices is None:
            raise UsageError(
                "no-labels", "there is nothing to choose from", fix="name task.choices, or ask with choices"
            )
        return self.options.choices

    def fit(self, examples: Iterable[TextExample | OptionExample]) -> None:
        """Take the choices from the labels of the training examples, where these have no choices of their own."""
        if self.options.choices is None:
            names = {name for example in examples if isinstance(example, TextExample) for name in _names(example)}
            if names:
                self.options = self.options.model_copy(update={"choices": sorted(names)})

    # -- reading ----------------------------------------------------------------------------------------------------

    def _encode(self, example: OptionExample) -> tuple[Feature, bool]:
        """Inputs of a text with its choices, and whether a text was cut.

        Raises:
            DataError: the choices leave no room for the texts (`no-room`).
        """
        texts = [*example.options, example.text, example.text_pair or ""]
        *options, first, second = (each.ids for each in self.tokenizer.encode_batch(texts, add_special_tokens=False))
        marked = [np.concatenate([[self._marker], ids]) for ids in options]
        width = sum(map(len, marked))
        room = self.options.max_length - width - 4  # [CLS] and three [SEP]
        if room < 1:
            raise DataError(
                "no-room",
                "the choices take {width} of {most} tokens and leave no room for the text",
                at=example.source,
                fix="ask for fewer choices at once, or raise max_length",
                width=width,
                most=self.options.max_length,
            )
        cut = len(first) + len(second) > room
        if cut:
            half = room // 2
            if len(second) <= half:
                first = first[: room - len(second)]
            elif len(first) <= half:
                second = second[: room - len(first)]
            else:
                first, second = first[:half], second[:half]
        start = 1 + max(map(len, marked))  # position behind the longest choice
        rest = 2 + len(first) + len(second)
        sep, cls = [self.tokenizer.sep_token_id], [self.tokenizer.cls_token_id]
        owners = np.repeat(np.arange(len(marked)), [len(ids) for ids in marked])
        length = width + rest + 2
        sees = np.ones((1, length, length), np.int64)
        sees[0, 1 : 1 + width, 1 : 1 + width] = owners[:, None] == owners
        feature = {
            "input_ids": np.concatenate([cls, *marked, sep, first, sep, second, sep]),
            "token_type_ids": np.repeat([0, 1, 0, 1, 0], [1, width, 1 + len(first), 1 + len(second), 1]),
            # The last [SEP] is at position 0 and of type 0 like [CLS], as PaddleNLP adds both in the end.
            "position_ids": np.concatenate(
                [[0], *(1 + np.arange(len(ids)) for ids in marked), start + np.arange(rest), [0]]
            ),
            "attention_mask": sees,
            "omask_positions": 1 + np.flatnonzero(np.diff(owners, prepend=-1)),
            "cls_positions": np.array(1 + width),
        }
        return {name: array.astype(np.int64) for name, array in feature.items()}, cut

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[Any], training: bool) -> Iterator[OptionExample]:
        """Texts with labels become texts with choices."""
        for example in examples:
            if isinstance(example, OptionExample):
                yield example
                continue
            names = _names(example)
            unknown = [name for name in names if name not in self.choices]
            if unknown:
                raise DataError(
                    "unknown-label",
                    "{label!r} is not among the choices",
                    at=example.source,
                    fix="add it to task.choices; they are {labels}",
                    label=unknown[0],
                    labels=", ".join(self.choices),
                )
            labels = [self.choices.index(name) for name in names]
            yield OptionExample(example.text, example.text_pair, self.choices, labels, example.id, example.source)

    def request_of(self, example: OptionExample) -> dict[str, Any]:
        pair = {} if example.text_pair is None else {"text_pair": example.text_pair}
        return {"text": example.text, **pair, "choices": example.options}

    def encode(self, example: OptionExample, training: bool) -> list[Feature]:
        if example.labels is None:
            raise DataError("no-label", "the text has no labels", at=example.source)
        labels = np.zeros(len(example.options), np.float32)
        labels[example.labels] = 1
        return [{**self._encode(example)[0], "labels": labels}]

    def metrics(self) -> UTCMetrics:
        return UTCMetrics(self)

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> OptionExample:
        fields = {"text": value} if isinstance(value, str) else value
        if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
            raise DataError("bad-request", "expected a text, or an object with the string 'text'")
        pair, choices = fields.get("text_pair"), fields.get("choices")
        if pair is not None and not isinstance(pair, str):
            raise DataError("bad-request", "'text_pair' must be a string")
        if choices is None:
            choices = self.choices
        if not isinstance(choices, list) or not choices or not all(isinstance(choice, str) for choice in choices):
            raise DataError("bad-request", "'choices' must be a list of strings")
        return OptionExample(fields["text"], pair, choices)

    def steps(self, request: OptionExample) -> Steps:
        feature, cut = self._encode(request)
        outputs = yield [feature]
        chosen = [
            {"label": label, "score": score}
            for label, score in zip(request.options, self.probabilities(request, outputs), strict=True)
            if score > self.options.threshold
        ]
        return {"predictions": chosen, "truncated": True} if cut else {"predictions": chosen}

    def probabilities(self, example: OptionExample, outputs: Sequence[Outputs]) -> list[float]:
        """Probability of each choice."""
        return sigmoid(outputs[0]["logits"][: len(example.options)]).tolist()


def _names(example: TextExample) -> list[str]:
    """The labels of a text.

    Raises:
        DataError: there is none (`no-label`), or it is a number.
    """
    label = example.label
    if label is None or isinstance(label, float):
        raise DataError("no-label", "the text has no label", at=example.source)
    return label if isinstance(label, list) else [label]


class UTCMetrics(Metrics[OptionExample]):
    """``accuracy`` (share of texts whose choices are all right), and precision, recall and F1 of choices."""

    def __init__(self, task: UTCTask) -> None:
        self.task = task
        self._counts = ChunkCounts()
        self._right = self._count = 0

    def judge(
        self, example: OptionExample, features: Sequence[Feature], outputs: Sequence[Outputs]
    ) -> list[set[Chunk]]:
        scores = self.task.probabilities(example, outputs)
        gold = set(example.labels or ())
        predicted = {index for index, score in enumerate(scores) if score > self.task.options.threshold}
        return [{(example.options[index], index, index) for index in each} for each in (gold, predicted)]

    def record(self, verdict: list[set[Chunk]]) -> None:
        gold, predicted = verdict
        self._right += gold == predicted
        self._count += 1
        self._counts.add(gold, predicted)

    def result(self) -> dict[str, Any]:
        return {"accuracy": float(ratio(self._right, self._count)), **self._counts.result()}
