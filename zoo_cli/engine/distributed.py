"""The processes that train together, started by `paddle.distributed.launch`.

The loop itself adds up gradients: each rank runs its share of a step's batches, then `sum_gradients` makes the totals
equal everywhere. Gradients are float32, whatever the precision of the forward pass: gloo returns infinity for float16.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import paddle
import paddle.distributed as dist

BUCKET = 8 * 2**20
"""Gradients are sent in pieces of about this many numbers (32 MB)."""


@dataclass(frozen=True)
class World:
    """This process among the others.

    Args:
        rank: number of this process; 0 saves, evaluates and reports.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> World:
        """Connect to the other processes of a launch; alone without one."""
        if int(os.environ.get("PADDLE_TRAINERS_NUM", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_parallel_env()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums of the numbers of all ranks."""
        if self.size == 1:
            return list(values)
        tensor = paddle.to_tensor(list(values), dtype="float64")
        dist.all_reduce(tensor)
        return tensor.tolist()

    def from_leader(self, values: Sequence[float]) -> list[float]:
        """The numbers of rank 0; the others pass as many of their own, which are ignored."""
        if self.size == 1:
            return list(values)
        tensor = paddle.to_tensor(list(values), dtype="float64")
        dist.broadcast(tensor, src=0)
        return tensor.tolist()

    def share_weights(self, model: paddle.nn.Layer) -> None:
        """Give all ranks the weights of rank 0."""
        if self.size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def sum_gradients(self, parameters: Sequence[paddle.Tensor]) -> None:
        """Replace gradients by their sums over all ranks.

        Args:
            parameters: the same ones in the same order on all ranks. One that has a gradient on some rank gets one
                on all; one that has none anywhere keeps none, so that the optimiser leaves it alone.
        """
        if self.size == 1:
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
        pieces = [
            paddle.zeros([parameter.size]) if parameter.grad is None else parameter.grad.flatten()
            for parameter in bucket
        ]
        flat = paddle.concat(pieces)
        dist.all_reduce(flat)
        for parameter, piece in zip(bucket, flat.split([parameter.size for parameter in bucket]), strict=True):
            parameter.grad = piece.reshape(parameter.shape)
