"""How many JPEGs with missing bytes are refused, and how many whole ones.

    python -m benchmarks.ml.gaps ../shared/data/siim/jpeg [--files 60] [--gaps 8] [--whole 2000]

Each file is encoded again: grey, grey of 12 bits, and colour, in one scan and progressive, colour
with all, with half of the columns, and with half of the rows of its colours. From the first scan of
each one to four bytes are taken out, at --gaps places; of progressive ones, whose first scan has
the brightness of the blocks, from the scans behind it too. Counted are those that the decoder reads
without a message and that differ from the whole picture in 5 % of the pixels or more, by how much
the brightness behind the gap has changed. Whole ones are the same files as they are and encoded in
each way; none may be refused.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from ml.images import decoder_messages, decoders
from ml.images.picture import Unreadable
from tests.support.ml.dicom_files import stream_by_gdcm
from xray_files.picture_header import PictureHeader
from xray_files.streams import jpeg

_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 92)
_PROGRESSIVE = (*_QUALITY, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
_ALL_ROWS = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_HALF_COLUMNS = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422)
_HALF = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420)
TWELVE = "grey of 12 bits"
LATER = ", later scans"
WAYS: dict[str, tuple[int, ...]] = {
    "grey": _QUALITY,
    TWELVE: (),
    "grey, progressive": _PROGRESSIVE,
    f"grey, progressive{LATER}": _PROGRESSIVE,
    "colour": (*_QUALITY, *_ALL_ROWS),
    "colour, half of the columns": (*_QUALITY, *_HALF_COLUMNS),
    "colour, half of the rows": (*_QUALITY, *_HALF),
    "colour, progressive": (*_PROGRESSIVE, *_HALF),
    f"colour, progressive{LATER}": (*_PROGRESSIVE, *_HALF),
}
STEPS = ((12.0, "more than 12"), (8.0, "8 to 12"), (0.0, "less than 8"))


def encoded(grey: Any, way: str) -> bytes:
    if way == TWELVE:
        noise = np.random.default_rng(1).integers(0, 16, grey.shape)
        return stream_by_gdcm(grey.astype(np.uint16) * 16 + noise, 12, lossless=False)
    picture = grey if way.startswith("grey") else tinted(grey)
    return cv2.imencode(".jpg", picture, WAYS[way])[1].tobytes()


def tinted(grey: Any) -> Any:
    """The film as a photograph of a screen has it: bluish in its dark parts."""
    blue = np.clip(grey * 0.94 + 15, 0, 255).astype(np.uint8)
    return np.dstack([blue, grey, grey])


def first_scan(data: bytes) -> tuple[int, int]:
    """Where the bytes of the first scan begin and end."""
    begin = data.index(b"\xff\xda")
    begin += 2 + int.from_bytes(data[begin + 2 : begin + 4], "big")
    at = begin
    while not (data[at] == 0xFF and data[at + 1] not in (0, *range(0xD0, 0xD8))):
        at += 1
    return begin, at


def is_refused(data: bytes) -> bool:
    try:
        if (start := jpeg.frame(data)) is not None and start.bits > 8:
            return decoders.stored(header_of(start), data) is None
        return decoders.undamaged(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR) is None
    except Unreadable:
        return True


def header_of(start: jpeg.Frame) -> PictureHeader:
    """A DICOM header of the stream, whose depth only DICOM has."""
    return PictureHeader(
        rows=start.rows,
        columns=start.columns,
        samples=1,
        allocated=16,
        stored=12,
        high=11,
        signed=False,
        planar=False,
        photometric="MONOCHROME2",
        transfer_syntax=decoders.JPEG_EXTENDED,
    )


def silent(data: bytes) -> Any:
    """What is decoded without a message, in 8 bits of grey; else None."""
    if (start := jpeg.frame(data)) is not None and start.bits > 8:
        try:
            return (decoders.by_gdcm(start, decoders.JPEG_EXTENDED, data) & 0xFFF) >> 4
        except Exception:  # GDCM returns nothing, or fewer bytes than it should
            return None
    with decoder_messages.read() as messages:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return None if values is None or messages.is_damage(data) else values


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="with JPEG files")
    parser.add_argument("--files", type=int, default=60, help="to take bytes out of")
    parser.add_argument("--gaps", type=int, default=8, help="of each file and way")
    parser.add_argument("--whole", type=int, default=2000, help="files")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    names = sorted(options.folder.glob("*.jp*g"))
    random.Random(options.seed).shuffle(names)
    found, seen = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for name in tqdm(names[: options.files], desc="gaps", disable=None):
        grey = cv2.imread(str(name), cv2.IMREAD_GRAYSCALE)
        for way in WAYS:
            _gaps(grey, way, random.Random(f"{name.name} {way}"), options.gaps, seen, found)
    for way in WAYS:
        parts = [f"{found[way, step]} of {seen[way, step]} with {step}" for _, step in STEPS]
        print(f"{way:32} found:", ", ".join(parts))
    refused = Counter[str]()
    chosen = names[: options.whole]
    ways = [way for way in WAYS if not way.endswith(LATER)]
    for name in tqdm(chosen, desc="whole", disable=None):
        refused["as it is"] += is_refused(name.read_bytes())
        grey = cv2.imread(str(name), cv2.IMREAD_GRAYSCALE)
        for way in ways:
            refused[way] += is_refused(encoded(grey, way))
    for way in ("as it is", *ways):
        print(f"{way:32} whole: {refused[way]} of {len(chosen)} refused")
    return 1 if refused.total() else 0


def _gaps(
    grey: Any,
    way: str,
    chance: random.Random,
    gaps: int,
    seen: Counter[tuple[str, str]],
    found: Counter[tuple[str, str]],
) -> None:
    whole = encoded(grey, way)
    right = silent(whole)
    begin, end = first_scan(whole)
    if way.endswith(LATER):
        begin, end = end, len(whole)
    for _ in range(gaps):
        at = chance.randrange(begin, end - 8)
        data = whole[:at] + whole[at + chance.randint(1, 4) :]
        values = silent(data)
        if values is None or values.shape != right.shape:
            continue
        change = values.astype(int) - right.astype(int)
        if np.mean(np.abs(change) > 2) < 0.05:
            continue
        by = abs(float(np.median(change[np.abs(change) > 2])))
        step = next(name for least, name in STEPS if by >= least)
        seen[way, step] += 1
        found[way, step] += is_refused(data)


if __name__ == "__main__":
    sys.exit(main())
