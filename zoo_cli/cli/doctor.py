"""`zoo doctor`: what this machine and this installation can do."""

from __future__ import annotations

import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import typer

from zoo_cli.cli.options import Json, Offline

REQUIRED = ("numpy", "pydantic", "pyyaml", "safetensors", "sentencepiece", "tokenizers", "typer")
OPTIONAL = (
    ("paddlepaddle", "paddlepaddle-gpu"),
    ("onnxruntime", "onnxruntime-gpu"),
    ("openvino",),
    ("paddle2onnx",),
    ("nncf",),
    ("fastapi",),
    ("uvicorn",),
    ("jieba",),
    ("numba",),
)
"""Packages of the extras; of several names one is enough."""

CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm")
LEAST_DISK = 200e6
SETTINGS = ("ZOO_HOME", "ZOO_OFFLINE", "ZOO_MIRROR", "ZOO_RECIPE_PATH", "ZOO_LANG", "OMP_NUM_THREADS", "HTTPS_PROXY")
PROBE = "ernie-3.0-nano-zh"
"""The checkpoint whose publisher is asked whether it can be reached."""


@dataclass
class Check:
    """One line of the report.

    Args:
        name: what was looked at.
        level: `error` where something essential is broken, `warning` where something works badly or not at all that
            some verbs need.
        value: what was found, as a bug report needs it.
        fix: template of what to do about it.
    """

    name: str
    level: Literal["ok", "warning", "error"]
    value: str
    fix: str = ""


