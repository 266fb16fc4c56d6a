"""The training pictures: a cache of canonical 8-bit PNGs, its table, folds and sampling.

The cache is what `ml.prepare` writes: `records.csv`, `pictures/<id>.png` (see
ml.transforms.canonical) and, for pictures with an outlined pneumothorax, `masks/<id>.png`
(0 or 255, same size).
"""

from __future__ import annotations

import csv
import errno
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from ml import transforms
from ml.cases import BadTable
from ml.config import Config
from ml.crop import Crop
from ml.errors import BadInput

# What is known of a picture: "masks": outlined by radiologists (empty when there is nothing to
# outline); "pseudo": outlined by models, never held out; "panel": judged as a whole, by
# radiologists or from their reports, never outlined.
SOURCES = ("masks", "pseudo", "panel")
FIELDS = ("id", "source", "patient", "fold", "positive", "rows", "columns", "lungs")
NO_FOLD = -1  # a patient outside of the folds: always trained on, never evaluated


@dataclass(frozen=True)
class Record:
    """One picture of the cache. rows, columns: of the original picture; lungs: around them."""

    id: str
    source: str
    patient: str
    fold: int
    positive: bool
    rows: int
    columns: int
    lungs: Crop | None = None

    def crop(self, config: Config) -> Crop | None:
        """What a network of this recipe sees of the picture."""
        return self.lungs if config.crop == "lungs" else None

    @property
    def outlined(self) -> bool:
        """Whether there is a non-empty mask to learn from."""
        return self.positive and self.source != "panel"


def read_records(cache: Path) -> list[Record]:
    """The cache's table, in its own order; BadTable where it is not what `prepare` writes."""
    path = cache / "records.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [
                Record(
                    row["id"],
                    row["source"],
                    row["patient"],
                    int(row["fold"] or NO_FOLD),
                    row["positive"] == "1",
                    int(row["rows"]),
                    int(row["columns"]),
                    _crop(row.get("lungs") or ""),
                )
                for row in csv.DictReader(file)
            ]
    except (KeyError, TypeError, ValueError) as error:
        raise BadTable(f"{path} is not the table of a cache that `prepare` made") from error


