"""The training pictures: a cache of canonical 8-bit PNGs, and data sets of them.

The cache is what `ml.preparation.prepare` writes: `records.csv` (see ml.datasets.catalogue),
`pictures/<id>.png` (see ml.preprocessing.transforms.canonical) and, for pictures with an outlined
pneumothorax, `masks/<id>.png` (0 or 255, same size).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ml.datasets import masked_images
from ml.datasets.catalogue import OUTLINED, Record
from ml.datasets.soft_labels import SoftLabels, mix
from ml.errors import BadInput
from ml.preprocessing import transforms
from ml.recipe import Recipe


@dataclass(frozen=True)
class Pictures:
    """Canonical pictures and masks in memory, uint8; no mask (None) where none was drawn.

    A mask is (rows, columns), or (rows, columns, C) for a recipe of C > 1 classes.
    """

    records: list[Record]
    pictures: list[NDArray[np.uint8]]
    masks: list[NDArray[np.uint8] | None]
    soft_labels: SoftLabels | None = None
    _preprocessed: dict[Any, NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @classmethod
    def read_for_training(cls, cache: Path, records: list[Record], recipe: Recipe) -> Pictures:
        """`read`, with the recipe's soft labels."""
        if recipe.taught:
            labels = SoftLabels.read(cache, recipe, [record.id for record in records])
            return replace(cls.read(cache, records, recipe.classes), soft_labels=labels)
        return cls.read(cache, records, recipe.classes)

    @classmethod
    def read(
        cls, cache: Path, records: list[Record], classes: tuple[str, ...] = ("pneumothorax",)
    ) -> Pictures:
        """Decode the cache's PNGs; about 0.3 MB of memory per picture.

        The masks of the first class are in `masks`, those of another one in `masks-<class>`.
        """
        pictures = []
        masks = []
        for record in tqdm(records, desc="reading", unit="picture", leave=False, disable=None):
            pictures.append(cls.read_one(cache, record))
            if len(classes) > 1:
                masks.append(_planes(cache, record, classes, pictures[-1].shape))
                continue
            masks.append(cls.read_mask(cache, record))
        return cls(records, pictures, masks)

    def part(self, numbers: Iterable[int]) -> Pictures:
        """Some of the pictures."""
        chosen = list(numbers)
        return Pictures(
            [self.records[n] for n in chosen],
            [self.pictures[n] for n in chosen],
            [self.masks[n] for n in chosen],
            self.soft_labels,
        )

    def preprocessed(self, number: int, recipe: Recipe) -> NDArray[np.uint8]:
        """A picture after the recipe's denoising and equalisation, computed once."""
        if not recipe.denoise and not recipe.clahe:
            return self.pictures[number]
        key = (number, recipe.denoise, recipe.clahe)
        if key not in self._preprocessed:
            picture = transforms.clean(self.pictures[number], recipe.denoise, recipe.clahe)
            self._preprocessed[key] = picture
        return self._preprocessed[key]

    @staticmethod
    def read_mask(cache: Path, record: Record) -> NDArray[np.uint8] | None:
        """The first class's mask in the cache, 0 or 255; None where nothing is outlined."""
        return _png(cache / "masks" / f"{record.id}.png") if record.outlined else None

    @staticmethod
    def read_one(cache: Path, record: Record) -> NDArray[np.uint8]:
        """One canonical picture of the cache."""
        return _png(cache / "pictures" / f"{record.id}.png")


def draw(
    positive: NDArray[np.bool_],
    count: int,
    share: float,
    rng: np.random.Generator,
    false_positives: NDArray[np.float64] | None = None,
    hard_share: float = 0.0,
) -> NDArray[np.int64]:
    """`count` shuffled picture numbers, `share` of them positive.

    Every picture of a class comes before any of it comes again; but `hard` of the negatives are
    drawn in proportion to the probability of a false positive.
    """
    wanted = round(count * share)
    negatives = np.flatnonzero(~positive)
    mined = 0 if false_positives is None else round((count - wanted) * hard_share)
    chosen = [
        _without_repeats(np.flatnonzero(positive), wanted, rng),
        _without_repeats(negatives, count - wanted - mined, rng),
    ]
    if mined and not len(negatives):
        raise BadInput("no picture without a finding to draw from: hard_negatives needs some")
    if false_positives is not None and mined:
        weights = false_positives[negatives]
        chosen.append(rng.choice(negatives, mined, p=weights / weights.sum()))
    return rng.permutation(np.concatenate(chosen))


