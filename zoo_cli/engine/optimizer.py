"""AdamW (https://arxiv.org/abs/1711.05101) with decay groups and layer-wise rates, schedules and clipping."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import paddle
import paddle.distributed as dist
from paddle.distributed.auto_parallel.api import dtensor_from_local

from zoo_cli.base.errors import ArtifactError
from zoo_cli.engine.layers import places
from zoo_cli.models.parallel import like, local, part_of, whole
from zoo_cli.models.stored import StoredTensor
from zoo_cli.recipe.schema import TrainSection

_STATE = ("moment1", "moment2", "beta1_pow_acc", "beta2_pow_acc")


def learning_rate(step: int, total: int, options: TrainSection) -> float:
    """Learning rate of the update that follows `step` updates.

    As in PaddleNLP and Hugging Face, the very first update of a warm-up has rate 0, and a falling schedule would
    reach its end one update after the last.

    Args:
        step: updates done, from 0.
        total: updates in all.
        options: the recipe's `train` section.
    """
    peak, end = options.learning_rate, options.end_learning_rate
    warmup = options.warmup_steps if options.warmup_steps is not None else math.ceil(total * options.warmup_ratio)
    if step < warmup:
        return peak * step / warmup
    left = max(0.0, (total - step) / max(1, total - warmup))
    shapes = {
        "constant": 1.0,
        "linear": left,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * (1.0 - left))),
        "polynomial": left**options.schedule_power,
    }
    return peak if options.schedule == "constant" else end + (peak - end) * shapes[options.schedule]


class AdamW:
    """Paddle's AdamW over the trainable parameters of a model.

    Biases and norms do not decay. With `layerwise_decay` d < 1 a parameter `n` layers below the heads learns at
    ``d ** n`` of the rate (https://arxiv.org/abs/1801.06146 calls it discriminative fine-tuning).

    Args:
        model: whose parameters to train; `stop_gradient` ones stay as they are.
        options: the recipe's `train` section.

    Attributes:
        parameters: the trained tensors, in the order in which the model declares them.
    """

    def __init__(self, model: paddle.nn.Layer, options: TrainSection) -> None:
        found = list(places(model))
        self.parameters: list[paddle.Tensor] = [place.parameter for place in found]
        self._names = {place.parameter.name: place.name for place in found}
        grouped: dict[tuple[bool, float], list[paddle.Tensor]] = defaultdict(list)
        for place in found:
            grouped[place.decays, options.layerwise_decay ** (place.top - place.depth)].append(place.parameter)
        self._adamw = paddle.optimizer.AdamW(
            learning_rate=options.learning_rate,
            beta1=options.adam_beta1,
            beta2=options.adam_beta2,
            epsilon=options.adam_epsilon,
            parameters=[
                {"params": group, "weight_decay": options.weight_decay if decays else 0.0, "learning_rate": factor}
                for (decays, factor), group in grouped.items()
            ],
        )

    def step(self, rate: float) -> None:
        """Update the weights from their gradients."""
        self._adamw.set_lr(rate)
        self._adamw.step()

    def clear_gradients(self) -> None:
        self._adamw.clear_grad(set_to_zero=False)

    def state(self) -> dict[str, paddle.Tensor]:
        """Adam's moments under structured names, e.g. ``"encoder.layers.0.linear1.weight/moment1"``.

        Paddle's own names (``linear_0.w_0_moment1_0``) depend on how many models the process has built before.
        """
        own = self._adamw.state_dict()
        return {
            f"{name}/{kind}": own[f"{auto}_{kind}_0"]
            for auto, name in self._names.items()
            for kind in _STATE
            if f"{auto}_{kind}_0" in own
        }

    def load_state(self, state: Mapping[str, np.ndarray | StoredTensor]) -> None:
        """Take over what `state` returned, before the first step of this object.

        Raises:
            ArtifactError: the state has parameters that the model does not train (`optimizer-mismatch`).
        """
        own_names = {name: auto for auto, name in self._names.items()}
        tensors = {self._names[parameter.name]: parameter for parameter in self.parameters}
        own = {}
        for key, array in state.items():
            name, _, kind = key.rpartition("/")
            if name not in own_names:
                raise ArtifactError(
                    "optimizer-mismatch",
                    "the checkpoint has optimiser state for {name!r}, which the model does not train",
                    name=name,
                )
            own[f"{own_names[name]}_{kind}_0"] = like(array, tensors[name])
        self._adamw.set_state_dict(own)


def gradient_norm(parameters: Sequence[paddle.Tensor]) -> float:
    """Euclidean norm of all gradients taken as one vector; 0 without any."""
    total = 0.0
    having = [parameter for parameter in parameters if parameter.grad is not None]
    for divided in (False, True):
        chosen = [parameter for parameter in having if bool(part_of(parameter)) == divided]
        if not chosen:
            continue
        squares = [paddle._C_ops.squared_l2_norm(local(parameter.grad)).flatten() for parameter in chosen]
        sum_ = paddle.concat(squares).sum()
        if divided:  # each process of the group has a part
            sum_ = whole(dtensor_from_local(sum_, chosen[0].process_mesh, [dist.Partial()]))
        total += sum_.item()
    return math.sqrt(total)


def scale_gradients(parameters: Sequence[paddle.Tensor], factor: float) -> None:
    """Multiply all gradients by `factor`, in place."""
    if factor == 1.0:
        return
    with paddle.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                local(parameter.grad).scale_(factor)
