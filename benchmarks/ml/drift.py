"""Whether drift raises an alarm when pictures change, and none when they don't.

    python -m benchmarks.ml.drift FOLDER --other FOLDER [--years 10] [--windows 100]

FOLDER: pictures and an `index.csv` with `file`, `patient` and `view`; --other: JPEG pictures of
another detector. Half of the patients give the reference, the others' pictures are drawn with
replacement: for each named shift in windows of `drift.ALARM_WINDOW` pictures, for the false alarms
in years of 100 pictures a day, checked daily. Picture statistics alone: no network is run, so
shifts of probability or prevalence are not measured here. No threshold is fitted to pictures.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections import defaultdict, deque
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ml.images import reader
from ml.metrics import drift, reference_distribution
from ml.preprocessing import image_statistics, transforms

Pixels = NDArray[np.uint16]
Numbers = dict[str, float]
_DAY = 100


def statistics(pixels: Pixels) -> Numbers:
    """The numbers of a picture, as the whole of it would enter a network of 512 px."""
    return image_statistics.of_canonical(transforms.canonical(pixels, 512))


def gamma(pixels: Pixels) -> Pixels:
    """The picture with gamma 1.3 over its own range."""
    low, high = int(pixels.min()), max(int(pixels.max()), int(pixels.min()) + 1)
    share = (pixels.astype(np.float64) - low) / (high - low)
    return np.rint(low + (high - low) * share**1.3).astype(np.uint16)


def matched(pixels: Pixels, like: Pixels) -> Pixels:
    """The picture with the histogram of another."""
    values, place, counts = np.unique(pixels, return_inverse=True, return_counts=True)
    cumulated = (np.cumsum(counts) - counts / 2) / pixels.size
    ordered = np.sort(like.ravel())
    found = ordered[np.rint(cumulated * (len(ordered) - 1)).astype(int)]
    assert len(found) == len(values)
    return np.asarray(found[place].reshape(pixels.shape), dtype=np.uint16)


def read(path: Path) -> Pixels:
    """A file's pixels, more being denser, reduced to 512 px for speed."""
    pixels = reader.read(path.read_bytes()).pixels.astype(np.float32)
    return np.asarray(np.rint(cv2.resize(pixels, (512, 512), interpolation=cv2.INTER_AREA))).astype(
        np.uint16
    )


def main() -> int:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--windows", type=int, default=100)
    chosen = parser.parse_args()
    rng = random.Random(3)
    with (chosen.folder / "index.csv").open(encoding="utf-8") as index:
        rows = list(csv.DictReader(index))
    by_patient = defaultdict(list)
    for row in rows:
        by_patient[row["patient"]].append(row)
    patients = sorted(by_patient)
    rng.shuffle(patients)
    half = len(patients) // 2
    references = [row for patient in patients[:half] for row in by_patient[patient]]
    stream = [row for patient in patients[half:] for row in by_patient[patient]]
    known = {
        name: reference_distribution.Reference(
            np.quantile(values, reference_distribution.LEVELS), len(values)
        )
        for name, values in reference_distribution.columns(
            statistics(read(chosen.folder / row["file"])) for row in references
        ).items()
    }
    others = [read(path) for path in sorted(chosen.other.glob("*.jp*g"))[:100]]
    plain, shifted = [], defaultdict[str, list[Numbers]](list)
    for row in stream:
        grey = read(chosen.folder / row["file"])
        plain.append(statistics(grey))
        shifted["gamma 1.3"].append(statistics(gamma(grey)))
        shifted["another detector's histogram"].append(
            statistics(matched(grey, rng.choice(others)))
        )
    for name, numbers in zip([row["view"] for row in stream], plain, strict=True):
        shifted[f"all {name}"].append(numbers)
    share = sum(row["view"] == "AP" for row in stream) / len(stream)
    found = {
        name: sum(
            bool(_alarms(known, rng.choices(values, k=drift.ALARM_WINDOW)))
            for _ in range(chosen.windows)
        )
        for name, values in shifted.items()
        if not name.startswith("all ")
    }
    more_ap = [
        rng.choices(shifted["all AP"], k=round(drift.ALARM_WINDOW * min(1.0, share + 0.3)))
        for _ in range(chosen.windows)
    ]
    found["AP 30 points more"] = sum(
        bool(_alarms(known, [*ap, *rng.choices(shifted["all PA"], k=drift.ALARM_WINDOW - len(ap))]))
        for ap in more_ap
    )
    result = {
        "pictures": {
            "reference": len(references),
            "stream": len(stream),
            "share of AP": round(share, 2),
        },
        "windows with an alarm, of": {"windows": chosen.windows, **found},
        "alarms in each year without a change (days in a row are one)": [
            _year(known, plain, rng) for _ in range(chosen.years)
        ],
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


def _alarms(known: dict[str, reference_distribution.Reference], rows: list[Numbers]) -> list[str]:
    return [one.name for one in drift.compare(known, rows) if one.is_alarm]


def _year(
    known: dict[str, reference_distribution.Reference], plain: list[Numbers], rng: random.Random
) -> int:
    window = deque[Numbers](maxlen=drift.ALARM_WINDOW)
    alarms, before = 0, False
    for _ in range(365):
        window.extend(rng.choices(plain, k=_DAY))
        now = len(window) == drift.ALARM_WINDOW and bool(_alarms(known, list(window)))
        alarms += now and not before
        before = now
    return alarms


if __name__ == "__main__":
    raise SystemExit(main())
