"""The processes that train one network together: one, or several by Lightning Fabric.

Fabric starts the processes (this command once more for each device), gives each its device and
connects them: NCCL between GPUs, gloo between processors. Every process takes its part of every
pass, the sums of gradients and losses are exchanged, and all take the same step: a recipe learns
the same on one device or on many. (Batch norm that is not frozen sees its own process's part
alone, as it does with torch's DistributedDataParallel.)
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ml.errors import BadInput
from ml.recipe import Recipe


class ProcessGroup:
    """The processes that train together, seen from one of them; without Fabric the only one."""

    def __init__(self, fabric: Any = None) -> None:
        self._fabric = fabric
        self.size: int = fabric.world_size if fabric else 1
        self.rank: int = fabric.global_rank if fabric else 0
        own = "cuda" if torch.cuda.is_available() else "cpu"
        self.device: torch.device = fabric.device if fabric else torch.device(own)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def sum_of(self, value: Tensor) -> Tensor:
        """The sum of all processes' values."""
        if self.size == 1:
            return value
        summed: Tensor = self._fabric.all_reduce(value.clone(), reduce_op="sum")
        return summed

    def broadcast(self, value: Any) -> Any:
        """The first process's value, for all: of clocks and validations, for example."""
        return value if self.size == 1 else self._fabric.broadcast(value)

    @torch.no_grad()
    def sum_gradients(self, net: nn.Module) -> None:
        """Replace every gradient by the sum of all processes' gradients, in one exchange."""
        if self.size == 1:
            return
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        summed = self.sum_of(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = torch.split(summed, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def barrier(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            self._fabric.barrier()


def start(recipe: Recipe) -> ProcessGroup:
    """The recipe's processes; each of them returns from here. Before anything uses a GPU."""
    if not recipe.engine:
        return ProcessGroup()
    try:
        from lightning_fabric import Fabric
    except ModuleNotFoundError as error:
        raise BadInput(
            'engine = "fabric" needs lightning-fabric: install it with `pip install .[many]`'
        ) from error
    strategy = "ddp" if recipe.devices > 1 else "auto"
    fabric = Fabric(devices=recipe.devices, strategy=strategy)
    fabric.launch()
    return ProcessGroup(fabric)
