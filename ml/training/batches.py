"""From data sets to batches on the network's device."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from ml.datasets import dataset
from ml.datasets.on_device.pictures import DevicePictures
from ml.recipe import Recipe
from ml.training.distributed import ProcessGroup

Batch = dict[str, Tensor]


def loader(pictures: Any, recipe: Recipe, group: ProcessGroup | None = None) -> DataLoader[Batch]:
    """Batches in order, or this process's part of each. Without a generator of its own a loader
    would draw from torch's, and a run that was stopped between two epochs would go on with other
    numbers."""
    size, own = recipe.batch, pictures
    if group is not None and group.size > 1:
        size = recipe.batch // group.size
        places = range(len(pictures))
        own = Subset(pictures, [n for n in places if n % recipe.batch // size == group.rank])
    generator = torch.Generator().manual_seed(recipe.seed)
    return DataLoader(
        own,
        batch_size=size,
        num_workers=recipe.workers,
        generator=generator,
        pin_memory=torch.cuda.is_available(),  # copied to the GPU while it computes
    )


def drawn(
    epoch: dataset.AugmentedEpoch,
    recipe: Recipe,
    on_device: DevicePictures | None = None,
    group: ProcessGroup | None = None,
) -> Iterable[Batch]:
    """An epoch's batches, or this process's part of each: from the pictures on the device where
    they are there, else from a loader."""
    if on_device is None:
        return loader(epoch, recipe, group)
    return on_device.batches(epoch, group.rank, group.size) if group else on_device.batches(epoch)


def steps(batches: Iterable[Batch], passes: int) -> Iterator[list[Batch]]:
    """The batches of one step after the other, `passes` at a time."""
    rest = iter(batches)
    while step := list(itertools.islice(rest, passes)):
        yield step


def to(device: torch.device, batch: Batch) -> Batch:
    """A batch on the device, its pictures in the layout in which convolutions are fast."""
    moved = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
    moved["picture"] = moved["picture"].to(memory_format=torch.channels_last)
    return moved
