"""Training on a CPU: gradients are those of PaddlePaddle's plain layers, and of finite differences."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo_cli.base.environment import prepare_paddle

prepare_paddle("cpu")

import paddle  # noqa: E402
import paddle.nn.functional as F  # noqa: E402
from paddle import nn  # noqa: E402

from zoo_cli.engine.device import use_device  # noqa: E402
from zoo_cli.models import cpu, kernels, layers  # noqa: E402

use_device("cpu")

SHAPES = [(1, 1, 8), (3, 5, 8), (2, 700, 24), (70, 513)]


@pytest.fixture(autouse=True)
def all_tensors_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "LARGE", 1)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def gradients(function: Callable[..., Any], *arrays: np.ndarray) -> list[np.ndarray]:
    """The result of a function, and the gradients of its product with fixed numbers."""
    inputs = [paddle.to_tensor(array, stop_gradient=False) for array in arrays]
    result = function(*inputs)
    result.backward(paddle.to_tensor(values(*result.shape, seed=9)))
    return [result.numpy(), *(each.grad.numpy() for each in inputs)]


def check(ours: Callable[..., Any], plain: Callable[..., Any], *arrays: np.ndarray) -> None:
    for mine, other in zip(gradients(ours, *arrays), gradients(plain, *arrays), strict=True):
        assert mine.shape == other.shape
        assert np.abs(mine - other).max() <= 2e-5 * max(1.0, np.abs(other).max())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("width", [7, 65])
@pytest.mark.parametrize("transposed", [False, True])
def test_linear(shape: tuple[int, ...], width: int, transposed: bool) -> None:
    weight = values(width, shape[-1], seed=1) if transposed else values(shape[-1], width, seed=1)

    def plain(x: Any, weight: Any, bias: Any) -> Any:
        return paddle.matmul(x, weight, transpose_y=transposed) + bias

    check(lambda x, w, b: cpu.linear(x, w, b, transposed), plain, values(*shape), weight, values(width, seed=2))


@pytest.mark.parametrize(("shape", "heads", "size"), [((1, 1, 4), 1, 3), ((3, 5, 12), 2, 6), ((2, 70, 24), 3, 16)])
def test_queries_keys_and_values(shape: tuple[int, ...], heads: int, size: int) -> None:
    """Heads may be wider or narrower together than the tokens are."""
    width = heads * size
    arrays = [values(shape[-1], width, seed=seed) for seed in (1, 2, 3)]
    weights = [each for seed, array in enumerate(arrays) for each in (array, values(width, seed=5 + seed))]

    class Given:
        def __init__(self, weight: Any, bias: Any) -> None:
            self.weight, self.bias = weight, bias

    def ours(x: Any, *tensors: Any) -> Any:
        layers = [Given(*tensors[at : at + 2]) for at in (0, 2, 4)]
        return paddle.concat(cpu.attention_inputs(x, layers, heads, 0.3), axis=-1)

    def plain(x: Any, *tensors: Any) -> Any:
        parts = []
        for at, scale in ((0, 0.3), (2, 1.0), (4, 1.0)):
            projected = (paddle.matmul(x, tensors[at]) + tensors[at + 1]) * scale
            parts.append(projected.reshape([0, 0, heads, size]).transpose([0, 2, 1, 3]))
        return paddle.concat(parts, axis=-1)

    check(ours, plain, values(*shape), *weights)


def test_attention_is_the_same_in_one_product(monkeypatch: pytest.MonkeyPatch) -> None:
    paddle.seed(0)
    layer = layers.MultiHeadAttention(24, 3)
    hidden = values(2, 9, 24)
    calls: list[int] = []
    original = cpu.attention_inputs
    monkeypatch.setattr(cpu, "attention_inputs", lambda *given: calls.append(1) or original(*given))

    def run() -> list[np.ndarray]:
        layer.clear_gradients()
        x = paddle.to_tensor(hidden, stop_gradient=False)
        result = layer(x).hidden
        result.backward(paddle.to_tensor(values(2, 9, 24, seed=9)))
        return [each.numpy() for each in (result, x.grad, *(weight.grad for weight in layer.parameters()))]

    at_once = run()
    heard = layer.k_proj.register_forward_post_hook(lambda layer, inputs, result: None)
    apart = run()
    heard.remove()
    assert len(calls) == 1
    for one, other in zip(at_once, apart, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    layer.q_proj.weight.stop_gradient = True
    layer(paddle.to_tensor(hidden))
    with paddle.no_grad():
        layer(paddle.to_tensor(hidden))
    assert len(calls) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_gelu(shape: tuple[int, ...]) -> None:
    x = values(*shape) * 3
    x.reshape(-1)[::5] = 0.0
    x.reshape(-1)[1::7] *= 1e10
    check(cpu.gelu, F.gelu, x)


def test_gelu_by_differences() -> None:
    x = np.linspace(-6, 6, 101).astype(np.float32)
    _, slope = gradients(lambda value: cpu.gelu(value), x)
    from math import erf

    def exact(v: float) -> float:
        return v * 0.5 * (1 + erf(v / 2**0.5))

    expected = [(exact(float(v) + 1e-5) - exact(float(v) - 1e-5)) / 2e-5 for v in x]
    assert np.abs(slope / values(101, seed=9) - expected).max() < 1e-5


@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm(shape: tuple[int, ...]) -> None:
    width = shape[-1]
    check(
        lambda x, w, b: cpu.layer_norm(x, w, b, 1e-5),
        lambda x, w, b: F.layer_norm(x, [width], w, b, 1e-5),
        values(*shape) * 4 + 1,
        values(width, seed=1),
        values(width, seed=2),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(shape: tuple[int, ...]) -> None:
    x = values(*shape) * 5
    x[..., -1] -= 1e4  # hidden
    check(cpu.softmax, F.softmax, x)
    hidden = cpu.softmax(paddle.to_tensor(x)).numpy()[..., -1]
    assert shape[-1] == 1 or not hidden.any()


@pytest.mark.parametrize(("rows", "classes"), [(1, 2), (5, 7), (70, 513), (3, 9000)])
def test_cross_entropy(rows: int, classes: int) -> None:
    labels = paddle.to_tensor(np.random.default_rng(1).integers(0, classes, rows))

    def plain(x: Any) -> Any:
        return F.cross_entropy(x, labels, reduction="none").reshape([-1])

    for scale in (1.0, 7.0):  # PaddlePaddle knows no loss above 64
        check(lambda x: cpu.cross_entropy(x, labels), plain, values(rows, classes) * scale)


@pytest.mark.parametrize("shape", [*SHAPES, (5, 1)])
@pytest.mark.parametrize("scale", [0.1, 8.0])
def test_divergence(shape: tuple[int, ...], scale: float) -> None:
    student, teacher = values(*shape) * scale, values(*shape, seed=1) * scale
    student[..., -1] -= 1e4  # hidden
    teacher[..., -1] -= 1e4
    probable = F.softmax(paddle.to_tensor(teacher))

    def plain(x: Any) -> Any:
        return (probable * (F.log_softmax(paddle.to_tensor(teacher)) - F.log_softmax(x))).sum(axis=-1)

    check(lambda x: cpu.divergence(x, paddle.to_tensor(teacher)), plain, student)
    assert np.abs(cpu.divergence(paddle.to_tensor(teacher), paddle.to_tensor(teacher)).numpy()).max() < 1e-6


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_no_number_stays_none(wrong: float) -> None:
    """Or a run whose loss is none would go on."""
    x = values(4, 70)
    x[2, 33] = wrong
    labels = paddle.to_tensor([1, 2, 3, 4])
    losses = cpu.cross_entropy(paddle.to_tensor(x), labels).numpy()
    assert np.isnan(losses).tolist() == [False, False, True, False]
    assert np.isnan(cpu.softmax(paddle.to_tensor(x)).numpy()).all(axis=1).tolist() == [False, False, True, False]
    for pair in ((x, values(4, 70)), (values(4, 70), x)):
        losses = cpu.divergence(*map(paddle.to_tensor, pair)).numpy()
        assert np.isnan(losses).tolist() == [False, False, True, False]
    if np.isnan(wrong):
        assert np.isnan(cpu.gelu(paddle.to_tensor(x)).numpy()).sum() == 1
        assert np.isnan(gradients(lambda v: cpu.layer_norm(v, *ones(70), 1e-5), x)[1]).any(axis=1).tolist() == [
            False,
            False,
            True,
            False,
        ]


def ones(width: int) -> list[Any]:
    return [paddle.to_tensor(np.ones(width, np.float32), stop_gradient=False) for _ in range(2)]


def test_labels_that_are_no_classes_are_left_to_paddle() -> None:
    for labels, right in (([0, 4], True), ([0, 5], False), ([-1, 0], False)):
        assert cpu.are_classes(paddle.to_tensor(labels), 5) is right
    assert not cpu.are_classes(paddle.to_tensor([0], dtype="int32"), 5)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    import numba

    x, weight, bias = values(999, 130), values(130, seed=1), values(130, seed=2)
    found = []
    for threads in {1, numba.config.NUMBA_NUM_THREADS}:
        numba.set_num_threads(threads)
        found.append(gradients(lambda x, w, b: cpu.layer_norm(x, w, b, 1e-5), x, weight, bias))
    for one, other in zip(found[0], found[-1], strict=True):
        assert (one == other).all()


def test_small_tensors_and_those_without_a_compiler_are_left_to_paddle(monkeypatch: pytest.MonkeyPatch) -> None:
    x = paddle.zeros([100, 100])
    assert cpu.fits(x)
    monkeypatch.setattr(cpu, "LARGE", 10_001)
    assert not cpu.fits(x) and cpu.fits(paddle.zeros([101, 100]))
    monkeypatch.setattr(cpu, "_has_compiler", lambda: False)
    assert not cpu.fits(paddle.zeros([101, 100]))


def test_loops_are_compiled_anew_where_they_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def njit(cache: bool = False, **options: Any) -> Callable[..., Any]:
        if cache:
            raise RuntimeError("cannot cache function")
        return lambda function: function

    monkeypatch.setattr("numba.njit", njit)
    assert kernels._compiled(len) is len


def test_loops_that_are_read_back_round_as_those_just_compiled(tmp_path: Path) -> None:
    """A run that is resumed by another process ends with the same weights."""
    code = """
