"""What the tasks whose answers are written token by token have in common.

Their conversations (`Task.steps`) do not yield features for one forward pass each, but requests of the decoding
engine, `zoo_cli.decoding.engine.Request`, and are sent the sequences that came out. `zoo_cli.runtime.generation` runs
them, on a paddle model or on exported graphs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import ValidationError

from zoo_cli.base.errors import DataError, UsageError
from zoo_cli.decoding.engine import Prompt, Request
from zoo_cli.decoding.options import GenerationOptions
from zoo_cli.decoding.search import Generated
from zoo_cli.tasks.api import RequestModel
from zoo_cli.tasks.base import Example, Feature, Metrics, Outputs, Steps, Task
from zoo_cli.tasks.decoding_options import LEAST_PROMPT, DecodingSection, GenerativeOptions, PrefixOptions
from zoo_cli.tasks.features import IGNORE_INDEX
from zoo_cli.tasks.joining import text_of
from zoo_cli.tasks.text_scores import ComparedText, TextScores, compare_text
from zoo_cli.tokenizers.base import Tokenizer
from zoo_cli.tokenizers.prefix_lm import HIDDEN

Input = TypeVar("Input", bound=RequestModel)
SPECIAL_IDS = ("unk_token_id", "pad_token_id", "bos_token_id", "eos_token_id", "mask_token_id")


def require_generative(task: Task[Any]) -> None:
    """Refuse a task whose answers are no generated texts.

    Raises:
        UsageError: it is none that generates (`no-generation`).
    """
    if not isinstance(task, GenerativeTask):
        raise UsageError(
            "no-generation", "a model for {task} does not generate text", fix="use `zoo predict`", task=task.name
        )


class GenerativeTask(Task[Example], Generic[Example]):
    """A task whose answers are generated texts."""

    options: GenerativeOptions

    @property
    @abstractmethod
    def special_ids(self) -> dict[str, int]:
        """Ids of the tokens that the model and the decoding engine must know, by the names of `SPECIAL_IDS`."""

    @abstractmethod
    def prompt(self, request: Any) -> tuple[Prompt, bool]:
        """What the model is to continue, and whether some of the request did not fit into it."""

    def model_config(self) -> dict[str, Any]:
        return dict(self.special_ids)

    def decoding(self, changes: DecodingSection | None = None) -> GenerationOptions:
        """Decoding options of the task with the changes of a request.

        Raises:
            DataError: they do not fit together, or leave no room for a prompt (`bad-decoding`).
        """
        ids, section = self.special_ids, self.options.decoding.changed(changes)
        if section.max_new_tokens > self.options.max_length - LEAST_PROMPT:
            raise DataError(
                "bad-decoding",
                "max_new_tokens {count} leaves no room for a prompt in {length} tokens",
                fix="ask for {most} at most",
                count=section.max_new_tokens,
                length=self.options.max_length,
                most=self.options.max_length - LEAST_PROMPT,
            )
        return section.options(**{name: ids.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")})

    def steps(self, request: Any) -> Steps:
        prompt, truncated = self.prompt(request)
        (sequences,) = yield [Request(prompt, self.decoding(request.decoding))]
        return self.answer(sequences, truncated)

    def text(self, ids: Sequence[int]) -> str:
        """The text of generated tokens."""
        return text_of(self.tokenizer, ids)

    def answer(self, sequences: Sequence[Generated], truncated: bool = False) -> dict[str, Any]:
        """The answer to a request, see `zoo_cli.tasks.decoding_options.GenerationAnswer`."""
        texts = [
            {
                "text": self.text(each.ids.tolist()),
                "score": float(each.score),
                "finish_reason": each.finish_reason,
                "tokens": len(each.ids),
            }
            for each in ranked(sequences)
        ]
        several = {"texts": texts} if len(texts) > 1 else {}
        return {**texts[0], **several, **({"truncated": True} if truncated else {})}


def ranked(sequences: Sequence[Generated]) -> list[Generated]:
    """Sequences with the best first: those that came to their end before those that were cut off, as in PaddleNLP's
    examples, then by score."""
    return sorted(sequences, key=lambda each: (each.finish_reason != "eos", -each.score))


class PrefixTask(GenerativeTask[Example], Generic[Example]):
    """A task of a prefix language model (UNIMO-Text, UnifiedTransformer): a prompt is read, then an answer is written.

    A feature has the prompt and the gold answer, `token_type_ids` 0 and 1, and `labels` int64 [S]: the token after each
    token of the answer, -100 elsewhere. In evaluation the prompt alone follows as a second feature.
    """

    output_names: tuple[str, ...] = ()
    most_at_once = 64  # masks of prompts take S * S numbers
    main_score: str
    """Name of the score that chooses the best checkpoint."""

    def __init__(self, options: PrefixOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.label_smoothing = options.label_smoothing
        self.padding = {"input_ids": tokenizer.pad_token_id, "labels": IGNORE_INDEX}

    def labelled(self, encoded: Mapping[str, Any]) -> Feature:
        """The feature of a prompt with its answer, from what `gen_encode` or `dialogue_encode` gives."""
        names = [name for name in encoded if name != "attention_mask"]  # `stack` makes it: it takes S * S numbers
        ids, types = encoded["input_ids"], encoded["token_type_ids"]
        labels = np.full(len(ids), IGNORE_INDEX, np.int64)
        labels[:-1] = np.where(types[:-1] == 1, ids[1:], IGNORE_INDEX)
        return {**{name: encoded[name] for name in names}, "labels": labels}

    def unmasked(self, prompt: Prompt) -> Feature:
        """A prompt without its mask, which `read` makes again."""
        return {name: values for name, values in prompt.items() if name != "attention_mask"}

    def stack(self, features: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """A batch for training: its mask is float32 [B, 1, S, S], and `labels` int64 [n] are those of the n tokens at
        `masked_positions` only, so that no more vocabulary scores are computed."""
        batch = super().stack(features)
        lengths = np.array([len(feature["input_ids"]) for feature in features])
        batch["attention_mask"] = prefix_mask(batch["token_type_ids"], lengths)
        labels = batch["labels"].ravel()
        batch["masked_positions"] = np.flatnonzero(labels != IGNORE_INDEX)
        batch["labels"] = labels[batch["masked_positions"]]
        return batch

    def read(self, features: list[Feature]) -> Steps:
        """Have the gold answer scored, and an answer written."""
        labelled, prompt = features
        yield [labelled]
        mask = prefix_mask(prompt["token_type_ids"][None], np.array([len(prompt["input_ids"])]))[0, 0]
        (sequences,) = yield [Request({**prompt, "attention_mask": mask}, self.decoding())]
        return [{"ids": ranked(sequences)[0].ids}]

    def metrics(self) -> Metrics[Example]:
        return AnswerScores(self)

    @abstractmethod
    def references(self, example: Example) -> list[str]:
        """The gold texts of an example, each as good as the other.

        Raises:
            DataError: it has none (`no-target`).
        """


class AnswerScores(Metrics[Example], Generic[Example]):
    """Compares generated answers with the gold ones.

    Args:
        task: knows the gold texts.
    """

    def __init__(self, task: PrefixTask[Example]) -> None:
        self._task = task
        self._scores = TextScores()

    def judge(self, example: Example, features: Sequence[Feature], outputs: Sequence[Outputs]) -> ComparedText:
        return compare_text(self._task.text(outputs[0]["ids"].tolist()), self._task.references(example))

    def record(self, verdict: ComparedText) -> None:
        self._scores.record(verdict)

    def result(self) -> dict[str, float]:
        scores = self._scores.result()
        return {**scores, "score": scores[self._task.main_score]}


def prefix_mask(types: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """What is added to attention scores: all see the prompt, and the tokens of the answer their predecessors.

    Args:
        types: 0 in the prompt and in padding, 1 in the answer, int64 [B, S]; padding is on the right.
        lengths: tokens of each row, int64 [B].

    Returns:
        0 where a token may be seen and -1e4 elsewhere, float32 [B, 1, S, S].
    """
    answer = types == 1
    width = types.shape[1]
    inside = np.arange(width) < lengths[:, None]
    earlier = np.tril(np.ones((width, width), bool))
    visible = (inside & ~answer)[:, None, :] | (answer[:, :, None] & answer[:, None, :] & earlier)
    return np.where(visible, np.float32(0), np.float32(HIDDEN))[:, None]


def special_ids_of(tokenizer: Tokenizer, names: Mapping[str, str] | None = None) -> dict[str, int]:
    """Ids of a tokenizer's special tokens by the names of `SPECIAL_IDS`, without those it does not have.

    Args:
        tokenizer: the tokenizer.
        names: token that serves as another, e.g. ``{"eos_token": "mask_token"}``.
    """
    found = {}
    for name in SPECIAL_IDS:
        token = name.removesuffix("_id")
        try:
            found[name] = tokenizer.special_token_id((names or {}).get(token, token))
        except UsageError:
            continue
    return found


def parse_request(model: type[Input], value: Any) -> Input:
    """Check one input of prediction: a text, or an object with the fields of `model`; other keys are left alone, since
    lines of data have them.

    Raises:
        DataError: it has no text (`no-text`), or a field is wrong (`bad-request`).
    """
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        raise DataError("bad-request", "the input is neither a text nor an object with a text")
    try:
        return model.model_validate({name: value[name] for name in model.model_fields if name in value})
    except ValidationError as error:
        detail = error.errors()[0]
        raise DataError(
            "no-text" if detail["type"] == "missing" else "bad-request",
            "{field}: {reason}",
            field=".".join(map(str, detail["loc"])),
            reason=detail["msg"],
        ) from error
