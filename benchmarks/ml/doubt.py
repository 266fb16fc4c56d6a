"""What the model's doubt and its driving region are worth, on pictures that it never saw.

    python benchmarks/ml/doubt.py --rle train-rle.csv --dicom pictures/ --index index.csv --fold 0

Of the results that the model calls unsure, and of the others: how many are right at the balanced
point, by the label. Of the called positives: in how many the region that drives the probability
overlaps the true outline, and its size. All positives of the fold, and as many negatives.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path

from ml.datasets import cases
from ml.images import reader
from ml.inference import predict, serving


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rle", type=Path, required=True, help="CSV: ImageId, EncodedPixels")
    parser.add_argument("--dicom", type=Path, required=True, help="folder of pictures")
    parser.add_argument("--index", type=Path, required=True, help="CSV: ImageId, patient, fold")
    parser.add_argument("--fold", default="0", help="the fold that the model held out")
    parser.add_argument("--weights", type=Path)
    options = parser.parse_args()
    found = cases.gather(options.rle, options.dicom, options.index, options.fold).found
    opened = serving.open(options.weights, "cpu")
    positives = [case for case in found if case.truth(*cases.MASK_SHAPE).any()]
    negatives = [case for case in found if not case.truth(*cases.MASK_SHAPE).any()]
    right: dict[bool, list[int]] = {True: [], False: []}
    overlaps, sizes = [], []
    for case in positives + negatives[: len(positives)]:
        picture = reader.read(case.file.read_bytes())
        prediction = predict.predict(picture, opened, refuse=False)
        if prediction.uncertainty is None or prediction.region is None:
            print("this model has neither uncertainty nor region", file=sys.stderr)
            return 1
        truth = case.truth(*cases.MASK_SHAPE)
        called = (prediction.probability or 0.0) >= opened.card["thresholds"]["image"]["balanced"]
        right[bool(prediction.uncertainty["unsure"])].append(int(called == truth.any()))
        if called and truth.any():
            left, top, end, bottom = prediction.region["box"]
            rows, columns = picture.pixels.shape
            down, across = cases.MASK_SHAPE[0] / rows, cases.MASK_SHAPE[1] / columns
            part = truth[int(top * down) : int(bottom * down)]
            overlaps.append(int(part[:, int(left * across) : int(end * across)].any()))
            sizes.append((end - left) * (bottom - top) / (rows * columns))
    if not overlaps:
        print("no positive of this fold was called: nothing to measure", file=sys.stderr)
        return 1
    print(
        json.dumps(
            {
                "model": f"{opened.card['name']} {opened.card['version']}",
                "pictures": len(right[True]) + len(right[False]),
                **{
                    name: {"results": len(part), "right": round(statistics.mean(part), 3)}
                    for name, part in (("unsure", right[True]), ("sure", right[False]))
                    if part
                },
                "called_positives": len(overlaps),
                "region_overlaps_outline": round(statistics.mean(overlaps), 3),
                "region_median_share_of_picture": round(statistics.median(sizes), 3),
            },
            indent=2,
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
