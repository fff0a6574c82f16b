"""The engine of a model that reads: many clients' inputs in, shared batches through the model, answers out.

The compute threads only pad, run the model (which needs no interpreter lock) and cut the outputs apart. A free compute
thread takes what is waiting and never waits for a batch to fill up.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zoo_cli.recipe.schema import ServeLimits
from zoo_cli.runtime.pipeline import Runner
from zoo_cli.serve.intake import Intake, fault
from zoo_cli.serve.jobs import Job
from zoo_cli.serve.memory import Ceiling
from zoo_cli.serve.metrics import ModelMetrics
from zoo_cli.serve.refusals import Refusal, report
from zoo_cli.serve.waiting import Row

_log = logging.getLogger(__name__)


class Engine(Intake):
    """Computes the inputs of one model.

    Args:
        make_runners: what computes, one for each compute thread.
        ceiling: number of rows that a batch may have.
        limits: of the model.
        metrics: of the model.
    """

    def __init__(
        self,
        make_runners: Sequence[Callable[[], Runner]],
        ceiling: Ceiling,
        limits: ServeLimits,
        metrics: ModelMetrics,
    ) -> None:
        super().__init__(ceiling, limits, metrics)
        self._ceiling = ceiling
        self._start([partial(self._compute_forever, make(), make) for make in make_runners])

    def _row(self, job: Job, index: int, asked: Any) -> Row:
        ids = asked["input_ids"]
        if not self._ceiling.fits(ids.size):
            raise Refusal("too-many-tokens", "{count} tokens at once are too many for the memory", count=ids.size)
        return Row(job, index, asked, ids.size, math.prod(ids.shape[:-1]))

    def _compute_forever(self, runner: Runner, make_runner: Callable[[], Runner]) -> None:
        while (rows := self._waiting.take()) is not None:
            try:
                self._compute(runner, rows)
            except Exception as error:
                report(_log, error, "a compute worker failed and starts again")
                self.metrics.restarts.inc()
                runner = make_runner()
                self._compute_one_by_one(runner, rows)

    def _compute(self, runner: Runner, rows: list[Row]) -> None:
        begin = time.monotonic()
        for row in rows:
            self.metrics.stages["queue"].observe(begin - row.since)
        outputs = runner.one_batch([row.asked for row in rows])
        self._note_batch([row.length for row in rows], time.monotonic() - begin)
        self._hand_back(rows, outputs)

    def _compute_one_by_one(self, runner: Runner, rows: list[Row]) -> None:
        """After a fault: one input that the model cannot take must not fail its neighbours."""
        for row in rows:
            if row.job.over:
                continue
            try:
                outputs = runner.one_batch([row.asked])
            except Exception as error:
                report(_log, error, "an input could not be computed")
                row.job.refuse(fault())
            else:
                self._hand_back([row], outputs)
