"""Drawn chests whose outlines are known, in the files that an evaluation reads."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from ml.datasets import rle
from ml.preparation import phantom
from tests.support.ml.evaluation import SIDE


@pytest.fixture(scope="module")
def films() -> dict[str, phantom.Phantom]:
    sides = {"1.2.3.10": "right", "1.2.3.11": None, "b": "left", "c": None, "d": "right"}
    return {
        name: phantom.draw(k, side, width_mm=10 + 8 * k, rows=SIDE, columns=SIDE)
        for k, (name, side) in enumerate(sides.items())
    }


@pytest.fixture
def folder(tmp_path: Path, films: dict[str, phantom.Phantom]) -> Path:
    """A table, an index and pictures of three kinds of file in nested folders."""
    pictures = tmp_path / "pictures"
    (pictures / "deep" / "er").mkdir(parents=True)
    with (tmp_path / "rle.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", " EncodedPixels"])
        for name, film in films.items():
            if name == "b":  # two rows of one picture: the upper and the lower part
                for part in (slice(None, SIDE // 2), slice(SIDE // 2, None)):
                    mask = np.zeros_like(film.mask)
                    mask[part] = film.mask[part]
                    writer.writerow([name, " " + rle.encode(mask)])
            else:
                writer.writerow([name, " " + rle.encode(film.mask)])
    with (tmp_path / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "patient", "fold"])
        for name in films:
            writer.writerow([name, "same" if name in "bc" else name, "0" if name in "bd" else "1"])
    for name, film in films.items():
        if name == "c":
            (pictures / "deep" / "c.png").write_bytes(phantom.png(film, 16))
        elif name == "1.2.3.10":  # named by its UID, without suffix
            (pictures / "deep" / "er" / name).write_bytes(phantom.dicom(film))
        else:
            (pictures / f"{name}.dcm").write_bytes(phantom.dicom(film))
    return tmp_path
