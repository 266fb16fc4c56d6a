"""Evaluation end to end, on drawn chests whose outlines are known."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import pytest

from ml.evaluation import evaluate
from ml.images import reader
from ml.inference import predict, serving
from ml.metrics import measures as metrics
from ml.preparation import phantom
from tests.support.ml.evaluation import SIDE, run


def test_the_report_agrees_with_predictions_made_by_hand(folder, films, tiny_model, capsys):
    rows_file = folder / "rows.csv"
    code, report = run(folder, "--weights", str(tiny_model), "--rows", str(rows_file))
    assert code == 0
    opened = serving.open(tiny_model, device="cpu", precision="f32")
    dice = {}
    for name, film in films.items():
        said = predict.predict(reader.read(phantom.dicom(film)), opened, refuse=False)
        dice[name] = metrics.dice(
            np.array([(said.mask & film.mask).sum()]),
            np.array([said.mask.sum()]),
            np.array([film.mask.sum()]),
        )[0]
    measures = report["measures"]
    assert measures["kaggle_dice"]["value"] == pytest.approx(np.mean(list(dice.values())), abs=1e-4)
    positives = [dice[name] for name, film in films.items() if film.side]
    assert measures["positive_dice"]["value"] == pytest.approx(np.mean(positives), abs=1e-4)
    assert report["data"]["pictures"] == 5
    assert report["data"]["positives"] == 3
    assert report["model"]["name"] == "tiny"
    printed = capsys.readouterr().out
    assert "Kaggle Dice" in printed
    assert f"{measures['kaggle_dice']['value']:.4f}" in printed
    with rows_file.open() as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(films)
    assert int(rows["b"]["truth"]) == films["b"].mask.sum()


def test_pictures_that_the_table_does_not_list_are_counted(folder, films, tiny_model):
    (folder / "pictures" / "stranger.dcm").write_bytes(phantom.dicom(films["c"]))
    code, report = run(folder, "--weights", str(tiny_model))
    assert code == 0
    assert (report["data"]["unlisted"], report["data"]["pictures"]) == (1, 5)


def test_files_of_one_name_are_reported(folder, films, tiny_model, capsys):
    (folder / "pictures" / "other").mkdir()
    (folder / "pictures" / "other" / "b.dcm").write_bytes(phantom.dicom(films["c"]))
    code, report = run(folder, "--weights", str(tiny_model))
    assert code == 0
    assert (report["data"]["repeated"], report["data"]["pictures"]) == (1, 5)
    assert "have the name of another one" in capsys.readouterr().err


def test_an_index_gives_patients_and_folds(folder, tiny_model):
    weights = ("--weights", str(tiny_model), "--index", str(folder / "index.csv"))
    _, everything = run(folder, *weights)
    assert everything["data"]["patients"] == 4
    code, part = run(folder, *weights, "--fold", "0")
    assert code == 0
    assert part["data"]["pictures"] == 2
    assert part["data"]["unlisted"] == 0
    assert run(folder, *weights, "--fold", "9")[0] == 1
    assert run(folder, "--weights", str(tiny_model), "--fold", "0")[0] == 1


def test_missing_pictures_stop_the_run_unless_allowed(folder, tiny_model, capsys):
    (folder / "pictures" / "d.dcm").unlink()
    code, report = run(folder, "--weights", str(tiny_model))
    assert code == evaluate.INCOMPLETE
    assert report is None
    said = capsys.readouterr().err
    assert "1 of 5 listed pictures" in said
    assert "  d\n" in said
    code, report = run(folder, "--weights", str(tiny_model), "--allow-missing")
    assert code == 0
    assert (report["data"]["pictures"], report["data"]["missing"]) == (4, 1)


def test_unreadable_pictures_are_named_and_change_the_exit_code(folder, tiny_model, capsys):
    (folder / "pictures" / "d.dcm").write_bytes(b"not a picture at all")
    code, report = run(folder, "--weights", str(tiny_model))
    assert code == evaluate.INCOMPLETE
    assert report["data"]["unreadable"] == 1
    assert "unreadable: d: not_an_image" in capsys.readouterr().err


def test_refused_pictures_are_measured_unless_the_gate_is_asked_for(folder, films, tiny_model):
    data = phantom.dicom(films["d"], view="LL")
    (folder / "pictures" / "d.dcm").write_bytes(data)
    _, report = run(folder, "--weights", str(tiny_model))
    # Drawn at 256 px nothing else is refused, so the lateral view is the only one.
    assert report["refused"] == {"d": ["lateral_view"]}
    assert report["data"]["pictures"] == 5
    _, gated = run(folder, "--weights", str(tiny_model), "--gate")
    assert gated["data"]["pictures"] == 4
    assert gated["data"]["refused_left_out"] is True


def test_thresholds_can_be_replaced(folder, tiny_model):
    weights = ("--weights", str(tiny_model))
    _, nothing = run(folder, *weights, "--image-threshold", "0.999")
    # Nothing outlined: every negative is right, every positive missed.
    assert nothing["measures"]["kaggle_dice"]["value"] == pytest.approx(2 / 5)
    assert nothing["measures"]["image_specificity"]["value"] == 1.0
    assert nothing["measures"]["sensitivity"]["value"] == 0.0
    assert nothing["thresholds"]["image"]["balanced"] == 0.999
    _, large = run(folder, *weights, "--area-px-min", "100000")
    assert large["measures"]["pixel_recall"]["value"] == 0.0
    assert large["measures"]["pixel_precision"]["value"] is None
    _, strict = run(folder, *weights, "--mask-threshold", "0.97")
    _, usual = run(folder, *weights)
    assert strict["measures"]["pixel_recall"]["value"] < usual["measures"]["pixel_recall"]["value"]


def test_a_missing_or_changed_model_is_one_line(folder, write_model: Callable, capsys):
    assert run(folder, "--weights", str(folder))[0] == 1
    broken = write_model(folder / "broken")
    (broken / "model.bin").write_bytes(b"other")
    assert run(folder, "--weights", str(broken))[0] == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 2
    assert "model.bin" in lines[1]


def test_a_mask_that_does_not_fit_names_its_picture(folder, tiny_model, capsys):
    with (folder / "rle.csv").open("a") as file:
        file.write(f"c,5 {SIDE * SIDE}\n")
    assert run(folder, "--weights", str(tiny_model))[0] == 1
    assert "the mask of c: the runs end at" in capsys.readouterr().err
