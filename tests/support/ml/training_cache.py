"""A training cache made by `prepare` from pictures of noise; needs torch."""

import argparse
import csv
from pathlib import Path

import cv2
import numpy as np

from ml.datasets import rle
from ml.preparation import prepare


def table(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def options(**values: object) -> argparse.Namespace:
    """The command's options as the command line would give them, one reading process."""
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    words = ["--workers", "1"]
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(option)
        elif value is not None:
            words += [option, str(value)]
    return parser.parse_args(words)


def made_cache(tmp_path: Path) -> Path:
    """Four outlined pictures of three patients and two panel pictures, made by `prepare`."""
    pictures, panel = tmp_path / "pictures" / "deeper", tmp_path / "panel"
    pictures.mkdir(parents=True)
    panel.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a1", "a2", "b1", "c1"):
        side = 1024 if name != "c1" else 800
        cv2.imwrite(str(pictures / f"{name}.png"), rng.integers(0, 255, (side, side), np.uint8))
    for name in ("p1", "p2", "p3"):
        cv2.imwrite(str(panel / f"{name}.jpg"), rng.integers(0, 255, (300, 200), np.uint8))
    left, right = np.zeros((2, 1024, 1024), dtype=bool)
    left[100:300, 100:200] = True
    right[600:700, 800:1000] = True
    masks = [["a1", rle.encode(left)], ["a1", rle.encode(right)], ["c1", rle.encode(left)]]
    negatives = [["a2", " -1"], ["b1", "-1"], ["nofile", "-1"]]
    arguments = options(
        rle=table(tmp_path / "rle.csv", ["ImageId", " EncodedPixels"], masks + negatives),
        dicom=pictures.parent,
        index=table(
            tmp_path / "index.csv",
            ["ImageId", "patient", "fold"],
            [["a1", "A", "0"], ["a2", "A", "0"], ["b1", "B", "1"], ["c1", "C", "2"]],
        ),
        panel=panel,
        panel_index=table(
            tmp_path / "panel.csv",
            ["id", "label", "pneumothorax", "patient"],
            [
                ["p1", "radiologist panel", "1", "A"],
                ["p2", "radiologist panel", "0", "Z"],
                ["p3", "text-mined, unverified", "1", "Y"],
            ],
        ),
        out=tmp_path / "cache",
        size=384,
    )
    assert prepare.run(arguments) == 0
    return tmp_path / "cache"


def given(tmp_path: Path, outlines: list[list[str]], **more: object) -> argparse.Namespace:
    """The command's arguments for pictures that stand in tmp_path already."""
    values = {
        "rle": table(tmp_path / "rle.csv", ["ImageId", "EncodedPixels"], outlines),
        "dicom": tmp_path,
        "out": tmp_path / "cache",
        "size": 64,
    }
    return options(**(values | more))
