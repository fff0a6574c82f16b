"""Models whose layers several processes compute together, on Paddle's semi-auto API.

`zoo_cli.models.sharding` says which weights are divided. They become distributed tensors (`shard_tensor`) on the mesh
of those processes, and Paddle finds out from them where results have to be summed up or put together; the modules are
the same as for one process. Dropout draws the numbers that one process would draw, so that a run gives the same however
many processes share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import paddle
import paddle.distributed as dist
import paddle.nn.functional as F
from paddle import nn
from paddle.distributed.auto_parallel.api import dtensor_from_local

from zoo_cli.base.errors import UsageError
from zoo_cli.models import cpu
from zoo_cli.models.outputs import Tensor
from zoo_cli.models.sharding import indivisible, share, split_axis
from zoo_cli.models.stored import Part, StoredTensor, read_part

if TYPE_CHECKING:
    from zoo_cli.models.base import Model


@dataclass(frozen=True)
class TensorGroup:
    """Processes that compute each layer together.

    Args:
        ranks: their numbers, one after another.
        index: place of this process among them.
    """

    ranks: tuple[int, ...]
    index: int

    @property
    def size(self) -> int:
        return len(self.ranks)

    @cached_property
    def mesh(self) -> dist.ProcessMesh:
        """The processes as Paddle's API wants them."""
        return dist.ProcessMesh(list(self.ranks), dim_names=["tensor"])


class WholeDropout(nn.Layer):
    """Dropout of a divided tensor: the mask is drawn for the whole one, as a process alone would do.

    Args:
        p: probability of dropping a number.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """A tensor of any shape, divided or not."""
        if not self.training or self.p == 0:
            return x
        if cpu.is_here():
            return x * cpu.dropout_mask(x.shape, self.p)
        return x * F.dropout(paddle.ones(x.shape, dtype=x.dtype), self.p)


def divide(model: Model, group: TensorGroup) -> None:
    """Give this process its part of each weight of a model that was built under `paddle.LazyGuard`.

    Weights are made one after another, in the order in which one process makes them, so that a seed gives the same; at
    no time is there more than one of them as a whole.

    Args:
        model: its weights are replaced.
        group: the processes that share it.

    Raises:
        UsageError: its layers cannot be divided by so many (`indivisible`).
    """
    problem = indivisible(model.config, group.size)
    if problem is not None:
        raise UsageError("indivisible", "{problem}", fix="choose another train.parallel.tensor", problem=problem)
    for path, layer in model.named_sublayers(include_self=True):
        for name, weight in list(layer._parameters.items()):
            if weight is None:
                continue
            axis = split_axis(f"{path}.{name}", weight.shape, group.size)
            placement = dist.Replicate() if axis is None else dist.Shard(axis)
            weight.initialize()
            setattr(
                layer,
                name,
                dist.shard_tensor(weight, group.mesh, [placement], stop_gradient=weight.stop_gradient),
            )
    for _, layer in model.named_sublayers():
        if hasattr(layer, "self_attn"):
            layer.self_attn.dropout = WholeDropout(layer.self_attn.dropout.p)


def is_divided(tensor: Tensor) -> bool:
    """Whether a tensor lies on a mesh of processes."""
    return bool(tensor.is_dist())


def divided_among(weight: Tensor) -> int:
    """How many processes have a part of a weight each; 1 where each has all of it."""
    return len(weight.process_mesh.process_ids) if part_of(weight) else 1


def local(tensor: Tensor) -> Tensor:
    """What this process has of a tensor; writing to it changes the tensor."""
    return tensor._local_value() if is_divided(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor, as an ordinary one; every process of its mesh has to call this."""
    if not is_divided(tensor):
        return tensor
    return dist.reshard(tensor, tensor.process_mesh, [dist.Replicate()])._local_value()


def own_heads(cache: Tensor, axis: int) -> Tensor:
    """What this process' heads have in keys or values, whose heads are that axis, as an ordinary tensor."""
    if not is_divided(cache):
        return cache
    return dist.reshard(cache, cache.process_mesh, [dist.Shard(axis)])._local_value()


def part_of(tensor: Tensor) -> Part:
    """Which part of a tensor this process has; all of it where that is nothing."""
    if not is_divided(tensor) or not tensor.placements[0].is_shard():
        return ()
    axis = tensor.placements[0].get_dim()
    ranks = tensor.process_mesh.process_ids
    own = share(tensor.shape[axis], len(ranks), ranks.index(dist.get_rank()))
    return (*(slice(0, size) for size in tensor.shape[:axis]), own)


def set_weight(weight: Tensor, value: np.ndarray | StoredTensor) -> None:
    """Set a weight, or this process' part of it, from the whole value in memory or in a file."""
    own = np.ascontiguousarray(read_part(value, part_of(weight)))
    local(weight).set_value(own.astype(np.float32, copy=False) if weight.dtype == paddle.float32 else own)


def like(value: np.ndarray | StoredTensor, weight: Tensor) -> Tensor:
    """A tensor that is divided as a weight of the same shape is; others are the same everywhere.

    Args:
        value: the whole, in memory or in a file.
        weight: how to divide it.
    """
    same = tuple(weight.shape) == value.shape
    own = paddle.to_tensor(np.ascontiguousarray(read_part(value, part_of(weight) if same else ())))
    if not is_divided(weight):
        return own
    return dtensor_from_local(own, weight.process_mesh, weight.placements if same else [dist.Replicate()])


def distinct(model: nn.Layer) -> dict[str, Tensor]:
    """Weights and buffers by structured name; of several names of one tensor the first."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict().items():
        found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def gather(tensors: Iterable[Tensor]) -> None:
    """Take part in putting together what another process of the group reads, tensor by tensor."""
    for tensor in tensors:
        tensor.numpy()


def local_linear(layer: nn.Linear) -> Callable[[Tensor], Tensor]:
    """A divided layer as a function of ordinary tensors [n, inputs] -> [n, outputs], without gradients.

    One that is divided by columns takes whole inputs and gives this process' outputs; one that is divided by rows takes
    this process' inputs and gives whole outputs.
    """
    weight, bias, mesh = local(layer.weight), local(layer.bias), layer.weight.process_mesh
    placement = layer.weight.placements[0]
    if not (placement.is_shard() and placement.get_dim() == 0):
        return lambda hidden: paddle.matmul(hidden, weight) + bias

    def summed(hidden: Tensor) -> Tensor:
        return whole(dtensor_from_local(paddle.matmul(hidden, weight), mesh, [dist.Partial()])) + bias

    return summed
