"""All training pictures as uint8 on the network's device, and batches of their views.

A GPU takes pictures faster than a few processor cores can augment them: here the cores draw
numbers alone. `choose` decides for a recipe and a device whether this path is used; the host's own
path (`ml.datasets.dataset.AugmentedEpoch` in a DataLoader) stays for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.datasets import dataset
from ml.datasets.catalogue import OUTLINED
from ml.datasets.on_device import augmentation, draws
from ml.errors import BadInput
from ml.recipe import Recipe

# What the pictures may take of a GPU's free memory; the rest is the network's.
MEMORY_SHARE = 0.5


@dataclass(frozen=True)
class DevicePictures:
    """pictures: (N, 1, H, W) of uint8, filled up with 0 on the right and below; masks:
    (M + 1, C, H, W), the first one empty; mask_of: (N,), the mask of each picture.

    shown, known: (N, C), whether a picture shows each class, and whether that was drawn.
    """

    source: dataset.Pictures
    pictures: Tensor
    masks: Tensor
    mask_of: Tensor
    shown: Tensor
    known: Tensor

    @classmethod
    def of(cls, source: dataset.Pictures, recipe: Recipe, device: torch.device) -> DevicePictures:
        """The pictures on the device, after the recipe's denoising and equalisation."""
        height, width = largest(source)
        classes = len(recipe.classes)
        drawn = [n for n, mask in enumerate(source.masks) if mask is not None]
        pictures = np.zeros((len(source.records), 1, height, width), dtype=np.uint8)
        masks = np.zeros((len(drawn) + 1, classes, height, width), dtype=np.uint8)
        mask_of = np.zeros(len(source.records), dtype=np.int64)
        for number in range(len(source.records)):
            picture = source.preprocessed(number, recipe)
            pictures[number, 0, : picture.shape[0], : picture.shape[1]] = picture
        for place, number in enumerate(drawn, start=1):
            mask = np.atleast_3d(np.asarray(source.masks[number]))
            masks[place, :, : mask.shape[0], : mask.shape[1]] = np.moveaxis(mask, 2, 0)
            mask_of[number] = place
        shown = np.array([record.shows(recipe) for record in source.records], dtype=np.float32)
        known = [[float(record.source in OUTLINED)] * classes for record in source.records]
        return cls(
            source,
            torch.from_numpy(pictures).to(device),
            torch.from_numpy(masks).to(device),
            torch.from_numpy(mask_of).to(device),
            torch.from_numpy(shown.reshape(-1, classes)).to(device),
            torch.tensor(known).reshape(-1, classes).to(device),
        )

    @property
    def device(self) -> torch.device:
        """Where the pictures are."""
        return self.pictures.device

    def batches(
        self, epoch: dataset.AugmentedEpoch, rank: int = 0, processes: int = 1
    ) -> Iterator[dict[str, Tensor]]:
        """The epoch's batches on the device: the same pictures with the same views as a loader of
        that epoch, with other noise; of several processes' batches this one's part."""
        size, own = epoch.recipe.batch, epoch.recipe.batch // processes
        for begin in range(0, len(epoch), size):
            first = begin + rank * own
            places = range(first, min(first + own, len(epoch)))
            if places:
                yield self.batch(epoch, places)

    def batch(self, epoch: dataset.AugmentedEpoch, places: range) -> dict[str, Tensor]:
        """The pictures at these places of the epoch, as dataset.AugmentedEpoch has each."""
        recipe, numbers = epoch.recipe, epoch.order[places.start : places.stop]
        drawn = [
            self._draw(epoch, int(number), place)
            for number, place in zip(numbers, places, strict=True)
        ]
        chosen = torch.from_numpy(np.asarray(numbers)).to(self.device, non_blocking=True)
        layers = torch.cat([self.pictures[chosen], self.masks[self.mask_of[chosen]]], dim=1)
        noise = torch.Generator(self.device)
        noise.manual_seed(_seed(recipe.seed, epoch.epoch, places.start))
        view, target = augmentation.views(layers, drawn, epoch.size, noise)
        shown = self.shown[chosen]
        # A thin outline can leave the picture with a shift; then there is nothing to segment.
        outlined = shown * self.known[chosen] * (target.amax((2, 3)) > 0)
        if shown.shape[1] == 1:
            shown, outlined = shown[:, 0], outlined[:, 0]
        return {
            "picture": view,
            "mask": target,
            "positive": shown,
            "label": shown,
            "outlined": outlined,
        }

    def _draw(self, epoch: dataset.AugmentedEpoch, number: int, place: int) -> draws.Draw:
        record, recipe = self.source.records[number], epoch.recipe
        rng = np.random.default_rng((recipe.seed, epoch.epoch, place))
        shape = self.source.pictures[number].shape
        return draws.draw(shape, epoch.size, recipe, rng, record.crop(recipe))


def choose(source: dataset.Pictures, recipe: Recipe, device: torch.device) -> DevicePictures | None:
    """The pictures on the device where the recipe and the device want that; None for the host.

    BadInput where the recipe insists on it and can't have it.
    """
    if recipe.augment_on == "host" or not source.records:
        return None
    reason = _obstacle(source, recipe, device)
    if recipe.augment_on == "device":
        if reason:
            raise BadInput(f'augment_on = "device" does not go with {reason}')
        return DevicePictures.of(source, recipe, device)
    return (
        DevicePictures.of(source, recipe, device) if device.type == "cuda" and not reason else None
    )


def largest(source: dataset.Pictures) -> tuple[int, int]:
    """Rows and columns into which every picture fits."""
    shapes: NDArray[np.int64] = np.array([picture.shape for picture in source.pictures])
    return int(shapes[:, 0].max()), int(shapes[:, 1].max())


def _obstacle(source: dataset.Pictures, recipe: Recipe, device: torch.device) -> str:
    """Why the pictures can't be augmented on this device; empty where they can."""
    if recipe.hidden:
        return "hidden patches"
    if source.soft_labels is not None:
        return "soft labels"
    if device.type == "cuda":
        height, width = largest(source)
        planes = len(source.records) + len(recipe.classes) * len(source.masks)
        if planes * height * width > MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]:
            return "so many pictures: they do not fit into half of the device's free memory"
    return ""


def _seed(seed: int, epoch: int, place: int) -> int:
    """The seed of a batch's noise."""
    return int(np.random.SeedSequence((seed, epoch, place, 1)).generate_state(1, np.uint64)[0] >> 1)