def doctor(
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown block for bug reports.")] = False,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Look at versions, processor, devices, disk, cache and network, and train a toy model for a second.

    Exit code 5 if something essential is broken.

    zoo doctor

    zoo doctor --markdown > report.md
    """
    from zoo_cli.base.console import emit_json, show_table
    from zoo_cli.base.errors import PlatformError
    from zoo_cli.base.messages import translate

    if offline:
        os.environ["ZOO_OFFLINE"] = "1"
    checks = list(_checks())
    broken = [check.name for check in checks if check.level == "error"]
    if as_json:
        emit_json({"healthy": not broken, "checks": [asdict(check) for check in checks]})
        if broken:
            raise typer.Exit(PlatformError.exit_code)
        return
    if markdown:
        print(_markdown(checks), end="")
    else:
        rows = [(translate(check.name), translate(check.level), check.value) for check in checks]
        show_table(["check", "state", "found"], rows)
        for check in checks:
            if check.fix:
                print(f"{translate(check.name)}: {translate(check.fix)}", file=sys.stderr)
    if broken:
        raise PlatformError(
            "broken-environment", "something essential is broken: {names}", names=", ".join(map(translate, broken))
        )


def _markdown(checks: list[Check]) -> str:
    rows = "".join(f"| {check.name} | {check.level} | {check.value.replace('|', '/')} |\n" for check in checks)
    return f"<details><summary>zoo doctor</summary>\n\n| check | state | found |\n|---|---|---|\n{rows}\n</details>\n"


def _checks() -> Iterator[Check]:
    """All checks, the slow ones last."""
    yield _versions()
    yield _packages()
    yield _processor()
    yield _threads()
    yield _memory()
    yield _disk()
    yield _cache()
    yield _settings()
    yield _network()
    yield from _paddle()
    yield from _onnxruntime()


def _installed(*names: str) -> str | None:
    """The first of the packages that is installed, with its version."""
    for name in names:
        try:
            return f"{name} {version(name)}"
        except PackageNotFoundError:
            continue
    return None


def _short(path: Path | str) -> str:
    """A path, or a text that may be one, that does not show the user's name."""
    home = os.path.expanduser("~")  # noqa: PTH111  where nobody knows it, `Path.home` raises; it is "/" in containers
    name = str(path)
    return f"~{name.removeprefix(home)}" if len(home) > 1 and f"{name}/".startswith(f"{home}/") else name


def _versions() -> Check:
    from zoo_cli import __version__

    value = f"zoo {__version__}, Python {platform.python_version()}, {platform.platform()}"
    if sys.version_info < (3, 11):  # noqa: UP036  installers can be told to ignore what a package requires
        return Check("versions", "error", value, fix="install Python 3.11 or 3.12")
    return Check("versions", "ok", value)


def _packages() -> Check:
    missing = [name for name in REQUIRED if _installed(name) is None]
    found = [each for names in (*((name,) for name in REQUIRED), *OPTIONAL) if (each := _installed(*names))]
    if missing:
        value = f"missing: {', '.join(missing)}; {', '.join(found)}"
        return Check("packages", "error", value, fix="install zoo-cli again")
    return Check("packages", "ok", ", ".join(found))


def _processor() -> Check:
    from zoo_cli.base.environment import processor

    values = processor()
    if not values:  # not a Linux
        return Check("processor", "ok", platform.processor() or platform.machine())
    flags = set((values.get("flags") or values.get("Features") or "").split())
    value = f"{values.get('model name', platform.machine())}; {' '.join(f for f in CPU_FEATURES if f in flags)}"
    if platform.machine() == "x86_64" and "avx2" not in flags:
        return Check("processor", "warning", value, fix="without AVX2 PaddlePaddle may not load; everything is slow")
    return Check("processor", "ok", value)


def _threads() -> Check:
    from zoo_cli.base.environment import owned_cores

    cores, wanted = owned_cores(), os.environ.get("OMP_NUM_THREADS", "")
    value = f"{cores} of {os.cpu_count()} cores, OMP_NUM_THREADS={wanted or 'unset'}"
    if wanted.isdigit() and int(wanted) > cores:
        return Check("threads", "warning", value, fix="unset OMP_NUM_THREADS: more threads than cores slow each other")
    return Check("threads", "ok", value)


def _memory() -> Check:
    try:
        rows = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        total, free = (int(rows[key].split()[0]) / 1e6 for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):
        return Check("memory", "ok", "unknown")
    value = f"{free:.1f} of {total:.1f} GB free"
    if free < 1:
        return Check("memory", "warning", value, fix="close other programs, or use smaller models and batches")
    return Check("memory", "ok", value)


def _disk() -> Check:
    from zoo_cli.base.download import cache_root

    folders = {"working directory": Path.cwd(), "cache": _existing(cache_root())}
    free = {name: shutil.disk_usage(folder).free for name, folder in folders.items()}
    value = ", ".join(f"{name} {size / 1e9:.1f} GB free" for name, size in free.items())
    if min(free.values()) < LEAST_DISK:
        return Check("disk", "error", value, fix="free space; `zoo cache prune` removes what is not needed")
    return Check("disk", "ok", value)


def _existing(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if each.exists())


def _cache() -> Check:
    from zoo_cli.base.download import cache_root

    root = cache_root()
    try:
        with tempfile.TemporaryFile(dir=_existing(root)):
            pass
    except OSError as error:
        value = f"{_short(root)}: {error.strerror}"
        return Check("cache", "error", value, fix="set ZOO_HOME to a folder of your own")
    from zoo_cli.recipe.presets import cache_list

    entries = cache_list()
    size = sum(entry.size for entry in entries) / 1e6
    return Check("cache", "ok", f"{_short(root)}: {len(entries)} entries, {size:.1f} MB")


def _settings() -> Check:
    values = {name: _short(os.environ[name]) for name in SETTINGS if os.environ.get(name)}
    # An address may hold a password.
    shown = {name: "set" if "@" in value else value for name, value in values.items()}
    return Check("settings", "ok", ", ".join(f"{name}={value}" for name, value in shown.items()) or "none")


def _network(seconds: float = 3.0) -> Check:
    import urllib.error
    import urllib.request
    from urllib.parse import urlsplit

    from zoo_cli.base.download import is_offline, source_of
    from zoo_cli.base.errors import UsageError
    from zoo_cli.recipe.presets import load_preset

    if is_offline():
        return Check("network", "ok", "not tried, ZOO_OFFLINE is set")
    try:
        source = source_of(next(iter(load_preset(PROBE).files.values())))
    except UsageError as error:
        return Check("network", "error", str(error), fix="correct or unset ZOO_MIRROR")
    if isinstance(source, Path):
        return Check("network", "ok", f"not needed, ZOO_MIRROR is the folder {_short(source.parent)}")
    host, before = urlsplit(source).netloc.rpartition("@")[2], time.monotonic()
    try:
        with urllib.request.urlopen(urllib.request.Request(source, method="HEAD"), timeout=seconds):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        return Check("network", "warning", f"{host} answers {error.code}", fix="set ZOO_MIRROR, or work with --offline")
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error))
        fix = "look at HTTPS_PROXY and SSL_CERT_FILE, set ZOO_MIRROR, or work with --offline"
        return Check("network", "warning", f"{host}: {reason}", fix=fix)
    return Check("network", "ok", f"{host} answers in {time.monotonic() - before:.1f} s")


