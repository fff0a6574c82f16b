"""Locks between processes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def _is_file_of(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def exclusive(path: Path, wait: bool = True) -> Iterator[None]:
    """Wait for the lock file `path` and hold it; it ends with the process at the latest, also when that is killed.

    The holder removes the file when it is done. Whoever waited for it then holds a lock on a file that is no longer
    there, and tries again on the new one.

    Args:
        path: the lock file; nothing is read from it.
        wait: whether to wait for another holder.

    Raises:
        BlockingIOError: another process, or another call in this one, holds the lock and `wait` is false.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file_of(handle, path):
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
