"""The processes that train together, started by `paddle.distributed.launch`.

The processes fall into groups. Those of a group share a model and compute each layer together, see
`zoo_cli.models.parallel`; the groups read different batches. The loop itself adds up gradients: each group runs its
share of a step's batches, then `sum_gradients` makes the totals equal everywhere. Gradients are float32, whatever the
precision of the forward pass: gloo returns infinity for float16.

What all processes do together goes through Paddle's collectives, what the groups of a mesh do through the resharding of
its semi-auto API: on CPUs, gloo connects no process groups but the one of all processes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import paddle
import paddle.distributed as dist
from paddle.distributed.auto_parallel.api import dtensor_from_local

from zoo_cli.models.parallel import TensorGroup, distinct, is_divided, local, whole
from zoo_cli.recipe.schema import ParallelSection

BUCKET = 8 * 2**20
"""Gradients are sent in pieces of about this many numbers (32 MB)."""


@dataclass(frozen=True)
class World:
    """This process among the others.

    Args:
        rank: number of this process; 0 saves and reports, and its group evaluates.
        size: number of processes.
        tensor: processes of a group, which have ranks next to each other.
    """

    rank: int = 0
    size: int = 1
    tensor: int = 1

    @classmethod
    def join(cls, parallel: ParallelSection | None = None) -> World:
        """Connect to the other processes of a launch; alone without one.

        Args:
            parallel: what the groups are; each process is one unless given.

        Raises:
            UsageError: there are other numbers of processes than it asks for (`process-count`).
        """
        parallel = parallel or ParallelSection()
        size = int(os.environ.get("PADDLE_TRAINERS_NUM", "1"))
        parallel.groups(size)
        if size == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_parallel_env()
        return cls(dist.get_rank(), size, parallel.tensor)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def groups(self) -> int:
        """Number of groups."""
        return self.size // self.tensor

    @property
    def group(self) -> int:
        """Number of this process' group; 0 is the one of the process that leads."""
        return self.rank // self.tensor

    @property
    def shares(self) -> TensorGroup | None:
        """This process' group where it shares a model, or None where the process has one of its own."""
        if self.tensor == 1:
            return None
        first = self.group * self.tensor
        return TensorGroup(tuple(range(first, first + self.tensor)), self.rank - first)

    @cached_property
    def _peers(self) -> dist.ProcessMesh:
        """The processes that hold the same part of the model, one of each group."""
        return dist.ProcessMesh(list(range(self.rank % self.tensor, self.size, self.tensor)), dim_names=["data"])

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums of the numbers of all groups; those of a group have the same."""
        if self.size == 1:
            return list(values)
        tensor = paddle.to_tensor(list(values), dtype="float64")
        dist.all_reduce(tensor)
        return (tensor / self.tensor).tolist()

    def sum_over_groups(self, values: paddle.Tensor) -> paddle.Tensor:
        """The sum of an ordinary tensor over the processes that hold the same part of the model."""
        if self.tensor == 1:
            dist.all_reduce(values)
            return values
        return whole(dtensor_from_local(values, self._peers, [dist.Partial()]))

    def from_leader(self, values: Sequence[float]) -> list[float]:
        """The numbers of rank 0; the others pass as many of their own, which are ignored."""
        if self.size == 1:
            return list(values)
        tensor = paddle.to_tensor(list(values), dtype="float64")
        dist.broadcast(tensor, src=0)
        return tensor.tolist()

    def share_weights(self, model: paddle.nn.Layer) -> None:
        """Give all groups the weights of the first one."""
        if self.groups == 1:
            return
        for tensor in distinct(model).values():
            own = local(tensor)
            if self.tensor == 1:
                dist.broadcast(own, src=0)
            else:
                own.set_value(self.sum_over_groups(own if self.group == 0 else paddle.zeros_like(own)))

    def sum_gradients(self, parameters: Sequence[paddle.Tensor]) -> None:
        """Replace gradients by their sums over all groups.

        Args:
            parameters: the same ones in the same order on all ranks. One that has a gradient on some rank gets one
                on all; one that has none anywhere keeps none, so that the optimiser leaves it alone.
        """
        if self.groups == 1:
            return
        used = self.sum([float(parameter.grad is not None) for parameter in parameters])
        bucket: list[paddle.Tensor] = []
        pending = 0
        active = [parameter for parameter, count in zip(parameters, used, strict=True) if count]
        for parameter in active:
            bucket.append(parameter)
            pending += parameter.size
            if pending >= BUCKET or parameter is active[-1]:
                self._sum_bucket(bucket)
                bucket, pending = [], 0

    def _sum_bucket(self, bucket: list[paddle.Tensor]) -> None:
        own = [local(parameter) for parameter in bucket]
        pieces = [
            paddle.zeros([part.size]) if parameter.grad is None else local(parameter.grad).flatten()
            for parameter, part in zip(bucket, own, strict=True)
        ]
        flat = self.sum_over_groups(paddle.concat(pieces))
        for parameter, part, piece in zip(bucket, own, flat.split([part.size for part in own]), strict=True):
            gradient = piece.reshape(part.shape)
            if is_divided(parameter):
                gradient = dtensor_from_local(gradient, parameter.process_mesh, parameter.placements)
            parameter.grad = gradient
