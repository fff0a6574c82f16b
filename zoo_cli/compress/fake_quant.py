"""Rounding in training: what an integer graph does to weights and activations, with gradients that pass through.

The grid is that of `zoo_cli.compress.onnx_int8`: 256 levels between two ends that hold 0, one pair of ends for each
activation; 255 levels around 0 for weights, one step for each column. So what was learnt needs no conversion.

Why not PaddlePaddle's own layers: with PaddlePaddle 3.3, models of `paddle.quantization.QAT` train, but neither convert
(`zero_points` is None) nor reach ONNX (paddle2onnx aborts the process on their operators), and activations have 255
levels around 0, half of which are wasted behind a GELU. PaddleSlim 2.6's quanter PACT works on top of that; its LSQ
writes a scalar into a vector and fails, and once that is put right it uses eight bits whatever it is told. Both would
also learn three ranges for the one activation that queries, keys and values read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

LEVELS = 256
_WEIGHT_LEVELS = 127
_MOVING_RATE = 0.9
_SMALLEST = 1e-8


class ActivationQuanter(nn.Layer):
    """Rounds an activation to 256 levels.

    Args:
        low: lower end to begin with, at most 0.
        high: upper end, at least 0.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self.register_buffer("low", paddle.to_tensor([min(low, 0.0)], dtype="float32"))
        self.register_buffer("high", paddle.to_tensor([max(high, low + _SMALLEST, 0.0)], dtype="float32"))

    @abstractmethod
    def forward(self, x: Tensor, training: bool) -> Tensor:
        """The values that an integer graph would multiply with.

        Args:
            x: the activation.
            training: whether the range may change. The layer's own mode does not say: it belongs to no model.
        """

    def ends(self) -> tuple[Tensor, Tensor]:
        """Both ends of the range, [1] each."""
        return self.low, self.high


