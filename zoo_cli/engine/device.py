"""The device that everything runs on, and the arithmetic it has."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from zoo_cli.base.environment import parse_device, prepare_paddle
from zoo_cli.base.errors import PlatformError


def use_device(device: str) -> None:
    """Import paddle with the right flags and make `device` the current one.

    Args:
        device: ``cpu``, ``gpu``, ``gpu:0`` or ``gpu:0,1``; of several, each process of a launch takes its own.

    Raises:
        UsageError: there is no such device (`bad-device`).
        PlatformError: paddle is not installed (`no-paddle`), or the machine or this build of paddle has no such GPU
            (`no-gpu`).
    """
    kind, numbers = parse_device(device)
    prepare_paddle(device)
    import paddle

    if kind == "cpu":
        # Somebody may have imported paddle before the environment was set.
        strided = os.environ["FLAGS_use_stride_kernel"]  # noqa: SIM112  paddle's spelling
        paddle.set_flags({"FLAGS_use_stride_kernel": strided.lower() in ("1", "true")})
        paddle.set_device("cpu")
        return
    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if count == 0 or any(number >= count for number in numbers):
        raise PlatformError(
            "no-gpu",
            "{device} is not here: paddle sees {count} GPUs",
            fix="use --device cpu, or install paddlepaddle-gpu and the driver",
            device=device,
            count=count,
        )
    launched = int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) > 1  # then the launcher has assigned a GPU
    paddle.set_device(f"gpu:{numbers[0]}" if numbers and not launched else "gpu")


def autocast(precision: str) -> AbstractContextManager[object]:
    """Context in which matrix products run in `precision` while weights stay float32 (paddle's level O1).

    Args:
        precision: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        PlatformError: the current device does not compute in it (`no-precision`). Paddle itself only warns on a CPU
            and goes on in float32.
    """
    if precision == "float32":
        return nullcontext()
    import paddle

    supported = {"bfloat16": paddle.amp.is_bfloat16_supported, "float16": paddle.amp.is_float16_supported}
    device = paddle.get_device()
    if device == "cpu" or not supported[precision]():
        raise PlatformError(
            "no-precision",
            "the device {device} has no {precision} training",
            fix="set train.precision=float32",
            device=device,
            precision=precision,
        )
    return paddle.amp.auto_cast(level="O1", dtype=precision)
