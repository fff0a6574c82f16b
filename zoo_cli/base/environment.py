"""How paddle is imported: threads and CPU flags have to be set before, and the import is noisy."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import re
import sys
import warnings
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

from zoo_cli.base.errors import PlatformError, UsageError
from zoo_cli.base.later import loaded_later

_CGROUPS = Path("/sys/fs/cgroup")
_CPU_INFO = Path("/proc/cpuinfo")
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
"""Options of glibc's `mallopt`, see malloc.h."""
_LATER = ("httpx", "paddle.audio", "paddle.dataset", "paddle.text", "paddle.utils.cpp_extension", "paddle.vision")
"""Packages that paddle imports at once, with OpenCV, setuptools and others, which is a quarter of the time it takes."""
_DEVICE = re.compile(r"(cpu|gpu)|gpu:(\d+(?:,\d+)*)")


def _cpu_quota(cgroups: Path) -> float | None:
    """Cores that the control group grants this process, or None without a limit (version 2, then version 1)."""
    try:
        limit, period = (cgroups / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (cgroups / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    if not (limit.isdigit() and period.isdigit()):  # "max" in version 2, -1 in version 1: no limit
        return None
    return int(limit) / int(period)


def owned_cores(cgroups: Path = _CGROUPS) -> int:
    """Cores that this process may really use: its CPU affinity, bounded by the container's quota; at least 1.

    Args:
        cgroups: where the control groups are mounted.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_quota(cgroups)
    return max(1, cores if quota is None else min(cores, math.floor(quota)))


def processor(information: Path = _CPU_INFO) -> dict[str, str]:
    """What Linux says of the first processor, such as ``model name`` and ``flags``; nothing on other systems."""
    try:
        lines = information.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in reversed(lines) if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def parse_device(device: str) -> tuple[str, tuple[int, ...]]:
    """Kind and numbers of a `--device` value: ``"gpu:0,1"`` -> ``("gpu", (0, 1))``; ``"cpu"`` -> ``("cpu", ())``.

    Raises:
        UsageError: it is neither cpu, gpu nor gpu:NUMBERS (`bad-device`).
    """
    match = _DEVICE.fullmatch(device)
    if not match:
        raise UsageError(
            "bad-device", "there is no device {device!r}", fix="write cpu, gpu, gpu:0 or gpu:0,1", device=device
        )
    return match[1] or "gpu", tuple(int(number) for number in (match[2] or "").split(",") if number)


def _keep_freed_memory() -> None:
    """Have the C library keep what is freed for what is allocated next.

    By default it gives large blocks back to the system. Paddle allocates one for the result of each operation, so that
    the system clears every page anew: a product of 2,048 x 256 by 256 x 1,024 numbers takes 9.8 ms instead of 5.5.
    """
    if sys.platform != "linux" or any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc has it, musl does not
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, 2**31 - 1), (_M_TOP_PAD, 1 << 26)):
            mallopt(option, value)


def _use_vectors_of_any_maker(information: Path = _CPU_INFO) -> None:
    """Have MKL multiply matrices with AVX2 on processors of others than Intel.

    Paddle brings an MKL of 2019, which looks at the maker's name before it looks at what the processor can do: on an
    AMD EPYC of 2023 products take four times as long without this.
    """
    known = processor(information)
    if known.get("vendor_id", "GenuineIntel") != "GenuineIntel" and {"avx2", "fma"} <= {*known["flags"].split()}:
        os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # that of Intel's processors with AVX2


def prepare_paddle(device: str) -> None:
    """Import paddle, with the environment that it reads meanwhile; what the user has set stays.

    On a CPU, strided views are switched off: with them each transposed matrix is copied slowly, and a BERT training
    step takes twice as long. A slice is then a copy, so nothing may be written through one. Paddle uses one thread
    unless told otherwise; here it gets the cores that this process owns, shared between the processes of a launch.

    Args:
        device: value of `--device`.

    Raises:
        UsageError: there is no such device (`bad-device`).
        PlatformError: paddle is not installed or does not load (`no-paddle`).
    """
    kind, _ = parse_device(device)
    if kind == "cpu":
        os.environ.setdefault("FLAGS_use_stride_kernel", "0")
        _use_vectors_of_any_maker()
        _keep_freed_memory()
    processes = int(os.environ.get("PADDLE_LOCAL_SIZE", "1"))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, owned_cores() // processes)))
    os.environ.setdefault("GLOG_minloglevel", "2")
    warnings.filterwarnings("ignore", message="No ccache found")
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    collects = gc.isenabled()
    gc.disable()  # of the 1,600 modules nothing can be freed; to look for it is an eighth of the import
    try:
        with redirect_stderr(StringIO()) as said, loaded_later(*_LATER):
            import paddle  # noqa: F401
    except ImportError as error:
        raise PlatformError(
            "no-paddle",
            "PaddlePaddle cannot be imported: {reason}",
            fix="install it with: pip install 'zoo-cli[all]'",
            reason=str(error),
        ) from error
    finally:
        if collects:
            gc.enable()
    root.handlers[:], root.level = handlers, level  # the import makes all logging appear on standard error
    # Paddle advises against threads, which it needs to be fast in one process.
    sys.stderr.write("".join(line for line in said.getvalue().splitlines(True) if "OMP_NUM_THREADS" not in line))
