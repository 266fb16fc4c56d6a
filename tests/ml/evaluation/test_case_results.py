"""The results of a model on single cases."""

from __future__ import annotations

import csv

import cv2
import numpy as np

from ml.evaluation import case_results
from ml.inference import outline
from ml.metrics import calibration
from tests.support.ml.evaluation import SIDE, run


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
        outlined = outline.mask(map_, float(level), 0, *truth.shape)
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
