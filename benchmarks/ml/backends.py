"""Both back ends on the same X-rays: whether lungs, outlines and results are the same.

    python benchmarks/ml/backends.py [--weights DIR] [--count 100] PICTURES

For each picture the whole way of serving, in OpenVINO f32, in torch f32 and in torch bf16: lung
finder, crop, network, outline, measurements. Compared with OpenVINO f32: the largest difference of
a lung cell's probability, in how many pictures the crop moved, the largest difference of an image
probability, in how many pictures band or side changed, and the Dice overlap of the outlines over
all pixels.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ml.images.picture import Picture
from ml.images.reader import Unreadable, read
from ml.inference import serving
from ml.inference.predict import Prediction, predict
from ml.inference.serving import PreparedPicture, Serving


@dataclass
class Compared:
    """What differs from OpenVINO f32, over all pictures so far."""

    lungs: float = 0.0
    crops_moved: int = 0
    image_probability: float = 0.0
    bands_changed: int = 0
    sides_changed: int = 0
    shared: int = 0
    outlined: int = 0

    def add(self, first: tuple[Any, ...], other: tuple[Any, ...]) -> None:
        """One picture: what each of both made of it."""
        (lungs, one), (other_lungs, two) = first, other
        difference = np.abs(lungs.fields.probability - other_lungs.fields.probability)
        self.lungs = max(self.lungs, float(difference.max()))
        self.crops_moved += lungs.fields.crop() != other_lungs.fields.crop()
        self.image_probability = max(self.image_probability, abs(one.probability - two.probability))
        self.bands_changed += one.band != two.band
        self.sides_changed += one.measurements["side"] != two.measurements["side"]
        self.shared += 2 * int((one.mask & two.mask).sum())
        self.outlined += int(one.mask.sum() + two.mask.sum())

    def facts(self) -> dict[str, float]:
        """Ready for JSON."""
        return {
            "lung_probability_difference_max": round(self.lungs, 6),
            "crops_moved": self.crops_moved,
            "image_probability_difference_max": round(self.image_probability, 4),
            "bands_changed": self.bands_changed,
            "sides_changed": self.sides_changed,
            "outlines_dice": round(self.shared / self.outlined, 5) if self.outlined else 1.0,
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of DICOM, PNG or JPEG files")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    def opened(engine: Any, precision: Any) -> Serving:
        return serving.open(options.weights, "cpu", options.threads, precision, engine)

    usual = opened("openvino", "f32")
    others = {
        "torch f32": opened("torch", "f32"),
        "torch bf16": opened("torch", "bf16"),
        "openvino bf16": opened("openvino", "bf16"),
    }
    compared = {name: Compared() for name in others}
    count = 0
    for path in sorted(path for path in options.pictures.rglob("*") if path.is_file()):
        if count == options.count:
            break
        try:
            picture = read(path.read_bytes())
        except (Unreadable, OSError) as error:
            print(f"left out: {path.name}: {error}", file=sys.stderr)
            continue
        first = _result(picture, usual)
        for name, other in others.items():
            compared[name].add(first, _result(picture, other))
        count += 1
    if not count:
        print(f"no readable picture in {options.pictures}", file=sys.stderr)
        return 1
    found = {name: one.facts() for name, one in compared.items()}
    print(json.dumps({"pictures": count, "against": usual.device, **found}, indent=2))
    return 0


def _result(picture: Picture, opened: Serving) -> tuple[PreparedPicture, Prediction]:
    return opened.prepare(picture.pixels), predict(picture, opened, refuse=False)


if __name__ == "__main__":
    sys.exit(main())
