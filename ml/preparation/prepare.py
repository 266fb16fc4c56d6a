"""Make the cache that training reads: `python -m ml prepare --rle CSV --dicom DIR --out CACHE`.

Outlines come as the competition's table (`--rle`) or as a mask PNG for each picture (`--masks`).
Every picture is read, shrunk and scaled once, by the functions that serving uses; see
ml.datasets.dataset for the cache's layout. The cache holds patients' pictures: keep it out of the
repository. A picture that cannot be cached is listed with its reason, the others go on, and the
exit code is 3. What may be wrong with the data (see ml.preparation.data_checks) is told and written
into the cache as checks.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml import cli_options
from ml.datasets import cases, dataset, rle
from ml.datasets.cases import BadTable
from ml.datasets.catalogue import NO_FOLD, About, Record, write_records
from ml.errors import BadInput
from ml.evaluation.evaluate import INCOMPLETE
from ml.images import reader
from ml.images.picture import Picture
from ml.inference import measurements
from ml.metrics import subgroups
from ml.preparation import data_checks, fold_split
from ml.preprocessing import image_statistics, transforms
from ml.runtime import lung_finder


@dataclass(frozen=True)
class Job:
    """One picture to cache, with its outline as run-length texts or as a file, or with none."""

    id: str
    path: Path
    texts: tuple[str, ...]
    mask: Path | None
    side: int
    cache: Path
    # What an index says of view, sex and age, before the header does.
    listed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cached:
    """What became of a job: the original's size, what is known of it, and a doubtful mask."""

    rows: int
    columns: int
    about: About
    mask_fits: bool = True
    mask_empty: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    outlines = parser.add_mutually_exclusive_group(required=True)
    outlines.add_argument("--rle", type=Path, help="CSV: ImageId, EncodedPixels")
    outlines.add_argument(
        "--masks", type=Path, help="folder of mask PNGs named like their pictures: lung fields"
    )
    parser.add_argument(
        "--dicom", type=Path, required=True, help="folder of DICOM, PNG or JPEG named by ImageId"
    )
    parser.add_argument(
        "--index",
        type=Path,
        help="CSV: ImageId, patient; and fold, view, sex, age where known; without it every "
        "picture is its own patient",
    )
    parser.add_argument(
        "--panel", type=Path, help="folder of pictures that were judged, but not outlined"
    )
    parser.add_argument(
        "--panel-index",
        type=Path,
        help="CSV: id, label, pneumothorax, patient; rows labelled 'radiologist panel' are taken",
    )
    parser.add_argument(
        "--reports",
        action="store_true",
        help="take the panel's rows labelled 'text-mined' from reports, too: many, some wrong",
    )
    parser.add_argument(
        "--unlabelled",
        action="store_true",
        help="take the panel's rows that nobody judged ('none'), too: teachers judge them",
    )
    parser.add_argument(
        "--pseudo",
        type=Path,
        help="folder of pictures that models outlined, of unknown patients: only ever trained on",
    )
    parser.add_argument(
        "--pseudo-masks", type=Path, help="folder of their mask PNGs, named like the pictures"
    )
    parser.add_argument(
        "--lungs",
        action="store_true",
        help="find the lungs of every picture, for recipes that crop to them",
    )
    parser.add_argument("--out", type=Path, required=True, help="the cache's folder")
    parser.add_argument(
        "--size",
        type=cli_options.within(int, 32, 4096),
        default=384,
        help="largest network input to train from it, px",
    )
    parser.add_argument(
        "--workers",
        type=cli_options.within(int, 1, 1024),
        default=os.cpu_count() or 1,
        help="processes that read pictures (default: one for each core)",
    )


