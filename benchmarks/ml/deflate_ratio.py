"""To how many times their length deflated X-rays unfold: the reason of `xray_files.deflate.RATIO`.

    python benchmarks/ml/deflate_ratio.py FOLDER...

Every DICOM and JPEG file of the folders is decoded and deflated as native pixels, in 8 bits and in
16, at the best compression; a darker collimated border has no noise, so the largest counts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ml.images import reader


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--level", type=int, default=9)
    options = parser.parse_args()
    files = [
        file
        for folder in options.folders
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in (".dcm", ".jpg", ".jpeg")
    ]
    ratios: dict[str, list[tuple[float, str]]] = {"8 bits": [], "16 bits": []}
    for file in tqdm(files, disable=None):
        try:
            pixels = reader.read(file.read_bytes()).pixels
        except reader.Unreadable:
            continue
        if pixels.max() < 256:
            ratios["8 bits"].append((_ratio(pixels.astype(np.uint8), options.level), file.name))
        ratios["16 bits"].append((_ratio(pixels, options.level), file.name))
    for kind, found in ratios.items():
        values = sorted(found)
        middle = statistics.median(value for value, _ in values)
        print(f"{kind}: {len(values)} pictures, median {middle:.1f}, largest", end=" ")
        print(", ".join(f"{value:.1f} ({name})" for value, name in values[-3:]))
    return 0


def _ratio(pixels: np.ndarray, level: int) -> float:
    data = pixels.tobytes()
    return len(data) / len(zlib.compress(data, level))


if __name__ == "__main__":
    sys.exit(main())
