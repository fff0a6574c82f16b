"""Cores, devices, and what is set before paddle is imported."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_cli.base.environment import (
    _use_vectors_of_any_maker,
    owned_cores,
    parse_device,
    prepare_paddle,
    processor,
)
from zoo_cli.base.errors import PlatformError, UsageError


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


@pytest.mark.parametrize(
    "files, cores",
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "9900000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "rubbish"}, 8),
    ],
)
def test_cores_are_bounded_by_the_quota(tmp_path: Path, eight_cores: None, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert owned_cores(tmp_path) == cores


@pytest.mark.parametrize(
    "maker, flags, kind",
    [
        ("AuthenticAMD", "sse2 fma avx avx2", "5"),
        ("HygonGenuine", "avx2 fma", "5"),
        ("AuthenticAMD", "sse2 avx", None),
        ("GenuineIntel", "fma avx2", None),
        (None, None, None),
    ],
)
def test_other_makers_processors_have_vectors_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maker: str | None, flags: str | None, kind: str | None
) -> None:
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "?")  # so that it is put back after the test
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    information = tmp_path / "cpuinfo"
    if maker is not None:
        one = f"processor\t: {{}}\nvendor_id\t: {maker}\nmodel name\t: a: b\nflags\t\t: {flags}\n\n"
        information.write_text(one.format(0) + one.format(1))
        assert processor(information)["model name"] == "a: b" and processor(information)["processor"] == "0"
    _use_vectors_of_any_maker(information)
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == kind
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "7")
    _use_vectors_of_any_maker(information)
    assert os.environ["MKL_DEBUG_CPU_TYPE"] == "7"


@pytest.mark.parametrize(
    "text, value",
    [("cpu", ("cpu", ())), ("gpu", ("gpu", ())), ("gpu:0", ("gpu", (0,))), ("gpu:0,12", ("gpu", (0, 12)))],
)
def test_devices(text: str, value: tuple[str, tuple[int, ...]]) -> None:
    assert parse_device(text) == value


@pytest.mark.parametrize("text", ["", "CPU", "cpu:0", "gpu:", "gpu:0,", "gpu:a", "tpu", "gpu 0"])
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_device(text)


def test_what_paddle_reads_is_set_once(monkeypatch: pytest.MonkeyPatch, eight_cores: None) -> None:
    pytest.importorskip("paddle")  # before, since the first import sets a variable too
    for name in ("FLAGS_use_stride_kernel", "OMP_NUM_THREADS", "GLOG_minloglevel"):
        monkeypatch.setenv(name, "?")  # so that it is put back after the test
        monkeypatch.delenv(name)
    monkeypatch.setattr("zoo_cli.base.environment.owned_cores", lambda: 8)
    monkeypatch.setenv("PADDLE_LOCAL_SIZE", "3")
    prepare_paddle("gpu")
    assert "FLAGS_use_stride_kernel" not in os.environ
    prepare_paddle("cpu")
    assert os.environ["FLAGS_use_stride_kernel"] == "0"  # noqa: SIM112  paddle's spelling
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    prepare_paddle("cpu")
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_the_device_is_used_quietly() -> None:
    """In a new process: flags are in force, nothing is printed, and logging is as it was."""
    code = (
        "import logging, sys\n"
        "from zoo_cli.engine.device import use_device\n"
        "use_device('cpu')\n"
        "import paddle\n"
        "assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING\n"
        "assert paddle.get_flags('FLAGS_use_stride_kernel')['FLAGS_use_stride_kernel'] is False\n"
        "print(paddle.get_device())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (result.stdout, result.stderr) == ("cpu\n", "")


def test_a_gpu_that_is_not_there() -> None:
    paddle = pytest.importorskip("paddle")
    if paddle.is_compiled_with_cuda():
        pytest.skip("this paddle has GPUs")
    from zoo_cli.engine.device import use_device

    with pytest.raises(PlatformError) as caught:
        use_device("gpu:1")
    assert caught.value.code == "no-gpu"


FAULTS = """
import resource
from zoo_cli.base.environment import prepare_paddle
prepare_paddle("cpu")
import paddle
paddle.ones([1 << 22])  # 16 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    paddle.ones([1 << 22])
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif("glibc" not in platform.libc_ver(), reason="other C libraries have no such option")
@pytest.mark.parametrize(("variables", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "8"}, False)])
def test_freed_memory_is_kept_unless_the_user_says_how_it_is_managed(variables: dict[str, str], kept: bool) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    faults = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**environment, **variables}, capture_output=True, text=True, check=True
    ).stdout
    # Of 8 x 4,096 pages of 4 kB; the first tensors may still find no free place.
    assert (int(faults) < 4 * 4096) == kept