def run(args: argparse.Namespace) -> int:
    """Read every picture of the tables and write the cache; 3 where some could not be read."""
    if (args.panel is None) != (args.panel_index is None):
        raise BadInput("--panel and --panel-index belong together")
    if (args.pseudo is None) != (args.pseudo_masks is None):
        raise BadInput("--pseudo and --pseudo-masks belong together")
    for name in ("pictures", "masks"):
        (args.out / name).mkdir(parents=True, exist_ok=True)
    side = transforms.canonical_side(args.size, cropped=args.lungs)
    texts = cases.read_table(args.rle) if args.rle else {}
    masks = cases.pictures(args.masks)[0] if args.masks else {}
    rows = outlined_rows(texts, args.index) if args.rle else masked_rows(masks, args.index)
    listed = (
        cases.read_traits(args.index, (*subgroups.COLUMNS, "pneumothorax")) if args.index else {}
    )
    files = {args.dicom: cases.pictures(args.dicom)[0]}
    places = dict.fromkeys(rows, args.dicom)
    if args.panel:
        known = {patient: fold for patient, fold, _ in rows.values()}
        judged = panel_rows(args.panel_index, known, args.reports, args.unlabelled)
        rows |= {name: row for name, row in judged.items() if name not in rows}
        files[args.panel] = cases.pictures(args.panel)[0]
        listed = cases.read_traits(args.panel_index, (*subgroups.COLUMNS, "label"), "id") | listed
        places = dict.fromkeys(judged, args.panel) | places
    pseudo = cases.pictures(args.pseudo_masks)[0] if args.pseudo else {}
    if args.pseudo:
        masks |= {name: mask for name, mask in pseudo.items() if name not in rows}
        files[args.pseudo] = cases.pictures(args.pseudo)[0]
        places = dict.fromkeys(pseudo, args.pseudo) | places
        rows = {name: (name, NO_FOLD, True) for name in pseudo} | rows
    jobs = [
        Job(
            name,
            files[places[name]][name],
            tuple(texts.get(name, ())),
            masks.get(name),
            side,
            args.out,
            listed.get(name, {}),
        )
        for name in rows
        if name in files[places[name]]
    ]
    if not jobs:
        raise BadInput(f"no picture of {args.rle or args.masks} is in {args.dicom}")
    try:
        with ProcessPoolExecutor(args.workers) as pool:
            done = pool.map(attempt, jobs, chunksize=8)
            found = list(tqdm(done, desc="caching", total=len(jobs), unit="picture", disable=None))
    except BrokenProcessPool as error:
        raise BadInput("a reading process was killed (memory? try fewer --workers)") from error
    labels = {name: row.get("pneumothorax", "") for name, row in listed.items()}
    findings = data_checks.Findings(contradictory=data_checks.contradictions(texts, labels))
    records = []
    failed = 0
    for job, cached in zip(jobs, found, strict=True):
        if isinstance(cached, str):
            failed += 1
            print(f"{job.id}: {cached}", file=sys.stderr)
            continue
        if not cached.mask_fits:
            findings.mismatched_masks.append(job.id)
        if cached.mask_empty:
            findings.empty_masks.append(job.id)
        patient, fold, positive = rows[job.id]
        positive = positive and not cached.mask_empty
        source = "unlabelled" if listed.get(job.id, {}).get("label") == "none" else "panel"
        if job.id in texts or job.mask:
            source = "pseudo" if fold == NO_FOLD and job.id in pseudo else "masks"
        size = (cached.rows, cached.columns)
        records.append(Record(job.id, source, patient, fold, positive, *size, about=cached.about))
    if not records:
        raise BadInput("no picture could be cached")
    records = data_checks.joined(records, findings)
    if args.lungs:
        records = with_lungs(args.out, records)
    write_records(args.out, records)
    findings.write(args.out)
    for line in findings.lines():
        print(line, file=sys.stderr)
    missing = len(rows) - len(jobs)
    print(f"{len(records)} pictures in {args.out}; {missing} had no file, {failed} failed")
    return INCOMPLETE if failed else 0


def with_lungs(cache: Path, records: list[Record]) -> list[Record]:
    """The records with the crops around their pictures' lungs, as serving finds them."""
    finder = lung_finder.Finder()
    found = []
    for record in tqdm(records, desc="finding lungs", unit="picture", disable=None):
        picture = dataset.Pictures.read_one(cache, record)
        fields = finder.find(picture)
        tags = image_statistics.tags(image_statistics.of_canonical(picture), fields.mask)
        about = dataclasses.replace(record.about, tags=tags)
        found.append(dataclasses.replace(record, lungs=fields.crop(), about=about))
    return found


def attempt(job: Job) -> Cached | str:
    """What cache_one gives, or why there is nothing."""
    try:
        return cache_one(job)
    except reader.Unreadable as error:
        return f"{error.message} ({error.code})"
    except OSError as error:
        return str(error.strerror or error)
    except ValueError as error:
        return str(error)


def cache_one(job: Job) -> Cached:
    """Cache one picture, and its mask if there is one.

    Raises Unreadable, OSError, or ValueError for a mask that does not fit.
    """
    cv2.setNumThreads(0)
    picture = reader.read(job.path.read_bytes())
    small = transforms.canonical(picture.pixels, job.side)
    mask = _outline(job)
    dataset.write_png(job.cache / "pictures" / f"{job.id}.png", small)
    if mask.any():
        dataset.write_png(job.cache / "masks" / f"{job.id}.png", shrunk(mask, *small.shape))
    shape = (picture.rows, picture.columns)
    # The competition's masks are square whatever their picture's copy is.
    compared = data_checks.fits(mask.shape, shape) if job.mask else True
    given = job.mask is not None or any(text != rle.EMPTY for text in job.texts)
    about = described(picture, small, mask, job.listed)
    return Cached(*shape, about, compared, given and not bool(mask.any()))


