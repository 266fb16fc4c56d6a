"""What a model's predictions store for pictures it was not trained on, as they are and shifted.

    python -m benchmarks.drift.predictions FOLDER --other FOLDER --out FOLDER [--fold 0]

FOLDER: pictures and an `index.csv` with `file`, `patient`, `view`, `pneumothorax` and `fold`, of
which the fold that the model's training left out is taken; --other: JPEG pictures of another
detector. Every picture goes through the shipped model as in service. --out gets `plain.jsonl`,
`gamma.jsonl` and `detector.jsonl`, a line for each picture, for `benchmarks.drift.alarms` and, the
first, for `python -m ml shares`.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ml.images import reader
from ml.inference import predict, serving

Pixels = NDArray[np.uint16]


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


def main() -> int:
    """Run the model over all pictures of the fold, three times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--other", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", default="0")
    chosen = parser.parse_args()
    rng = random.Random(3)
    with (chosen.folder / "index.csv").open(encoding="utf-8") as index:
        rows = [row for row in csv.DictReader(index) if row["fold"] == chosen.fold]
    others = [
        reader.read(path.read_bytes()).pixels for path in sorted(chosen.other.glob("*.jp*g"))[:100]
    ]
    shifts: dict[str, Callable[[Pixels], Pixels]] = {
        "plain": lambda pixels: pixels,
        "gamma": gamma,
        "detector": lambda pixels: matched(pixels, rng.choice(others)),
    }
    opened = serving.open()
    lines: dict[str, list[str]] = {name: [] for name in shifts}
    for row in tqdm(rows, desc="predicting", unit="picture", disable=None):
        picture = reader.read((chosen.folder / row["file"]).read_bytes())
        for name, shift in shifts.items():
            shown = replace(picture, pixels=shift(picture.pixels))
            facts = predict.predict(shown, opened, refuse=False).facts()
            stored = {
                "model": facts["model"],
                "statistics": facts["statistics"],
                "probability": facts["probability"],
                "view": row["view"],
                "positive": row["pneumothorax"] == "1",
                "patient": row["patient"],
            }
            lines[name].append(json.dumps(stored))
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, written in lines.items():
        (chosen.out / f"{name}.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")
    sys.stdout.write(f"{len(rows)} pictures, {len(shifts)} times\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
