"""The engine of a model that writes: requests join and leave a running batch between any two tokens.

Each compute thread has a running batch of its own (`zoo_cli.decoding.engine.Decoder`). At each turn all of its rows
read their last token and get the next one, then the prompts that have room join; so nobody waits for another's text to
end, and a long text only costs its own rows. A request that nobody waits for any more leaves at the next turn.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from zoo_cli.base.errors import DataError
from zoo_cli.decoding.engine import Decoder, Request, StepModel, Update
from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.serve.intake import Intake, fault
from zoo_cli.serve.jobs import Job, out_of_time
from zoo_cli.serve.metrics import ModelMetrics
from zoo_cli.serve.refusals import Refusal, refusal_of, report
from zoo_cli.serve.waiting import Row

_log = logging.getLogger(__name__)


class WritingEngine(Intake):
    """Writes the texts of one model.

    Args:
        make_models: what reads prompts and tokens, one for each compute thread.
        allowed: number of prompts of that length that may be read at once.
        max_rows: texts and beams that one thread writes at the same time.
        limits: of the model.
        metrics: of the model.
    """

    def __init__(
        self,
        make_models: Sequence[Callable[[], StepModel]],
        allowed: Callable[[int], int],
        max_rows: int,
        limits: ServeLimits,
        metrics: ModelMetrics,
    ) -> None:
        super().__init__(allowed, limits, metrics)
        self._allowed = allowed
        self._max_rows = max_rows
        self._start([partial(self._write_forever, Decoder(make()), make) for make in make_models])

    def _row(self, job: Job, index: int, asked: Any) -> Row:
        width = asked.options.width
        if width > self._max_rows:
            raise Refusal(
                "too-many-sequences",
                "{count} texts or beams would be written at the same time; {most} are allowed",
                count=width,
                most=self._max_rows,
            )
        if job.stream is not None and asked.options.num_return_sequences > 1:
            raise Refusal("several-texts", "only one text can be sent while it is written", field="stream")
        job.prompt_tokens += _prompt_length(asked)
        return Row(job, index, asked, _prompt_length(asked) + width * asked.options.max_new_tokens)

    # -- compute threads --------------------------------------------------------------------------------------------

    def _write_forever(self, decoder: Decoder, make_model: Callable[[], StepModel]) -> None:
        running: dict[Request, Row] = {}
        while (joining := self._waiting.take_first(partial(self._fits, decoder.rows), not running)) is not None:
            try:
                self._drop_ended(decoder, running)
                self._step(decoder, running)
                self._join(decoder, running, joining)
            except Exception as error:
                report(_log, error, "a compute worker failed and starts again")
                self.metrics.restarts.inc()
                decoder = Decoder(make_model())
                rows = list({id(row): row for row in [*running.values(), *joining]}.values())
                running.clear()
                self._write_one_by_one(decoder, rows)

    def _fits(self, present: int, joining: Sequence[Row]) -> bool:
        """Whether these rows may join a batch of `present` rows together."""
        prompts = [_prompt_length(row.asked) for row in joining]
        rows = present + sum(row.asked.options.width for row in joining)
        return rows <= self._max_rows and len(prompts) <= self._allowed(max(prompts))

    def _drop_ended(self, decoder: Decoder, running: dict[Request, Row]) -> None:
        for request, row in list(running.items()):
            if not row.job.over and row.job.expired:
                row.job.refuse(out_of_time())
            if row.job.over:
                decoder.cancel(request)
                del running[request]

    def _step(self, decoder: Decoder, running: dict[Request, Row]) -> None:
        if not running:
            return
        begin = time.monotonic()
        rows = decoder.rows
        updates = decoder.step()
        self._note_batch([1] * rows, time.monotonic() - begin)
        self._hand_out(updates, running)

    def _join(self, decoder: Decoder, running: dict[Request, Row], joining: list[Row]) -> None:
        if not joining:
            return
        begin = time.monotonic()
        requests = [row.asked for row in joining]
        try:
            updates = decoder.add(requests)
        except DataError as error:  # of one of them, so that none has joined
            if len(joining) == 1:
                joining[0].job.refuse(refusal_of(error))
            else:
                for row in joining:
                    self._join(decoder, running, [row])
            return
        for row in joining:
            self.metrics.stages["queue"].observe(begin - row.since)
        self._note_batch([_prompt_length(request) for request in requests], time.monotonic() - begin)
        running.update(zip(requests, joining, strict=True))
        self._hand_out(updates, running)

    def _hand_out(self, updates: Iterable[Update], running: dict[Request, Row]) -> None:
        for update in updates:
            row = running[update.request]
            if row.job.stream is not None:
                row.job.stream.tokens.extend(token for _, token in update.tokens)
            if update.sequences is not None:
                del running[update.request]
                self._hand_back([row], [update.sequences])
            elif row.job.stream is not None:
                self._prepare(row.job)

    def _write_one_by_one(self, decoder: Decoder, rows: list[Row]) -> None:
        """After a fault: one input that the model cannot take must not fail its neighbours; but what clients may have
        begun to read is not written again."""
        for row in rows:
            if row.job.over:
                continue
            if row.job.stream is not None:
                row.job.refuse(fault())
                continue
            running: dict[Request, Row] = {}
            try:
                self._join(decoder, running, [row])
                while running:
                    self._drop_ended(decoder, running)
                    self._step(decoder, running)
            except Exception as error:
                report(_log, error, "a text could not be written")
                decoder.clear()
                row.job.refuse(fault())


def _prompt_length(request: Request) -> int:
    return 1 if request.prompt is None else len(request.prompt["input_ids"])