def described(
    picture: Picture, small: NDArray[np.uint8], mask: NDArray[np.bool_], listed: dict[str, str]
) -> About:
    """What is known of a picture, by its header, its pixels, its outline and an index."""
    known = subgroups.traits(listed, picture.view, picture.patient_sex, None, "")
    count, _, _, centres = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    width = mask.shape[1]
    sides = {
        measurements.side(float(column), width / 2, picture.orientation)
        for column, _ in centres[1:count]
    } - {None}
    age = subgroups.years_of(listed.get("age", ""))
    return About(
        view=known.view,
        sex=known.sex,
        age=picture.patient_age_years if age is None else age,
        reported=subgroups.reported(listed.get(subgroups.REPORTED, "")),
        spacing_mm=round(picture.spacing.row_mm, 4) if picture.spacing else None,
        lesions=count - 1,
        area=round(float(mask.mean()), 6),
        side="both" if len(sides) > 1 else str(next(iter(sides), "")),
        tags=image_statistics.tags(image_statistics.of_canonical(small)),
        pixels=hashlib.sha256(small.tobytes()).hexdigest()[:16],
    )


def _outline(job: Job) -> NDArray[np.bool_]:
    if job.mask:
        try:
            return reader.read(job.mask.read_bytes()).pixels > 0
        except reader.Unreadable as error:
            raise ValueError(f"its mask: {error.message}") from error
    # A few published copies of the pictures are smaller than 1024 px; their masks are not.
    try:
        return rle.combine(job.texts, *cases.MASK_SHAPE)
    except ValueError as error:
        raise ValueError(f"its mask: {error}") from error


def shrunk(mask: NDArray[np.bool_], rows: int, columns: int) -> NDArray[np.uint8]:
    """A mask at the cached picture's size, 0 or 255: set where at least half of the area was."""
    share = transforms.resize(mask.astype(np.float32), rows, columns)
    return (share >= 0.5).astype(np.uint8) * np.uint8(255)


def outlined_rows(
    texts: dict[str, list[str]], index: Path | None
) -> dict[str, tuple[str, int, bool]]:
    """ImageId → (patient, fold, positive).

    Without an index, folds follow from the pictures' names; with one that names patients, but no
    fold for some of them, those are dealt out evenly by size (see ml.preparation.fold_split).
    """
    patients, given = cases.read_index(index) if index else ({}, {})
    if strange := [fold for fold in given.values() if fold and not fold.isdecimal()]:
        raise BadTable(f"{index}: fold {strange[0]!r} is no number")
    fold_of = {patients[name]: int(fold) for name, fold in given.items() if fold}
    sizes: dict[str, list[float]] = {}
    for name, found in texts.items():
        if name in patients and patients[name] not in fold_of:
            sizes.setdefault(patients[name], []).append(float(sum(map(rle.area, found))))
    fold_of |= fold_split.assign(sizes)
    return {
        name: (
            patients.get(name, name),
            int(given.get(name) or fold_of.get(patients.get(name, ""), fold_split.by_name(name))),
            any(text != rle.EMPTY for text in found),
        )
        for name, found in texts.items()
    }


def masked_rows(masks: dict[str, Path], index: Path | None) -> dict[str, tuple[str, int, bool]]:
    """outlined_rows for mask files; every picture counts as one with something outlined."""
    named = {name: ["1 1"] for name in masks}
    return outlined_rows(named, index)


def panel_rows(
    index: Path, known: dict[str, int], reports: bool = False, unlabelled: bool = False
) -> dict[str, tuple[str, int, bool]]:
    """id → (patient, fold, positive) of judged pictures; a known patient keeps their fold.

    reports: also those whose label a program took from the radiologist's report; unlabelled: also
    those that nobody judged, as not positive.
    """
    wanted = ("radiologist panel", *["text-mined"] * reports)
    return {
        row["id"]: (
            row["patient"],
            known.get(row["patient"], NO_FOLD),
            row["pneumothorax"] == "1",
        )
        for _, row in cases.read_rows(index, ("id", "label", "pneumothorax", "patient"))
        if (row["label"].startswith(wanted) and row["pneumothorax"] in ("0", "1"))
        or (unlabelled and row["label"] == "none")
    }