def write_records(cache: Path, records: Iterable[Record]) -> None:
    """The table that read_records reads."""
    with (cache / "records.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for r in records:
            fold = "" if r.fold == NO_FOLD else r.fold
            lungs = f"{r.lungs.left} {r.lungs.top} {r.lungs.side}" if r.lungs else ""
            row = (r.id, r.source, r.patient, fold, int(r.positive), r.rows, r.columns, lungs)
            writer.writerow(row)


def _crop(text: str) -> Crop | None:
    return Crop(*(float(part) for part in text.split())) if text else None


def split(records: list[Record], fold: int) -> tuple[list[Record], list[Record]]:
    """(training, held out): no patient of the held-out fold is trained on, from any source.

    A negative fold holds nothing out; BadInput where another one would, too: what is measured on
    "its" pictures would have been trained on.
    """
    if fold < 0:
        return list(records), []
    held_out_patients = {r.patient for r in records if r.fold == fold}
    training = [r for r in records if r.patient not in held_out_patients]
    held_out = [r for r in records if r.fold == fold and r.source == "masks"]
    if not held_out:
        raise BadInput(f"fold {fold} holds no outlined picture of this cache out (-1: none)")
    return training, held_out


def counts(training: list[Record], held_out: list[Record]) -> dict[str, dict[str, int]]:
    """Pictures, positives, outlines and patients of both parts, for a card."""
    return {
        name: {
            "pictures": len(part),
            "positive": sum(record.positive for record in part),
            "outlined": sum(record.outlined for record in part),
            "patients": len({record.patient for record in part}),
        }
        for name, part in (("training", training), ("held_out", held_out))
    }


@dataclass(frozen=True)
class Pictures:
    """Canonical pictures and masks in memory, uint8; no mask (None) where none was drawn."""

    records: list[Record]
    pictures: list[NDArray[np.uint8]]
    masks: list[NDArray[np.uint8] | None]

    @classmethod
    def read(cls, cache: Path, records: list[Record]) -> Pictures:
        """Decode the cache's PNGs; about 0.3 MB of memory per picture."""
        pictures = []
        masks = []
        for record in tqdm(records, desc="reading", unit="picture", leave=False):
            pictures.append(cls.read_one(cache, record))
            mask = cache / "masks" / f"{record.id}.png"
            masks.append(_png(mask) if record.outlined else None)
        return cls(records, pictures, masks)

    @staticmethod
    def read_one(cache: Path, record: Record) -> NDArray[np.uint8]:
        """One canonical picture of the cache."""
        return _png(cache / "pictures" / f"{record.id}.png")


def draw(
    positive: NDArray[np.bool_], count: int, share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """`count` shuffled picture numbers, `share` of them positive.

    Every picture of a class comes before any of it comes again.
    """
    wanted = round(count * share)
    chosen = [
        _without_repeats(np.flatnonzero(positive), wanted, rng),
        _without_repeats(np.flatnonzero(~positive), count - wanted, rng),
    ]
    return rng.permutation(np.concatenate(chosen))


class Drawn(Dataset[dict[str, Tensor]]):
    """One epoch's augmented pictures.

    Every random choice follows from (seed, epoch, position), so that neither the number of
    loader processes nor a resumed run changes what is drawn.
    """

    def __init__(
        self, pictures: Pictures, config: Config, epoch: int, share: float, size: int
    ) -> None:
        # Where the outline is all that is learnt, a positive without one teaches nothing.
        by_outline = config.image_weight == 0 and config.patch_weight == 0
        records = pictures.records
        telling = [r.outlined or not (r.positive and by_outline) for r in records]
        numbers = np.flatnonzero(telling)
        positive = np.array([records[number].positive for number in numbers], dtype=np.bool_)
        rng = np.random.default_rng((config.seed, epoch))
        self.order = numbers[draw(positive, config.epoch_pictures, share, rng)]
        self.pictures, self.config, self.epoch, self.size = pictures, config, epoch, size

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        number = int(self.order[position])
        picture, mask = self.pictures.pictures[number], self.pictures.masks[number]
        rng = np.random.default_rng((self.config.seed, self.epoch, position))
        drawn = np.zeros_like(picture) if mask is None else mask
        record = self.pictures.records[number]
        crop = record.crop(self.config)
        view, target = transforms.augment(picture, drawn, self.size, self.config, rng, crop)
        return _item(view, target, record)


class Plain(Dataset[dict[str, Tensor]]):
    """Pictures as serving sees them, in order."""

    def __init__(self, pictures: Pictures, config: Config) -> None:
        self.pictures, self.config = pictures, config

    def __len__(self) -> int:
        return len(self.pictures.records)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        picture, mask = self.pictures.pictures[number], self.pictures.masks[number]
        record, size = self.pictures.records[number], self.config.size
        crop = record.crop(self.config)
        view = transforms.place(picture, size, crop)
        drawn = np.zeros_like(picture) if mask is None else mask
        # The same geometry for the mask; its padding of -1 falls on the background's side.
        target = (transforms.place(drawn, size, crop) > 0).astype(np.float32)
        return _item(view, target, record)


def _item(view: NDArray[np.float32], target: NDArray[np.float32], record: Record) -> dict[str, Any]:
    # A thin outline can leave the picture with a shift; then there is nothing to segment.
    outlined = record.outlined and bool(target.any())
    return {
        "picture": torch.from_numpy(view)[None],
        "mask": torch.from_numpy(target)[None],
        "positive": torch.tensor(float(record.positive)),
        "outlined": torch.tensor(float(outlined)),
    }


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
