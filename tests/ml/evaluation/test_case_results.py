"""The results of a model on single cases."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ml.datasets import rle
from ml.evaluation import case_results, evaluate
from ml.inference import predict
from ml.metrics import calibration
from ml.preparation import phantom

SIDE = 256

SIZE = ["--mask-size", str(SIDE), str(SIDE)]


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


def run(folder: Path, *more: str) -> tuple[int, dict[str, Any] | None]:
    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    out = folder / "out.json"
    given = ["--rle", str(folder / "rle.csv"), "--dicom", str(folder / "pictures")]
    given += ["--json", str(out), "--replicates", "20", "--device", "cpu", "--precision", "f32"]
    code = evaluate.run(parser.parse_args([*given, *SIZE, *more]))
    return code, json.loads(out.read_text()) if out.exists() else None


def test_a_picture_of_another_size_is_compared_in_the_masks_geometry(folder, films, tiny_model):
    small = cv2.resize(films["d"].pixels, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA)
    (folder / "pictures" / "d.dcm").unlink()
    cv2.imwrite(str(folder / "pictures" / "d.png"), small)
    code, report = run(folder, "--weights", str(tiny_model), "--rows", str(folder / "rows.csv"))
    assert code == 0
    with (folder / "rows.csv").open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert int(rows["d"]["pixels"]) == SIDE * SIDE
    assert int(rows["d"]["truth"]) == films["d"].mask.sum()
    assert report["data"]["pictures"] == 5


def test_every_level_is_counted_as_the_outline_of_that_level(films):
    map_ = np.random.default_rng(0).integers(0, 256, (48, 40), dtype=np.uint8)
    truth = films["d"].mask
    hits, found, on_map = case_results.counted(map_, truth)
    for number, level in enumerate(calibration.GRID):
        outlined = predict.outline(map_, float(level), 0, *truth.shape)
        assert found[number] == outlined.sum()
        assert hits[number] == (outlined & truth).sum()
        assert on_map[number] == (map_ >= level * 255).sum()


def test_traits_come_from_header_index_and_pixels(folder, tiny_model):
    rows_file = folder / "rows.csv"
    with (folder / "traits.csv").open("w") as file:
        file.write("ImageId,patient,view,sex,age\nb,b,AP,F,70\nc,c,,,081Y\n")
    given = ("--weights", str(tiny_model), "--index", str(folder / "traits.csv"))
    code, report = run(folder, *given, "--rows", str(rows_file))
    assert code == 0
    with rows_file.open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert (rows["b"]["view"], rows["b"]["sex"], rows["b"]["age"]) == ("AP", "F", "60–74")
    assert rows["c"]["age"] == "75+"
    assert rows["d"]["view"] == "PA"  # from the phantom's header
    assert {row["exposure"] for row in rows.values()} <= {"over", "usual", "under"}
    assert report["subgroups"]["view"]["AP"]["pictures"] == 1


def test_borders_are_measured_where_both_outlines_exist(folder, tiny_model):
    code, report = run(folder, "--weights", str(tiny_model), "--rows", str(folder / "rows.csv"))
    assert code == 0
    with (folder / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    there = [row for row in rows if row["truth"] != "0" and row["predicted"] != "0"]
    assert report["borders"]["pictures"] == len(there)
    assert all((row["hausdorff95_px"] == "nan") == (row not in there) for row in rows)