class AugmentedEpoch(Dataset[dict[str, Tensor]]):
    """One epoch's augmented pictures.

    Every random choice follows from (seed, epoch, position), so that neither the number of
    loader processes nor a resumed run changes what is drawn.
    """

    def __init__(
        self,
        pictures: Pictures,
        recipe: Recipe,
        epoch: int,
        share: float,
        size: int,
        false_positives: NDArray[np.float64] | None = None,
    ) -> None:
        # Where only the outline is trained, a positive without one has no target.
        by_outline = recipe.image_weight == 0 and recipe.patch_weight == 0 and not recipe.hidden
        records = pictures.records
        taught = pictures.soft_labels is not None
        usable = [r.source != "panel" or taught or not (r.positive and by_outline) for r in records]
        numbers = np.flatnonzero(usable)
        positive = np.array([any(records[n].shows(recipe)) for n in numbers], dtype=np.bool_)
        rng = np.random.default_rng((recipe.seed, epoch))
        hard_share = None if false_positives is None else false_positives[numbers]
        self.order = numbers[
            draw(positive, recipe.epoch_pictures, share, rng, hard_share, recipe.hard_negatives)
        ]
        self.pictures, self.recipe, self.epoch, self.size = pictures, recipe, epoch, size

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        number = int(self.order[position])
        picture, mask = self.pictures.preprocessed(number, self.recipe), self.pictures.masks[number]
        rng = np.random.default_rng((self.recipe.seed, self.epoch, position))
        drawn = np.zeros_like(picture) if mask is None else mask
        record = self.pictures.records[number]
        crop, taught, recipe = record.crop(self.recipe), self.pictures.soft_labels, self.recipe
        soft = taught.map_of(record.id, picture.shape) if taught else None
        view, target = transforms.augment(picture, drawn, self.size, recipe, rng, crop, soft)
        if recipe.hidden:
            return masked_images.item(view, recipe.hidden, rng)
        target = target.reshape(-1, self.size, self.size)
        if taught is None:
            return _item(view, target, record, recipe)
        outlined = record.source in OUTLINED or (record.source == "panel" and not record.positive)
        return mix(
            _item(view, target[:-1], record, recipe),
            target[-1],
            taught.probabilities[record.id],
            outlined=outlined,
            labelled=record.source != "unlabelled",
            weight=recipe.taught_weight,
        )


class PlainPictures(Dataset[dict[str, Tensor]]):
    """Pictures as serving sees them, in order."""

    def __init__(self, pictures: Pictures, recipe: Recipe) -> None:
        self.pictures, self.recipe = pictures, recipe

    def __len__(self) -> int:
        return len(self.pictures.records)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        picture, mask = self.pictures.preprocessed(number, self.recipe), self.pictures.masks[number]
        record, size = self.pictures.records[number], self.recipe.size
        crop = record.crop(self.recipe)
        view = transforms.place(picture, size, crop)
        drawn = np.zeros_like(picture) if mask is None else mask
        # The same geometry for the mask; its padding of -1 falls on the background's side.
        planes = [drawn] if drawn.ndim == 2 else list(np.moveaxis(drawn, 2, 0))
        target = np.stack([transforms.place(plane, size, crop) > 0 for plane in planes])
        return _item(view, target.astype(np.float32), record, self.recipe)


def _item(
    view: NDArray[np.float32], target: NDArray[np.float32], record: Record, recipe: Recipe
) -> dict[str, Any]:
    """target: (C, S, S). The labels are one number for one class, else a vector of C."""
    shown = record.shows(recipe)
    if len(target) < len(shown):  # nothing was drawn, of no class
        target = np.zeros((len(shown), *target.shape[1:]), dtype=np.float32)
    # A thin outline can leave the picture with a shift; then there is nothing to segment.
    drawn = [bool(mask.any()) for mask in target]
    known = record.source in OUTLINED
    outlined = [known and here and d for here, d in zip(shown, drawn, strict=True)]
    labels = [torch.tensor([float(flag) for flag in flags]) for flags in (shown, outlined)]
    if len(shown) == 1:
        labels = [label[0] for label in labels]
    return {
        "picture": torch.from_numpy(view)[None],
        "mask": torch.from_numpy(target),
        "positive": labels[0],
        "label": labels[0],
        "outlined": labels[1],
    }


def _planes(
    cache: Path, record: Record, classes: tuple[str, ...], shape: tuple[int, ...]
) -> NDArray[np.uint8] | None:
    """The masks of several classes, (rows, columns, C); None where nothing was drawn."""
    planes: NDArray[np.uint8] = np.zeros((*shape, len(classes)), dtype=np.uint8)
    if record.source not in OUTLINED or not (record.positive or record.other_classes):
        return None
    for number, name in enumerate(classes):
        if (number == 0 and record.positive) or (number and name in record.other_classes):
            folder = f"masks-{name}" if number else "masks"
            planes[..., number] = _png(cache / folder / f"{record.id}.png")
    return planes


def _without_repeats(
    pool: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    if count and not len(pool):
        raise BadInput("no picture of this class to draw from")
    rounds = -(-count // max(len(pool), 1))
    permutations = [rng.permutation(pool) for _ in range(rounds)]
    return np.concatenate([np.empty(0, dtype=np.int64), *permutations])[:count]


def _png(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise FileNotFoundError(errno.ENOENT, "missing, or not a picture", str(path))
    return np.asarray(picture, dtype=np.uint8)


def write_png(path: Path, grey: NDArray[np.uint8]) -> None:
    """Write a picture, or OSError: cv2.imwrite returns no reason, such as a full disk."""
    ok, encoded = cv2.imencode(".png", grey)
    if not ok:
        raise ValueError("it could not be encoded")
    path.write_bytes(encoded.tobytes())
