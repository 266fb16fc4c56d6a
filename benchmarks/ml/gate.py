"""The quality gate: how many real frontal films it refuses, and how many pictures of wrong kinds.

    python benchmarks/ml/gate.py fit ../shared/data        # the reference, on half of the patients
    python benchmarks/ml/gate.py measure ../shared/data    # on the other half

Real films are split by patient; the reference and every limit come from one half of real films and
from no wrong picture at all. Wrong pictures arrive in turn as PNG, as JPEG, and as DICOM without
and with a header that wrongly says "CHEST, PA"; one with a correct header is refused by it
alone, and counted separately. Prints a table, and with --json writes it.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
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

NIH = (
    "SaimMSiddiqui/ThoracicDiseaseDetection",
    "khoaguin/ai-for-medicine",
    "mrdchry/NIH-CHEST-XRAY",
)
TRUTH = {"lateral": ("CHEST", "LL"), "hand": ("HAND", ""), "knee": ("KNEE", "AP"),
         "pelvis": ("PELVIS", "AP"), "skull": ("SKULL", "PA"), "abdomen": ("ABDOMEN", "AP"),
         "shoulder": ("SHOULDER", "AP"), "foot": ("FOOT", ""),
         "spine": ("TSPINE", "AP")}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("fit", "measure"))
    parser.add_argument("data", type=Path, help="folder with siim/, extra/ and dicom-odd/")
    parser.add_argument("--count", type=int, default=700, help="real films to fit on")
    parser.add_argument(
        "--films", type=int, default=200, help="real films to measure, of each kind"
    )
    parser.add_argument("--spoilt", type=int, default=60, help="films of which wrong ones are made")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.what == "fit":
        return _fit(options)
    return _measure(options)


def _films(data: Path, half: int) -> dict[str, list[Path]]:
    """Frontal films of one half of the patients: 'hospital' (NIH) and 'foreign'."""
    found: dict[str, list[Path]] = {"hospital": [], "foreign": []}
    for folder in ("siim", "extra"):
        with (data / folder / "index.csv").open(encoding="utf-8") as table:
            for row in csv.DictReader(table):
                if hashlib.sha256(row["patient"].encode()).digest()[0] % 2 != half:
                    continue
                kind = "hospital" if row.get("source", NIH[0]) in NIH else "foreign"
                file = data / folder / (row.get("file") or f"jpeg/{row['id']}.jpg")
                if file.is_file():
                    found[kind].append(file)
    return found


def _fit(options: argparse.Namespace) -> int:
    films = _films(options.data, 0)
    every = sorted(films["hospital"] + films["foreign"])
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
    draw = random.Random(options.seed)
    films = {
        kind: draw.sample(sorted(files), min(options.films, len(files)))
        for kind, files in _films(options.data, 1).items()
    }
    total: dict[str, Counter[str]] = defaultdict(Counter)
    progress = tqdm(disable=None)
    for kind, name, data in _everything(options, films):
        progress.update()
        code = _verdict(opened, name, data)
        if name == "real" and code == "too_small":
            kind = "real frontal, under 256 px"
        total[kind][code] += 1
    table = {kind: _row(codes) for kind, codes in total.items()}
    for kind, row in table.items():
        print(
            f"{kind:38} {row['refused']:4} of {row['n']:4} refused {row['share']:7.1%}",
            row["codes"],
        )
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return 0


def _row(codes: Counter[str]) -> dict[str, Any]:
    count, passed = codes.total(), codes["passed"]
    refused = {code: number for code, number in codes.most_common() if code != "passed"}
    return {"n": count, "refused": count - passed, "share": 1 - passed / count, "codes": refused}


def _verdict(opened: serving.Serving, name: str, data: bytes) -> str:
    """The refusing code, 'unreadable', or 'passed'."""
    try:
        picture = reader.read(data)
    except reader.Unreadable:
        return "unreadable"
    verdict, _ = predict.checked(picture, opened)
    codes = [reason.code for reason in verdict.reasons if reason.refuses]
    # Children are refused by age, rightly: their film is no false refusal.
    codes = [code for code in codes if not (code == "under_18" and name.startswith("real"))]
    return codes[0] if codes else "passed"


def _everything(
    options: argparse.Namespace, films: dict[str, list[Path]]
) -> Iterator[tuple[str, str, bytes]]:
    """(kind, name, file) of all pictures."""
    for kind, files in films.items():
        for file in files:
            yield f"real frontal, {kind}", "real", file.read_bytes()
    chests = [*films["hospital"], *films["foreign"]]
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
            yield f"spoilt: {kind}", kind, _file(grey, number)
    for name in made.PARTS:
        for seed in range(16):
            grey = made.part(name, seed)
            yield f"drawn: {name}", name, _file(grey, seed)
            yield "drawn, correct header", name, _dicom(grey, *TRUTH[name])
    for seed in range(40):
        yield "page of text", "page", _file(made.page(seed), seed)
    yield from _photographs()
    for file in sorted((options.data / "dicom-odd" / "not_chest").glob("*.dcm")):
        yield "real DICOM, not a chest", "odd", file.read_bytes()


def _photographs() -> Iterator[tuple[str, str, bytes]]:
    dice = np.random.default_rng(0)
    for number, (name, picture) in enumerate(made.photographs().items()):
        if picture.ndim == 3:
            yield "photograph, colour", name, cv2.imencode(".png", picture)[1].tobytes()
            picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
        for part in range(4):
            share = dice.uniform(0.6, 1.0)
            rows, columns = (int(side * share) for side in picture.shape)
            top = int(dice.integers(picture.shape[0] - rows + 1))
            left = int(dice.integers(picture.shape[1] - columns + 1))
            cut = picture[top : top + rows, left : left + columns]
            least = max(1.0, 300 / min(cut.shape))  # not refused for its size alone
            grey = cv2.resize(cut, None, fx=least, fy=least).astype(np.uint8, copy=False)
            yield "photograph, grey", name, _file(grey, number + part)


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