import hashlib, numpy as np
from zoo_cli.models import kernels
x = np.random.default_rng(0).normal(size=(99, 130)).astype(np.float32)
result = np.empty_like(x)
kernels.softmax(x, result)
print(len(kernels.softmax.stats.cache_hits), hashlib.sha256(result.tobytes()).hexdigest())
"""
    call = [sys.executable, "-c", code]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    found = [subprocess.run(call, env=environment, check=True, capture_output=True, text=True) for _ in range(2)]
    (compiled, one), (read, other) = (run.stdout.split() for run in found)
    assert (compiled, read) == ("0", "1") and one == other


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux says where a function lies")
def test_loops_have_the_threads_of_products() -> None:
    """Threads of two OpenMP libraries would wait actively for one another."""
    code = """
import ctypes
from zoo_cli.models import kernels
place = ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p).value
for line in open("/proc/self/maps"):
    first, last = (int(part, 16) for part in line.split()[0].split("-"))
    if first <= place < last:
        print(line.split()[-1])
"""
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert Path(found.stdout.strip()).name == "libiomp5.so"


def test_weights_that_do_not_learn_get_no_gradient() -> None:
    x, weight = paddle.to_tensor(values(3, 4)), paddle.to_tensor(values(4, 2))
    bias = paddle.to_tensor(values(2), stop_gradient=False)
    (cpu.linear(x, weight, bias)).sum().backward()
    assert x.grad is None and weight.grad is None
    assert bias.grad.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("shape", [(2, 1, 1, 7), (2, 1, 5, 7), (1, 3, 5, 7), (5, 7), (2, 3, 5, 7)])
def test_biases_of_all_shapes_are_added(shape: tuple[int, ...]) -> None:
    bias = paddle.to_tensor(values(*shape, seed=1))
    check(lambda scores: cpu.add_bias(scores, bias), lambda scores: scores + bias, values(2, 3, 5, 7))


def test_nothing_comes_of_nothing() -> None:
    """A batch without masked tokens goes through the head as well."""
    for function in (layers.activation("gelu"), layers.Dropout(0.5), layers.LayerNorm(8), layers.Linear(8, 70)):
        x = paddle.zeros([0, 8])
        x.stop_gradient = False
        result = function(x)
        result.sum().backward()
        assert result.shape[0] == 0 and x.grad.shape == [0, 8]


# -- dropout -----------------------------------------------------------------------------------------------------------


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    paddle.seed(3)
    result = cpu.dropout(paddle.ones([400, 500]), 0.1).numpy()
    kept = result != 0
    assert abs((1 - kept.mean()) - 0.1) < 0.003
    assert np.unique(result).size == 2 and abs(result.mean() - 1) < 0.003
    rows, columns = kept.mean(axis=1), kept.mean(axis=0)
    assert rows.std() < 0.02 and columns.std() < 0.02
    assert abs(np.corrcoef(kept[:-1].ravel(), kept[1:].ravel())[0, 1]) < 0.01


def test_dropout_goes_back_the_way_it_came() -> None:
    paddle.seed(4)
    x = paddle.to_tensor(values(30, 41), stop_gradient=False)
    result = cpu.dropout(x, 0.3)
    result.backward(paddle.to_tensor(values(30, 41, seed=1)))
    mask = (result / x).numpy()
    assert np.allclose(x.grad.numpy(), values(30, 41, seed=1) * mask, atol=1e-5)


def test_dropout_adds_a_residual() -> None:
    def dropped(*tensors: Any) -> Any:
        paddle.seed(4)
        return cpu.dropout(tensors[0], 0.3, *tensors[1:])

    def apart(x: Any, residual: Any) -> Any:
        return dropped(x) + residual

    check(dropped, apart, values(3, 40, 41), values(3, 40, 41, seed=1))
    frozen = paddle.to_tensor(values(5, 6))
    learnt = paddle.to_tensor(values(5, 6), stop_gradient=False)
    for tensors in ((learnt, frozen), (frozen, learnt)):
        learnt.clear_gradient()
        dropped(*tensors).sum().backward()
        assert frozen.grad is None and learnt.grad is not None


@pytest.mark.parametrize("probability", [0.0, 0.4])
@pytest.mark.parametrize("learns", [True, False])
def test_the_layer_adds_a_residual_while_it_learns_and_after(probability: float, learns: bool) -> None:
    layer = layers.Dropout(probability)
    if not learns:
        layer.eval()
    x, residual = paddle.to_tensor(values(4, 5)), paddle.to_tensor(values(4, 5, seed=1))
    found = []
    for call in (lambda: layer(x, residual), lambda: residual + layer(x)):
        paddle.seed(2)
        found.append(call().numpy())
    assert np.allclose(*found, atol=1e-6)


def test_dropout_is_a_function_of_paddles_seed() -> None:
    x, drawn = paddle.ones([64, 65]), []
    for seed in (1, 2, 1):
        paddle.seed(seed)
        drawn.append([cpu.dropout(x, 0.2).numpy() for _ in range(2)])
    assert (drawn[0][0] == drawn[2][0]).all() and (drawn[0][1] == drawn[2][1]).all()
    assert (drawn[0][0] != drawn[0][1]).any() and (drawn[0][0] != drawn[1][0]).any()
    paddle.seed(1)
    assert np.allclose(drawn[0][0], cpu.dropout_mask([64, 65], 0.2).numpy())


# -- layers ------------------------------------------------------------------------------------------------------------


def test_layers_are_paddles_outside_of_training() -> None:
    x = paddle.to_tensor(values(2, 3, 8))
    for ours, plain in (
        (layers.Linear(8, 4), nn.Linear(8, 4)),
        (layers.LayerNorm(8, 1e-12), nn.LayerNorm(8, 1e-12)),
        (layers.Dropout(0.5), nn.Dropout(0.5)),
    ):
        plain.set_state_dict(ours.state_dict())
        assert isinstance(ours, type(plain))
        assert ours.state_dict().keys() == plain.state_dict().keys()
        ours.eval()
        plain.eval()
        with paddle.no_grad():
            assert (ours(x) == plain(x)).all()


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_dropping_nothing_or_everything(probability: float) -> None:
    result = layers.Dropout(probability)(paddle.ones([5, 6]))
    assert (result == 1 - probability).all()


def test_recomputing_draws_the_same_numbers() -> None:
    from paddle.distributed.fleet.utils import recompute

    paddle.seed(0)
    block = layers.EncoderLayer(8, 2, 16, dropout=0.3, attention_dropout=0.3)
    found = []
    for run in (lambda x: block(x).hidden, lambda x: recompute(lambda y: block(y).hidden, x, use_reentrant=False)):
        paddle.seed(5)
        x = paddle.to_tensor(values(2, 6, 8), stop_gradient=False)
        (run(x) * paddle.to_tensor(values(2, 6, 8, seed=3))).sum().backward()
        found.append([x.grad.numpy(), *(parameter.grad.numpy() for parameter in block.parameters())])
        for parameter in block.parameters():
            parameter.clear_gradient(set_to_zero=False)
    for one, other in zip(*found, strict=True):
        assert np.abs(one - other).max() < 1e-6


def test_an_encoder_layer_learns_as_one_of_plain_layers() -> None:
    paddle.seed(1)
    block = layers.EncoderLayer(8, 2, 16, dropout=0.0, attention_dropout=0.0)
    x = values(3, 5, 8)

    def fast(value: Any) -> Any:
        return block(value).hidden

    def plain(value: Any) -> Any:
        hidden, saved = value, cpu.fits
        cpu.fits = lambda *tensors: False  # type: ignore[assignment]
        try:
            return block(hidden).hidden
        finally:
            cpu.fits = saved

    check(fast, plain, x)
