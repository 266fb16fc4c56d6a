"""Run-length decode and encode against pycocotools, on the same masks, in one run.

    python benchmarks/ml/rle.py --rle train-rle.csv [--repeats 5]

Every non-empty row of the competition's table (1024 x 1024). pycocotools starts from its own
compressed text and its own memory order, ours from the table's text and from rows of pixels;
beside it stands pycocotools with what a caller pays to come from and to rows of pixels. Prints the
median over the repeats of the time for all masks, and stops where any mask differs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from ml.datasets import cases, rle


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rle", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()

    rows, columns = cases.MASK_SHAPE
    texts = [
        text
        for found in cases.read_table(options.rle).values()
        for text in found
        if text != rle.EMPTY
    ]
    masks = [rle.decode(text, rows, columns) for text in texts]
    packed = [coco.encode(np.asfortranarray(mask.view(np.uint8))) for mask in masks]
    fortran = [np.asfortranarray(mask.view(np.uint8)) for mask in masks]
    for text, mask, theirs in zip(texts, masks, packed, strict=True):
        assert rle.encode(mask) == " ".join(text.split()), "encode differs from the table"
        assert np.array_equal(coco.decode(theirs), mask), "decode differs from pycocotools"

    def timed(work: Callable[[Any], Any], inputs: list[Any]) -> float:
        def once() -> float:
            began = time.perf_counter()
            for one in inputs:
                work(one)
            return time.perf_counter() - began

        return statistics.median(once() for _ in range(options.repeats)) / len(inputs) * 1e6

    found = {
        "decode_us": timed(lambda text: rle.decode(text, rows, columns), texts),
        "pycocotools_decode_us": timed(coco.decode, packed),
        "pycocotools_decode_to_rows_us": timed(
            lambda one: np.ascontiguousarray(coco.decode(one)), packed
        ),
        "encode_us": timed(rle.encode, masks),
        "pycocotools_encode_us": timed(coco.encode, fortran),
        "pycocotools_encode_from_rows_us": timed(
            lambda mask: coco.encode(np.asfortranarray(mask.view(np.uint8))), masks
        ),
    }
    result = {"masks": len(masks)} | {name: round(value, 1) for name, value in found.items()}
    result["decode_ratio"] = round(found["pycocotools_decode_us"] / found["decode_us"], 2)
    result["encode_ratio"] = round(found["pycocotools_encode_us"] / found["encode_us"], 2)
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
