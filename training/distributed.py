# SPDX-License-Identifier: GPL-3.0-or-later
"""Training distributed by torchrun: this process's rank, values shared between processes,
and batch norm over all of them.

With a single process, every function returns its input. The backend is nccl on GPUs and gloo on CPUs.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as dist_nn
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """This process among `size`: its rank overall, and its rank on this machine, which picks its GPU."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """True in the one process that writes files and prints."""
        return self.rank == 0


ALONE = World()


def join_world(device_type: str) -> World:
    """Join the process group described by torchrun's environment; a world of one without it."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return ALONE
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def leave_world() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_spread() -> bool:
    """Whether several processes train together."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def gathered(values: Tensor) -> Tensor:
    """(W * B, ...) all processes' (B, ...), in rank order, with gradients flowing back to each.

    A loss of gathered values, computed identically in every process, has the right gradient after
    DistributedDataParallel's average: the gather's backward pass sums over processes, and the
    average divides by their number.
    """
    if not is_spread():
        return values
    if not values.is_floating_point():
        parts = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, values.contiguous())
        return torch.cat(parts)
    return torch.cat(dist_nn.all_gather(values.contiguous()))


def mean_over_processes(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each value averaged over the processes, for the log."""
    if not is_spread():
        return values
    stacked = torch.stack([value.detach().float() for value in values.values()])
    dist.all_reduce(stacked)
    return dict(zip(values, stacked / dist.get_world_size(), strict=True))


def any_process(flag: bool, device: torch.device) -> bool:
    """True in all processes when it is in one."""
    if not is_spread():
        return flag
    vote = torch.tensor(float(flag), device=device)
    dist.all_reduce(vote, dist.ReduceOp.MAX)
    return bool(vote.item())


class SharedBatchNorm(nn.Module):
    """Batch norm over the batches of all processes, on any device (torch's SyncBatchNorm is for GPUs only)."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        super().__init__()
        self.eps, self.momentum = norm.eps, norm.momentum if norm.momentum is not None else 0.1
        self.weight, self.bias = norm.weight, norm.bias
        self.register_buffer("running_mean", norm.running_mean)
        self.register_buffer("running_var", norm.running_var)
        self.register_buffer("num_batches_tracked", norm.num_batches_tracked)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, ...), normalised."""
        axes = [0, *range(2, x.ndim)]
        shape = (1, -1) + (1,) * (x.ndim - 2)
        if self.training:
            values = x.float()
            count = values.numel() // values.shape[1]
            sums = torch.cat([values.sum(axes), values.square().sum(axes), values.new_tensor([float(count)])])
            sums = dist_nn.all_reduce(sums) if is_spread() else sums
            total = sums[-1].detach()
            mean, square = (sums[:-1] / total).chunk(2)
            variance = (square - mean.square()).clamp(min=0)
            self._remember(mean.detach(), variance.detach() * (total / (total - 1).clamp(min=1)))
        else:
            mean, variance = self.running_mean, self.running_var
        scale = (self.weight * torch.rsqrt(variance + self.eps)).reshape(shape)
        return ((x - mean.reshape(shape)) * scale + self.bias.reshape(shape)).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def with_shared_batch_norm(module: nn.Module) -> nn.Module:
    """The module with its batch norms replaced in place by shared ones if training is distributed."""
    if not is_spread():
        return module
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, SharedBatchNorm(child))
        else:
            with_shared_batch_norm(child)
    return module
