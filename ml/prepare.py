"""Make the cache that training reads: `python -m ml prepare --rle CSV --dicom DIR --out CACHE`.

Every picture is read, shrunk and scaled once, by the functions that serving uses; see ml.data for
the cache's layout. The cache holds patients' pictures: keep it out of the repository.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml import cases, pixels, rle, transforms
from ml.data import NO_FOLD, Record, write_records

FOLDS = 5


@dataclass(frozen=True)
class Job:
    """One picture to cache. texts: its run-length masks; none: nobody outlined it."""

    id: str
    path: Path
    texts: tuple[str, ...]
    side: int
    cache: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--rle", type=Path, required=True, help="CSV: ImageId, EncodedPixels")
    parser.add_argument(
        "--dicom", type=Path, required=True, help="folder of DICOM, PNG or JPEG named by ImageId"
    )
    parser.add_argument(
        "--index",
        type=Path,
        help="CSV: ImageId, patient, fold; without it every picture is its own patient",
    )
    parser.add_argument(
        "--panel", type=Path, help="folder of pictures that were judged, but not outlined"
    )
    parser.add_argument(
        "--panel-index",
        type=Path,
        help="CSV: id, label, pneumothorax, patient; rows labelled 'radiologist panel' are taken",
    )
    parser.add_argument("--out", type=Path, required=True, help="the cache's folder")
    parser.add_argument(
        "--size", type=int, default=384, help="largest network input to train from it, px"
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)


def run(args: argparse.Namespace) -> int:
    """Read every picture of the tables and write the cache."""
    for name in ("pictures", "masks"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    side = transforms.canonical_side(args.size)
    texts = cases.read_table(args.rle)
    rows = outlined_rows(texts, args.index)
    files = {args.dicom: cases.pictures(args.dicom)[0]}
    places = dict.fromkeys(rows, args.dicom)
    if args.panel and args.panel_index:
        known = {patient: fold for patient, fold, _ in rows.values()}
        judged = panel_rows(args.panel_index, known)
        rows |= {name: row for name, row in judged.items() if name not in rows}
        files[args.panel] = cases.pictures(args.panel)[0]
        places = dict.fromkeys(judged, args.panel) | places
    jobs = [
        Job(name, files[places[name]][name], tuple(texts.get(name, ())), side, args.out)
        for name in rows
        if name in files[places[name]]
    ]
    with ProcessPoolExecutor(args.workers) as pool:
        shapes = list(tqdm(pool.map(cache_one, jobs, chunksize=8), total=len(jobs), unit="picture"))
    records = []
    for job, (height, width) in zip(jobs, shapes, strict=True):
        patient, fold, positive = rows[job.id]
        source = "masks" if job.id in texts else "panel"
        records.append(Record(job.id, source, patient, fold, positive, height, width))
    write_records(args.out, records)
    print(f"{len(jobs)} pictures in {args.out}; {len(rows) - len(jobs)} had no file")
    return 0


def cache_one(job: Job) -> tuple[int, int]:
    """Cache one picture, and its mask if there is one; gives its (rows, columns)."""
    cv2.setNumThreads(0)
    picture = pixels.read(job.path.read_bytes()).pixels
    small = transforms.canonical(picture, job.side)
    cv2.imwrite(str(job.cache / "pictures" / f"{job.id}.png"), small)
    # A few published copies of the pictures are smaller than 1024 px; their masks are not.
    mask = rle.combine(job.texts, *cases.MASK_SHAPE)
    if mask.any():
        cv2.imwrite(str(job.cache / "masks" / f"{job.id}.png"), shrunk(mask, *small.shape))
    return picture.shape


def shrunk(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.uint8]:
    """A mask at the cached picture's size, 0 or 255: set where at least half of the area was."""
    share = transforms.resize(mask.astype(np.float32), rows, columns)
    return (share >= 0.5).astype(np.uint8) * np.uint8(255)


def outlined_rows(
    texts: dict[str, list[str]], index: Path | None
) -> dict[str, tuple[str, int, bool]]:
    """ImageId → (patient, fold, positive). Without an index, folds follow from the name."""
    patients, folds = cases.read_index(index) if index else ({}, {})
    return {
        name: (
            patients.get(name, name),
            int(folds.get(name) or _fold_of(name)),
            any(text != rle.EMPTY for text in found),
        )
        for name, found in texts.items()
    }


def panel_rows(index: Path, folds: dict[str, int]) -> dict[str, tuple[str, int, bool]]:
    """id → (patient, fold, positive) of judged pictures; a known patient keeps their fold."""
    with index.open(newline="", encoding="utf-8") as file:
        return {
            row["id"]: (
                row["patient"],
                folds.get(row["patient"], NO_FOLD),
                row["pneumothorax"] == "1",
            )
            for row in csv.DictReader(file)
            if row["label"] == "radiologist panel"
        }


def _fold_of(patient: str) -> int:
    return hashlib.sha256(patient.encode()).digest()[0] % FOLDS
