"""Information extraction with UIE: a prompt and a text in, starts and ends of the answers out.

Lu et al., 2022, "Unified Structure Generation for Universal Information Extraction", https://arxiv.org/abs/2203.12277,
in the form that PaddleNLP published: the model reads ``[CLS] prompt [SEP] text [SEP]`` and gives each token a
probability to be the first of a span, and one to be the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo_cli.base.errors import DataError
from zoo_cli.data.annotations import verify
from zoo_cli.data.conversion import as_annotated, convert
from zoo_cli.data.examples import AnnotatedText, PromptExample, TaggedTokens
from zoo_cli.tasks.base import Feature, Steps, Task
from zoo_cli.tasks.extraction.metrics import GraphMetrics, SpanMetrics, without_classes
from zoo_cli.tasks.extraction.postprocess import Answer
from zoo_cli.tasks.extraction.preprocess import (
    PairEncoder,
    Prompt,
    Window,
    covering_tokens,
    overlapping_windows,
    training_windows,
)
from zoo_cli.tasks.extraction.reading import ExtractionRequest, Question, Reader, UpstreamReader, WindowReader
from zoo_cli.tasks.extraction.schema import Language, Node, normalize, parse_schema, schema_from_annotations
from zoo_cli.tasks.extraction.spec import ExtractionOptions
from zoo_cli.tasks.features import model_inputs
from zoo_cli.tokenizers.base import Encoding, Tokenizer


@dataclass(frozen=True, slots=True)
class Located:
    """A gold example in tokens.

    Args:
        prompt: the tokenized prompt.
        text: the tokenized content.
        in_prompt: first and last token of the spans in the prompt.
        in_text: first and last token of the spans in the content.
        misaligned: number of spans whose borders are inside of a token.
        lost: number of spans that no token covers.
    """

    prompt: Prompt
    text: Encoding
    in_prompt: list[Window]
    in_text: list[Window]
    misaligned: int
    lost: int


class ExtractionTask(Task[PromptExample]):
    """Universal information extraction.

    `counts` says what became of the gold spans that were encoded: `spans` in all, `misaligned` whose borders are inside
    of a token (the covering tokens are used), and `lost` that no token covers.
    """

    name = "extraction"
    output_names = ("start_prob", "end_prob")
    sequence_outputs = frozenset(output_names)

    def __init__(self, options: ExtractionOptions, tokenizer: Tokenizer, inputs: Sequence[str]) -> None:
        super().__init__(options, tokenizer, inputs)
        self.options: ExtractionOptions = options
        self.padding = {"input_ids": tokenizer.pad_token_id}
        self.encoder = PairEncoder(tokenizer)
        self.counts: Counter[str] = Counter()
        self._schema = parse_schema(options.schema) if options.schema is not None else None

    # -- training and evaluation ------------------------------------------------------------------------------------

    def adapt(self, examples: Iterable[Any], training: bool) -> Iterator[PromptExample]:
        """Annotated texts become prompts, with negatives as the options say; prompts stay as they are.

        Raises:
            DataError: an annotation does not fit its text or the options.
            UsageError: options of the conversion make no sense (`bad-option`).
        """
        texts = []
        for example in examples:
            if isinstance(example, PromptExample):
                yield example
            else:
                texts.append(example)
        yield from convert(texts, self.options.conversion(), training)

    def request_of(self, example: PromptExample) -> dict[str, Any]:
        return {"text": example.content, "schema": example.prompt}

    def encode(self, example: PromptExample, training: bool) -> list[Feature]:
        """Features with `start_positions` and `end_positions`, float32 [S], 1 at first and last tokens of answers.

        The prompt is normalized as in prediction. A long content is read in windows: in training side by side with
        borders that cut no span, otherwise overlapping as in prediction. Without any token in the content there is no
        feature.

        Raises:
            DataError: a span is outside of the text (`bad-offset`), or the prompt leaves no room (`prompt-too-long`).
        """
        located = self.locate(example)
        self.counts.update(spans=len(example.spans), misaligned=located.misaligned, lost=located.lost)
        prompt, text, length = located.prompt, located.text, len(located.text.ids)
        if not length:
            return []
        if training:
            windows = training_windows(length, self._room(example, prompt), located.in_text)
        else:
            windows = self.windows(example, located)
        features = []
        for window in windows:
            pair = self.encoder.pair(prompt, text, window)
            starts = np.zeros(len(pair.ids), np.float32)
            ends = np.zeros_like(starts)
            for first, last in located.in_prompt:
                starts[prompt.own.start + first] = ends[prompt.own.start + last] = 1
            base = prompt.size - window[0]
            for first, last in located.in_text:
                if window[0] <= first and last < window[1]:
                    starts[base + first] = ends[base + last] = 1
            labels = {"start_positions": starts, "end_positions": ends}
            features.append(model_inputs(pair, self.inputs) | labels)
        return features

    def locate(self, example: PromptExample) -> Located:
        """Find the tokens of an example's gold spans.

        Raises:
            DataError: a span is outside of the text (`bad-offset`).
        """
        verify(example)
        prompt = self.encoder.prompt(normalize(example.prompt))
        text = self.encoder.text(example.content)
        in_prompt: list[Window] = []
        in_text: list[Window] = []
        misaligned = lost = 0
        for span in example.spans:
            start, end, offsets, found = span.start, span.end, text.offsets, in_text
            if start < 0:
                shift = len(example.prompt) + 1
                start, end = start + shift, end + shift
                offsets, found = prompt.offsets, in_prompt
            tokens = covering_tokens(offsets, start, end)
            if tokens is None:
                lost += 1
                continue
            misaligned += bool(offsets[tokens[0], 0] != start or offsets[tokens[1], 1] != end)
            found.append(tokens)
        return Located(prompt, text, in_prompt, in_text, misaligned, lost)

    def windows(self, example: PromptExample, located: Located) -> list[Window]:
        """Windows in which evaluation and prediction read an example."""
        room = self._room(example, located.prompt)
        return overlapping_windows(len(located.text.ids), room, self.options.overlap)

    def _room(self, example: PromptExample, prompt: Prompt) -> int:
        try:
            return self.encoder.room(prompt, self.options.max_length)
        except DataError as error:
            error.at = example.source
            raise

    def metrics(self) -> SpanMetrics:
        return SpanMetrics(self)

    def tune(self, metrics: SpanMetrics) -> None:
        """Set the threshold that was best for development data, if the options ask for it.

        Args:
            metrics: what counted the development examples.
        """
        if self.options.tune_position_threshold:
            threshold = metrics.best_threshold()
            self.options = self.options.model_copy(update={"position_threshold": threshold})

    def score_answers(self, examples: Sequence[Any], answer: Callable[[list[Any]], Iterable[Any]]) -> dict[str, Any]:
        """Entities and relations of whole results, see `GraphMetrics`; of annotated texts only, and without classes."""
        annotated = [as_annotated(each) for each in examples if isinstance(each, AnnotatedText | TaggedTokens)]
        texts = [without_classes(text, self.options.separator) for text in annotated]
        schema = schema_from_annotations(texts)
        if not schema:
            return {}
        metrics = GraphMetrics()
        requests = [{"text": text.text, "schema": schema} for text in texts]
        for text, found in zip(texts, answer(requests), strict=True):
            metrics.add(text, found)
        return {"end_to_end": metrics.result()}

    # -- prediction -------------------------------------------------------------------------------------------------

    def request(self, value: Any) -> ExtractionRequest:
        """Check a text, or an object ``{"text": ..., "schema": ..., ...}``.

        Args:
            value: a string; or an object with `text` (a string, or a list of strings to be answered with a list) and,
                where they differ from the task's options, `schema`, `schema_lang`, `position_threshold` and
                `max_length` (at most the task's). Other keys are left alone, since lines of data have them.

        Raises:
            DataError: a field is missing (`no-text`, `no-schema`) or wrong (`bad-request`, `bad-schema`), or a name in
                the schema is too long (`prompt-too-long`).
        """
        if isinstance(value, str):
            value = {"text": value}
        if not isinstance(value, dict):
            raise DataError("bad-request", "a request is a text or an object with the key text")
        text = value.get("text")
        if text is None:
            raise DataError("no-text", "the request has no text", fix='give it as {{"text": "..."}}')
        many = isinstance(text, list)
        texts = text if many else [text]
        for index, item in enumerate(texts):
            if not isinstance(item, str):
                place = f"text[{index}]" if many else "text"
                raise DataError("bad-request", "{place} must be a string", place=place)
        schema = parse_schema(value["schema"]) if value.get("schema") is not None else self._schema
        if schema is None:
            raise DataError("no-schema", "neither the request nor the task says what to extract", fix="give a schema")
        request = ExtractionRequest(
            texts, many, schema, self._language(value), self._threshold(value), self._max_length(value)
        )
        self._check_names(schema, request.max_length)
        return request

    def _language(self, value: dict[str, Any]) -> Language:
        language = value.get("schema_lang", self.options.schema_lang)
        if language == "en":
            return "en"
        if language in ("zh", "ch"):
            return "zh"
        raise DataError("bad-request", "schema_lang must be zh or en, not {value!r}", value=language)

    def _threshold(self, value: dict[str, Any]) -> float:
        threshold = value.get("position_threshold", self.options.position_threshold)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise DataError(
                "bad-request", "position_threshold must be a number from 0 to 1, not {value!r}", value=threshold
            )
        return float(threshold)

    def _max_length(self, value: dict[str, Any]) -> int:
        length, most = value.get("max_length", self.options.max_length), self.options.max_length
        if isinstance(length, bool) or not isinstance(length, int) or not 16 <= length <= most:
            raise DataError(
                "bad-request",
                "max_length must be a whole number from 16 to {most}, not {value!r}",
                most=most,
                value=length,
            )
        return length

    def _check_names(self, nodes: Iterable[Node], max_length: int) -> None:
        for node in nodes:
            self.encoder.room(self.encoder.prompt(normalize(node.name)), max_length)
            self._check_names(node.children, max_length)

    def steps(self, request: ExtractionRequest) -> Steps:
        """Answer level by level of the schema; every level is one list of features.

        The answer is ``{name: [{"text", "start", "end", "probability", "relations": {name: [...]}}]}``: names as the
        user spelt them, only those that were found; entries in the order of the text; `end` after the last character;
        classes without `start` and `end`; `relations` only where there are.
        """
        return self.conversations([request])[0]

    def conversations(self, requests: Sequence[ExtractionRequest]) -> list[Steps]:
        if self.options.upstream_windows:
            return [self.answer(each, UpstreamReader(self.encoder, self.inputs, each)) for each in requests]
        texts = iter(self.encoder.texts([text for request in requests for text in request.texts]))
        readers = [
            WindowReader(self.encoder, self.inputs, request, [next(texts) for _ in request.texts], self.options.overlap)
            for request in requests
        ]
        return [self.answer(request, reader) for request, reader in zip(requests, readers, strict=True)]

    def answer(self, request: ExtractionRequest, reader: Reader) -> Steps:
        """Walk through the schema with a reader; see `steps`."""
        results: list[dict[str, list[Answer]]] = [{} for _ in request.texts]
        questions = [Question(index, node, None) for index in range(len(request.texts)) for node in request.schema]
        while questions:
            found = yield from reader.read(questions)
            following = []
            for question, answers in zip(questions, found, strict=True):
                if not answers:
                    continue
                parent = question.parent
                place = results[question.text] if parent is None else parent.setdefault("relations", {})
                place[question.node.name] = answers
                following += [
                    Question(question.text, child, answer) for answer in answers for child in question.node.children
                ]
            questions = following
        return results if request.many else results[0]
