"""The quality gate: how many real frontal films it refuses, and how many pictures of wrong kinds.

    python benchmarks/ml/gate.py fit ../shared/data        # the reference, on half of the patients
    python benchmarks/ml/gate.py measure ../shared/data    # on the other half

Real films are split by patient; reference and limits come from one half of them, and from wrong
pictures that are made of it. `measure` takes real films of the other half (all, or --others of each
source beside SIIM-ACR): adults with and without a pneumothorax, by view and by source, with 95 %
intervals (Wilson). Films of under-18s by their header and those under 256 px are refused rightly
and counted apart. Wrong pictures arrive in turn as PNG, as JPEG, and as DICOM without and with a
header that wrongly says "CHEST, PA"; one with a correct header is refused by it alone, and counted
separately. Prints both tables (`films` and `wrong` one of them), and with --json writes them, with
each refused film's name. --cache stores the lung finder's maps for a next run.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import gate_films as real
import gate_pictures as made
import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid
from tqdm import tqdm

from ml.images import reader
from ml.inference import predict, serving
from ml.preprocessing import transforms
from ml.quality import typicality
from ml.quality.typicality import GateInput
from ml.runtime import lung_finder

TRUTH = {"lateral": ("CHEST", "LL"), "hand": ("HAND", ""), "knee": ("KNEE", "AP"),
         "pelvis": ("PELVIS", "AP"), "skull": ("SKULL", "PA"), "abdomen": ("ABDOMEN", "AP"),
         "shoulder": ("SHOULDER", "AP"), "foot": ("FOOT", ""),
         "spine": ("TSPINE", "AP")}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("fit", "measure", "films", "wrong"))
    parser.add_argument("data", type=Path, help="folder with siim/, extra/ and dicom-odd/")
    parser.add_argument("--count", type=int, default=700, help="real films to fit on")
    parser.add_argument("--spoilt", type=int, default=40, help="films of which wrong ones are made")
    parser.add_argument("--half", type=int, choices=(0, 1), default=1, help="0: the fitting half")
    parser.add_argument(
        "--others",
        type=int,
        default=10**6,
        help="films of each finding from other sources than SIIM",
    )
    parser.add_argument("--cache", type=Path, help="folder for the lung finder's maps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "fit":
        return _fit(options)
    return _measure(options)


def _fit(options: argparse.Namespace) -> int:
    every = sorted(film.file for film in real.films(options.data) if film.half == 0)
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    finder = lung_finder.Finder()
    looks = []
    for file in tqdm(chosen, desc="real films", disable=None):
        canonical = transforms.canonical(reader.read(file.read_bytes()).pixels, 512)
        looks.append(GateInput(canonical, finder.find(canonical)))
    reference = typicality.fit(looks, finder.card["sha256"])
    typicality.write(reference)
    print(f"{typicality.REFERENCE}: {len(looks)} films, limit {reference.limit:.2f}")
    return 0


def _measure(options: argparse.Namespace) -> int:
    opened = serving.open(device="cpu")
    if options.cache:
        opened.finder = real.CachedFinder(options.cache)
    half = [film for film in real.films(options.data) if film.half == options.half]
    films = real.at_most(half, options.others)
    facts: dict[str, Any] = {}
    if options.what != "wrong":
        facts |= _measure_films(opened, films)
    if options.what != "films":
        facts["wrong"] = _measure_wrong(opened, options, films)
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return 0


def _measure_films(opened: serving.Serving, films: list[real.Film]) -> dict[str, Any]:
    verdicts = [
        (film, _verdict(opened, film.file.read_bytes()))
        for film in tqdm(films, desc="real films", disable=None)
    ]
    table = real.tabulate(verdicts)
    for kind, row in table.items():
        low, high = row["interval"]
        print(
            f"{kind:34} {row['refused']:4} of {row['n']:4} refused "
            f"{row['share']:6.2%} ({low:.2%} to {high:.2%})",
            row["codes"],
            flush=True,
        )
    named = sorted((film.file.name, code) for film, code in verdicts if code != "passed")
    return {"real": table, "refused": named}


def _measure_wrong(
    opened: serving.Serving, options: argparse.Namespace, films: list[real.Film]
) -> dict[str, Any]:
    total: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, data in tqdm(_wrong(options, films), desc="wrong pictures", disable=None):
        total[kind][_verdict(opened, data)] += 1
    table = {kind: _row(codes) for kind, codes in total.items()}
    for kind, row in table.items():
        low, high = row["interval"]
        print(
            f"{kind:34} {row['refused']:4} of {row['n']:4} refused "
            f"{row['share']:7.1%} ({low:.1%} to {high:.1%})",
            row["codes"],
        )
    return table


def _row(codes: Counter[str]) -> dict[str, Any]:
    count, passed = codes.total(), codes["passed"]
    refused = {code: number for code, number in codes.most_common() if code != "passed"}
    return {
        "n": count,
        "refused": count - passed,
        "share": 1 - passed / count,
        "interval": real.wilson(count - passed, count),
        "codes": refused,
    }


def _verdict(opened: serving.Serving, data: bytes) -> str:
    """The refusing code, 'unreadable', or 'passed'."""
    try:
        picture = reader.read(data)
    except reader.Unreadable:
        return "unreadable"
    verdict, _ = predict.checked(picture, opened)
    codes = [reason.code for reason in verdict.reasons if reason.refuses]
    return codes[0] if codes else "passed"


def _wrong(options: argparse.Namespace, films: list[real.Film]) -> Iterator[tuple[str, bytes]]:
    """(kind, file) of every picture that is no frontal film; some are made of films."""
    chests = [film.file for film in films]
    random.Random(options.seed + 1).shuffle(chests)
    number = 0
    left = options.spoilt
    for file in chests:
        if left == 0:
            break
        picture = reader.read(file.read_bytes())
        if min(picture.pixels.shape) < 600:  # its halves shall be large enough
            continue
        left -= 1
        chest = transforms.canonical(picture.pixels, 900)
        for kind, grey in made.of_chest(chest).items():
            number += 1
            yield f"spoilt: {kind}", _file(grey, number)
    for name in made.PARTS:
        for seed in range(16):
            grey = made.part(name, seed)
            yield f"drawn: {name}", _file(grey, seed)
            yield "drawn, correct header", _dicom(grey, *TRUTH[name])
    for seed in range(40):
        yield "page of text", _file(made.page(seed), seed)
    yield from _photographs()
    for file in sorted((options.data / "dicom-odd" / "not_chest").glob("*.dcm")):
        yield "real DICOM, not a chest", file.read_bytes()


def _photographs() -> Iterator[tuple[str, bytes]]:
    dice = np.random.default_rng(0)
    for number, picture in enumerate(made.photographs().values()):
        if picture.ndim == 3:
            yield "photograph, colour", cv2.imencode(".png", picture)[1].tobytes()
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        for part in range(4):
            share = dice.uniform(0.6, 1.0)
            rows, columns = (int(side * share) for side in picture.shape)
            top = int(dice.integers(picture.shape[0] - rows + 1))
            left = int(dice.integers(picture.shape[1] - columns + 1))
            cut = picture[top : top + rows, left : left + columns]
            least = max(1.0, 300 / min(cut.shape))  # not refused for its size alone
            grey = cv2.resize(cut, None, fx=least, fy=least).astype(np.uint8, copy=False)
            yield "photograph, grey", _file(grey, number + part)


def _file(grey: NDArray[np.uint8], number: int) -> bytes:
    """PNG, JPEG, DICOM without facts, and DICOM that claims to be a chest, in turn."""
    if number % 4 == 0:
        return cv2.imencode(".png", grey)[1].tobytes()
    if number % 4 == 1:
        return cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    return _dicom(grey) if number % 4 == 2 else _dicom(grey, "CHEST", "PA")


def _dicom(grey: NDArray[np.uint8], part: str = "", view: str = "") -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    if part:
        file.Modality, file.BodyPartExamined = "DX", part
        file.PatientAge = "060Y"
    if view:
        file.ViewPosition = view
    file.Rows, file.Columns = grey.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    even = grey if grey.size % 2 == 0 else grey[:, :-1]
    file.Columns = even.shape[1]
    data = even.tobytes()
    file.PixelData = data + b"\0" * (len(data) % 2)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