def _guarded(name: str, work: Callable[[], Check]) -> Check:
    """A check that runs foreign code, which may fail in any way."""
    try:
        return work()
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        return Check(name, "error", f"{type(error).__name__}: {reason}", fix="install this package again")


def _paddle() -> Iterator[Check]:
    if _installed("paddlepaddle", "paddlepaddle-gpu") is None:
        fix = "training and exporting need PaddlePaddle: pip install 'zoo-cli[all]'"
        yield Check("PaddlePaddle", "warning", "not installed", fix=fix)
        return
    devices = _guarded("PaddlePaddle", _devices)
    yield devices
    if devices.level != "error":
        yield _guarded("training", _train)


def _devices() -> Check:
    from zoo_cli.base.environment import prepare_paddle

    prepare_paddle("cpu")
    import paddle

    if not paddle.is_compiled_with_cuda():
        return Check("PaddlePaddle", "ok", f"{paddle.__version__} for CPU")
    count = paddle.device.cuda.device_count()
    names = ", ".join(paddle.device.cuda.get_device_name(number) for number in range(count))
    value = f"{paddle.__version__} for CUDA {paddle.version.cuda()}, {count} GPUs: {names}"
    if not count:
        return Check("PaddlePaddle", "warning", value, fix="install the driver, or Paddle's CPU build")
    return Check("PaddlePaddle", "ok", value)


def _train(seconds: float = 1.0) -> Check:
    """Teach a two-layer BERT four sentences by heart, for at most a second."""
    import paddle

    from zoo_cli import models
    from zoo_cli.registry import family

    paddle.set_device("cpu")
    paddle.seed(0)
    spec = family("bert")
    config = {**spec.tiny, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_classes": 2}
    model = models.build("BertForSequenceClassification", config)
    optimizer = paddle.optimizer.AdamW(3e-3, parameters=model.parameters())
    ids = paddle.arange(5, 37).reshape([4, 8])
    labels = paddle.to_tensor([0, 1, 0, 1])
    losses: list[float] = []
    end = time.monotonic() + seconds
    while (time.monotonic() < end and len(losses) < 50) or len(losses) < 2:
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        losses.append(float(loss))
    value = f"{len(losses)} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}"
    if not all(map(math.isfinite, losses)) or losses[-1] >= losses[0]:
        return Check("training", "error", value, fix="PaddlePaddle computes wrongly here; try another version of it")
    return Check("training", "ok", value)


def _onnxruntime() -> Iterator[Check]:
    if _installed("onnxruntime", "onnxruntime-gpu") is None:
        fix = "serving needs ONNX Runtime: pip install 'zoo-cli[serve]'"
        yield Check("ONNX Runtime", "warning", "not installed", fix=fix)
        return
    yield _guarded("ONNX Runtime", _providers)


def _providers() -> Check:
    import onnxruntime

    return Check("ONNX Runtime", "ok", f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}")
