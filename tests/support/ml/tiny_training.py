"""A recipe that trains in seconds, and pictures to learn from; needs torch."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np

from ml.datasets import catalogue, dataset
from ml.datasets.catalogue import Record
from ml.recipe import Recipe

TINY = Recipe.from_dict(
    {
        "name": "tiny",
        "encoder": "tu-test_efficientnet",
        "decoder_channels": [16, 16, 8, 8, 8],
        "size": 64,
        "size_from": [[0.0, 32], [0.5, 64]],
        "epochs": 2,
        "epoch_pictures": 16,
        "batch": 4,
        "positive_share": [0.75, 0.5],
        "encoder_rate": 1e-3,
        "dropout": 0.0,
        "ema": 0.5,
        "freeze_encoder_norm": False,
        "validate_every": 0,
        "threads": 1,
    }
)


def discs(count: int, seed: int = 0) -> dataset.Pictures:
    """Pictures of which the even ones show a dark disc, outlined by their mask."""
    rng = np.random.default_rng(seed)
    records, pictures, masks = [], [], []
    for number in range(count):
        picture = rng.integers(120, 200, (64, 64)).astype(np.uint8)
        mask = np.zeros((64, 64), dtype=np.uint8)
        positive = number % 2 == 0
        if positive:
            centre = tuple(int(v) for v in rng.integers(16, 48, 2))
            cv2.circle(mask, centre, 10, 255, -1)
            picture[mask > 0] //= 6
        records.append(Record(str(number), "masks", str(number), 0, positive, 64, 64))
        pictures.append(picture)
        masks.append(mask if positive else None)
    return dataset.Pictures(records, pictures, masks)


NOTHING = dataset.Pictures([], [], [])


def log(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cache_of_three_folds(cache: Path) -> Path:
    """A cache as `prepare` writes it: 72 pictures of noise, a third of them outlined."""
    rng = np.random.default_rng(0)
    records = []
    for name in ("pictures", "masks"):
        (cache / name).mkdir(parents=True)
    for number in range(72):
        grey = rng.integers(0, 255, (64, 64)).astype(np.uint8)
        cv2.imwrite(str(cache / "pictures" / f"{number}.png"), grey)
        if positive := number // 3 % 3 == 0:
            cv2.imwrite(str(cache / "masks" / f"{number}.png"), (grey > 128) * np.uint8(255))
        who, fold = f"p{number}", number % 3
        records.append(catalogue.Record(str(number), "masks", who, fold, positive, 64, 64))
    catalogue.write_records(cache, records)
    return cache
