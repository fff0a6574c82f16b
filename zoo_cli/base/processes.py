"""Work that several processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from typing import Any

from zoo_cli.base.errors import PlatformError


@contextmanager
def worker_pool(
    processes: int, context: BaseContext, start: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[ProcessPoolExecutor]:
    """Processes for work that can be resumed; what has not begun is dropped at the end of the block.

    Args:
        processes: how many.
        context: how they are started.
        start: called in each of them first.
        arguments: of `start`.

    Raises:
        PlatformError: one of them was killed (`worker-died`).
    """
    with ProcessPoolExecutor(processes, context, start, arguments) as pool:
        try:
            yield pool
        except BrokenProcessPool as error:
            raise PlatformError(
                "worker-died",
                "a process was killed, perhaps for want of memory",
                fix="go on with --resume and fewer processes",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)