class MovingMinMax(ActivationQuanter):
    """The range is a moving mean of the lowest and the highest value of each batch."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if training:
            with paddle.no_grad():
                for end, seen in ((self.low, x.min().clip(max=0.0)), (self.high, x.max().clip(min=0.0))):
                    paddle.assign(_MOVING_RATE * end + (1 - _MOVING_RATE) * seen.astype("float32"), end)
        return _through(paddle.clip(x, self.low, self.high), self.low, self.high)


class Pact(ActivationQuanter):
    """Both ends are learnt (PACT, Choi et al., 2018, https://arxiv.org/abs/1805.06085): what is cut off moves them.

    They are learnt as factors, since an optimiser's steps do not depend on the size of what it changes.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        self.log_low = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))
        self.log_high = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def ends(self) -> tuple[Tensor, Tensor]:
        return self.low * self.log_low.exp(), self.high * self.log_high.exp()

    def forward(self, x: Tensor, training: bool) -> Tensor:
        low, high = self.ends()
        return _through(paddle.minimum(paddle.maximum(x, low), high), low, high)


class LearnedStep(ActivationQuanter):
    """The step between two levels is learnt (LSQ, Esser et al., 2019, https://arxiv.org/abs/1902.08153), with the zero
    point that the first range had; it, too, as a factor."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)
        self.log_step = self.create_parameter([1], default_initializer=nn.initializer.Constant(0.0))

    def _step(self) -> tuple[Tensor, Tensor]:
        step, zero = _grid(self.low, self.high)
        return step * self.log_step.exp(), zero

    def ends(self) -> tuple[Tensor, Tensor]:
        step, zero = self._step()
        return -zero * step, (LEVELS - 1 - zero) * step

    def forward(self, x: Tensor, training: bool) -> Tensor:
        step, zero = self._step()
        # The gradient of a step grows with the number of values that it rounds.
        share = (x.size * (LEVELS - 1)) ** -0.5
        step = step * share + (step * (1 - share)).detach()
        level = paddle.clip(x / step + zero, 0, LEVELS - 1)
        return (level + (level.round() - level).detach() - zero) * step


QUANTERS: dict[str, type[ActivationQuanter]] = {"min_max": MovingMinMax, "pact": Pact, "lsq": LearnedStep}


def _grid(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Step and zero point of a range."""
    step = (high - low) / (LEVELS - 1)
    return step, (-low / step).round()


def _through(clipped: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Clipped values rounded to the levels of a range; the gradient is that of the clipped values."""
    with paddle.no_grad():
        step, zero = _grid(low, high)
        rounded = ((clipped / step + zero).round().clip(0, LEVELS - 1) - zero) * step
    return clipped + (rounded - clipped).detach()


def round_weight(weight: Tensor) -> Tensor:
    """A weight [K, N] whose columns have 255 levels around 0; the gradient passes through."""
    with paddle.no_grad():
        step = (weight.abs().max(axis=0, keepdim=True) / _WEIGHT_LEVELS).clip(min=_SMALLEST)
        difference = (weight / step).round() * step - weight
    return weight + difference.detach()


class QuantizedLinear(nn.Layer):
    """A linear layer that computes as an integer graph does; its parameters are those of the layer it replaces.

    Args:
        linear: the layer.
        quanter: of what it reads, which other layers may read as well. It is no part of this layer, so that the model
            has the weights that it had, under their names.
    """

    def __init__(self, linear: nn.Linear, quanter: ActivationQuanter) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self._quanter = (quanter,)

    def forward(self, x: Tensor) -> Tensor:
        (quanter,) = self._quanter
        learns = self.training and paddle.is_grad_enabled()
        return F.linear(quanter(x, learns), round_weight(self.weight), self.bias)


class QuantizedModel(nn.Layer):
    """A model, changed in place so that its linear layers round, and the quanters of what they read.

    Args:
        model: the model.
        kind: of `QUANTERS`.
        read_some: has the model read texts, by which ranges begin.
    """

    def __init__(self, model: nn.Layer, kind: str, read_some: Callable[[nn.Layer], None]) -> None:
        super().__init__()
        self.model = model
        self.quanters = nn.LayerDict()
        self._names: dict[str, str] = {}
        groups, ranges = _observe(model, read_some)
        layers = dict(model.named_sublayers())
        for names in groups:
            first, key = names[0], names[0].replace(".", "-")
            self.quanters[key] = QUANTERS[kind](*ranges[first])
            for name in names:
                parent, _, own = name.rpartition(".")
                setattr(layers[parent] if parent else model, own, QuantizedLinear(layers[name], self.quanters[key]))
                self._names[name] = key

    def forward(self, *arguments: Any, **inputs: Any) -> Any:
        return self.model(*arguments, **inputs)

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Name of a linear layer -> the range of what it reads."""
        found = {}
        for name, key in self._names.items():
            low, high = self.quanters[key].ends()
            found[name] = (low.item(), high.item())
        return found


def _observe(
    model: nn.Layer, read_some: Callable[[nn.Layer], None]
) -> tuple[list[list[str]], dict[str, tuple[float, float]]]:
    """The linear layers that are used, in groups that read the same activation, and the range of each."""
    linear = {name: layer for name, layer in model.named_sublayers() if isinstance(layer, nn.Linear)}
    read: dict[str, Tensor] = {}  # kept, so that no two activations get the same address
    ends: dict[str, tuple[float, float]] = {}
    hooks = []
    for name, layer in linear.items():

        def note(layer: nn.Layer, inputs: tuple[Tensor, ...], name: str = name) -> None:
            read.setdefault(name, inputs[0])
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, inputs[0].min().item()), max(high, inputs[0].max().item())

        hooks.append(layer.register_forward_pre_hook(note))
    model.eval()
    with paddle.no_grad():
        read_some(model)
    for hook in hooks:
        hook.remove()
    groups: dict[int, list[str]] = {}
    for name, tensor in read.items():
        groups.setdefault(id(tensor), []).append(name)
    return list(groups.values()), ends
