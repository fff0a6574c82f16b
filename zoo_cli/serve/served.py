"""One model that is served: its bundle, its engine, its limits."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from zoo_cli.base.environment import owned_cores
from zoo_cli.base.errors import ArtifactError, Location, UsageError, ZooError
from zoo_cli.base.files import sha256_json
from zoo_cli.recipe.schema import ServedModel as ServedModelSection
from zoo_cli.recipe.schema import ServeLimits, ServeSection
from zoo_cli.runtime.decoder import DecoderFacts
from zoo_cli.runtime.generation import MAX_ROWS
from zoo_cli.runtime.golden import golden_tolerance, read_golden, same_answer
from zoo_cli.runtime.loading import Bundle, open_bundle
from zoo_cli.serve.engine import Engine
from zoo_cli.serve.intake import Intake
from zoo_cli.serve.jobs import Job, Stream, WrittenAnswer, out_of_time
from zoo_cli.serve.memory import Ceiling, calibrate, calibrate_writer, feature_of, longest_of, memory_limit
from zoo_cli.serve.metrics import Metrics, ModelMetrics
from zoo_cli.serve.refusals import Refusal
from zoo_cli.serve.writing import WritingEngine
from zoo_cli.tasks.base import Task
from zoo_cli.tasks.generative import GenerativeTask
from zoo_cli.tasks.joining import TextStream

_VARIANTS = 16


class ServedModel:
    """A model that answers requests.

    Args:
        name: under which clients ask for it.
        bundle: the open bundle.
        section: what the recipe says of this model.
        settings: the server's settings.
        metrics: of the process.
    """

    def __init__(
        self, name: str, bundle: Bundle, section: ServedModelSection, settings: ServeSection, metrics: Metrics
    ) -> None:
        self.name = name
        self.bundle = bundle
        self.version = bundle.version
        self.task: Task[Any] = bundle.task
        self.routes = tuple(route.strip("/") for route in section.routes)
        self.limits = merged_limits(settings.limits, section.limits)
        self.settings = settings
        self.metrics = ModelMetrics(metrics, name)
        self.golden = read_golden(bundle.folder)
        self._cache: OrderedDict[str, Any] = OrderedDict()
        self._variants: OrderedDict[str, Task[Any]] = OrderedDict()
        self._engine: Intake | None = None

    @classmethod
    def open(cls, name: str, section: ServedModelSection, settings: ServeSection, metrics: Metrics) -> ServedModel:
        """Open a bundle without computing anything yet.

        Raises:
            ZooError: the bundle cannot be read (see `zoo_cli.runtime.loading.open_bundle`).
        """
        bundle = open_bundle(
            Path(section.bundle),
            section.backend or settings.backend,
            section.precision or settings.precision,
            compute_groups(settings)[1],
        )
        return cls(name, bundle, section, settings, metrics)

    def start(self) -> None:
        """Warm the model up, find out how large batches may be, and start its threads; blocks.

        Raises:
            MemoryLimitError: not even a single sequence fits.
        """
        groups, _ = compute_groups(self.settings)
        limit = self.settings.memory_limit or memory_limit()
        if limit is not None and self.settings.memory_limit is None:
            limit //= self.settings.workers
        ceiling = Ceiling(self.settings.batch_tokens)
        if isinstance(self.task, GenerativeTask):
            positions = DecoderFacts.load(self.bundle.folder).positions
            rows = calibrate_writer(self.bundle.decoder(), min(longest_of(self.task), positions), limit, groups)
            rows = MAX_ROWS if rows is None else min(MAX_ROWS, rows)
            self._engine = WritingEngine([self.bundle.decoder] * groups, ceiling, rows, self.limits, self.metrics)
            return
        make = partial(self.bundle.runner, self.settings.batch_tokens)
        samples = (request for request, _ in self.golden if feature_of(self.task, request))
        if sample := next(samples, None):
            ceiling = calibrate(make(), self.task, sample, self.settings.batch_tokens, limit, groups)
        self._engine = Engine([make] * groups, ceiling, self.limits, self.metrics)

    async def check(self) -> None:
        """Ask the golden requests.

        Raises:
            ArtifactError: an answer differs from that of the model that was exported (`golden-mismatch`).
        """
        deadline = time.monotonic() + 60 + len(self.golden)
        tolerance = golden_tolerance(self.bundle.folder, self.bundle.precision)
        wrong = []
        for number, (request, expected) in enumerate(self.golden, 1):
            job = self.engine.submit(self.task, [request], deadline)[0]
            try:
                answer = await asyncio.wait_for(job.future, deadline - time.monotonic())
            except (ZooError, TimeoutError):
                answer = None
            if not same_answer(expected, answer, tolerance):
                wrong.append(number)
        if wrong:
            raise ArtifactError(
                "golden-mismatch",
                "{count} of {total} golden requests are answered differently, first in line {line}",
                at=Location.of(self.bundle.folder / "golden_requests.jsonl", wrong[0]),
                fix="export the model again",
                count=len(wrong),
                total=len(self.golden),
                line=wrong[0],
            )
        self.metrics.ready.set(1)

    @property
    def engine(self) -> Intake:
        """The engine of a started model."""
        assert self._engine is not None, "the model was not started"
        return self._engine

    @property
    def items(self) -> int:
        """Inputs in work."""
        return self._engine.items if self._engine else 0

    def close(self) -> None:
        """End the threads; blocks until what is in work is done."""
        if self._engine:
            self._engine.close()

    def variant(self, **options: Any) -> Task[Any]:
        """The task with other options, e.g. ``all_scores=True``; the model is the same.

        Raises:
            Refusal: the task has no such option value (`bad-parameter`).
        """
        key = sha256_json(options)
        if key not in self._variants:
            try:
                changed = type(self.task.options).model_validate({**self.task.options.model_dump(), **options})
            except ValueError as error:
                raise Refusal("bad-parameter", "the model does not take {options}", options=options) from error
            self._variants[key] = type(self.task)(changed, self.task.tokenizer, self.task.inputs)
            while len(self._variants) > _VARIANTS:
                self._variants.popitem(last=False)
        return self._variants[key]

    # -- answers ----------------------------------------------------------------------------------------------------

    async def answer(
        self, values: Sequence[Any], seconds: float, places: Sequence[str], task: Task[Any] | None = None
    ) -> list[Any]:
        """Answer inputs together; all or none.

        Cancelling the call takes the inputs out of the queue.

        Args:
            values: the inputs.
            seconds: after which they are given up.
            places: path of each input in the request's body, for errors.
            task: stands in for the model's own.

        Raises:
            Refusal: a limit is passed, an input is wrong, or the time is up.
        """
        task = task or self.task
        answers: list[Any] = [None] * len(values)
        caching = self.settings.cache_entries and not any(map(self._is_drawn, values))
        if caching:
            self._check_sizes(values, places)  # what is known must not be larger than what is not
        keys = [self._key(value, task) for value in values] if caching else []
        missing = [index for index in range(len(values)) if not self._recall(index, keys, answers)]
        asked, where = [values[index] for index in missing], [places[index] for index in missing]
        jobs = await self.finish(asked, seconds, where, task) if missing else []
        for index, job in zip(missing, jobs, strict=True):
            answers[index] = job.future.result()
            if keys:
                self._remember(keys[index], answers[index])
        return answers

    async def finish(
        self, values: Sequence[Any], seconds: float, places: Sequence[str], task: Task[Any] | None = None
    ) -> list[Job]:
        """Answer inputs as `answer` does, without the cache; returns their jobs, which have ended."""
        self._check_sizes(values, places)
        deadline = time.monotonic() + min(seconds, self.limits.timeout)
        jobs = self.engine.submit(task or self.task, values, deadline)
        try:
            await self._wait(jobs, deadline, places)
        finally:
            for job in jobs:
                job.over = True
                job.future.cancel()
        return jobs

    def stream(self, value: dict[str, Any], seconds: float, place: str) -> WrittenAnswer:
        """Answer one input of a `GenerativeTask`, piece by piece as it is written.

        Args:
            value: the input; one text is written unless it asks for several, which is refused.
            seconds: after which it is given up.
            place: path of the input in the request's body, for errors.

        Raises:
            Refusal: a limit is passed; what is wrong with the input shows when the pieces are taken.
        """
        assert isinstance(self.task, GenerativeTask)
        self._check_sizes([value], [place])
        value = {**value, "decoding": {"num_return_sequences": 1, **(value.get("decoding") or {})}}
        deadline = time.monotonic() + min(seconds, self.limits.timeout)
        stream = Stream(TextStream(self.task.text))
        (job,) = self.engine.submit(self.task, [value], deadline, stream)
        return WrittenAnswer(job, stream, place)

    async def _wait(self, jobs: list[Job], deadline: float, places: Sequence[str]) -> None:
        futures = [job.future for job in jobs]
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await asyncio.gather(*futures)
        except TimeoutError:
            raise out_of_time() from None
        except Refusal as refusal:
            # Others may have been cancelled meanwhile, since their time is up as well.
            ended = (future.done() and not future.cancelled() and future.exception() is refusal for future in futures)
            raise refusal.within(places[list(ended).index(True)]) from None

    def _check_sizes(self, values: Sequence[Any], places: Sequence[str]) -> None:
        """Refuse a request that is larger than the limits."""
        limits = self.limits
        most = min(limits.items, limits.queue_items)
        if len(values) > most:
            raise Refusal(
                "too-many-items",
                "the request has {count} inputs; {most} are allowed",
                field=places[0].partition("[")[0],
                count=len(values),
                most=most,
            )
        for value, place in zip(values, places, strict=True):
            texts = list(strings(value))
            size = sum(map(len, texts))
            if size > limits.characters:
                raise Refusal(
                    "too-many-characters",
                    "the input has {size} characters; {most} are allowed",
                    field=place or None,
                    size=size,
                    most=limits.characters,
                )
            if not all(map(_is_unicode, texts)):
                raise Refusal("bad-text", "the text holds half of a surrogate pair", field=place or None)
            names = sum(1 for _ in strings(value.get("schema"))) if isinstance(value, dict) else 0
            if names > limits.schema_names:
                raise Refusal(
                    "too-many-names",
                    "the schema has {count} names; {most} are allowed",
                    field="schema",
                    count=names,
                    most=limits.schema_names,
                ).within(place)

    # -- cache ------------------------------------------------------------------------------------------------------

    def _is_drawn(self, value: Any) -> bool:
        """Whether the same input is to be answered differently each time."""
        if not isinstance(self.task, GenerativeTask):
            return False
        changes = value.get("decoding") if isinstance(value, dict) else None
        return (changes or {}).get("seed", self.task.options.decoding.seed) is None

    def _key(self, value: Any, task: Task[Any]) -> str:
        return sha256_json([value, None if task is self.task else task.options.model_dump(mode="json")])

    def _recall(self, index: int, keys: list[str], answers: list[Any]) -> bool:
        if not keys:
            return False
        found = keys[index] in self._cache
        if found:
            self._cache.move_to_end(keys[index])
            answers[index] = self._cache[keys[index]]
        (self.metrics.cache_hits if found else self.metrics.cache_misses).inc()
        return found

    def _remember(self, key: str, answer: Any) -> None:
        self._cache[key] = answer
        while len(self._cache) > self.settings.cache_entries:
            self._cache.popitem(last=False)


def compute_groups(settings: ServeSection) -> tuple[int, int]:
    """Compute threads of a process, and the cores of each.

    Raises:
        UsageError: `serve.threads` is more than the process has (`too-many-threads`).
    """
    cores = max(1, owned_cores() // settings.workers)
    threads = settings.threads or cores
    if threads > cores:
        raise UsageError(
            "too-many-threads",
            "serve.threads is {threads}, and each process has {cores} cores",
            threads=threads,
            cores=cores,
        )
    return cores // threads, threads


def merged_limits(common: ServeLimits, own: ServeLimits | None) -> ServeLimits:
    """The limits of a model: its own where it has some, else those of the server."""
    if own is None:
        return common
    return common.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def strings(value: Any) -> Iterator[str]:
    """All strings in a JSON value, keys of objects included except those of the value itself."""
    pending = list(value.values()) if isinstance(value, dict) else [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            pending += part
        elif isinstance(part, dict):
            yield from part
            pending += part.values()
