"""The command line as a user meets it: files in, files out, exit codes, words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml import __main__, phantom, predict, predict_files

ROOT = Path(__file__).parents[2]


def ml(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ml", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.dcm"
    drawn = phantom.draw(2, "left", 30, rows=300, columns=300)
    path.write_bytes(phantom.dicom(drawn, patient_name="CANARY^ZEBRA", patient_id="CANARY-1"))
    return path


def test_predict_writes_mask_overlay_and_json(film, tiny_model, tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_text("not a film")
    out = tmp_path / "out"
    done = ml("predict", bad, film, tmp_path / "none.dcm", "--out", out, "--weights", tiny_model)
    assert done.returncode == 1
    assert f"{bad}: The file is not a DICOM, PNG or JPEG picture. (not_an_image)" in done.stderr
    assert f"{tmp_path / 'none.dcm'}: No such file" in done.stderr
    assert "Traceback" not in done.stderr
    assert f"{film}: pneumothorax possible" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == [
        "film.json",
        "film.mask.png",
        "film.overlay.png",
    ]
    mask = cv2.imread(str(out / "film.mask.png"), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (300, 300)
    assert set(np.unique(mask)) <= {0, 255}
    written = (out / "film.json").read_text()
    assert "CANARY" not in written
    facts = json.loads(written)
    assert facts["prediction"]["measurements"]["area_px"] == (mask > 0).sum()
    assert facts["picture"]["spacing"]["source"] == "detector"


def test_predict_without_bad_files_ends_well(film, tiny_model, tmp_path):
    done = ml("predict", film, "--out", tmp_path, "--weights", tiny_model)
    assert done.returncode == 0
    assert len(list(tmp_path.iterdir())) == 3


def test_files_of_one_name_do_not_overwrite_each_other(film, tiny_model, tmp_path):
    (tmp_path / "other").mkdir()
    copy = tmp_path / "other" / film.name
    copy.write_bytes(film.read_bytes())
    ml("predict", film, copy, "--out", tmp_path / "out", "--weights", tiny_model)
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {
        "film.json",
        "film-2.json",
    }


def test_a_refused_picture_has_reasons_and_no_outline(tiny_model, tmp_path):
    drawn = phantom.draw(2, None, rows=300, columns=300)
    (tmp_path / "knee.dcm").write_bytes(phantom.dicom(drawn, body_part="KNEE"))
    out = tmp_path / "out"
    done = ml("predict", tmp_path / "knee.dcm", "--out", out, "--weights", tiny_model)
    assert done.returncode == 0
    assert "no result: The header names another body part" in done.stdout
    assert [path.name for path in out.iterdir()] == ["knee.json"]
    prediction = json.loads((out / "knee.json").read_text())["prediction"]
    assert prediction["quality"]["verdict"] == "refused"
    assert prediction["probability"] is None


def test_a_model_that_is_not_there_is_one_line(film, tmp_path):
    done = ml("predict", film, "--out", tmp_path, "--weights", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("predict: there is no model in")
    assert len(done.stderr.splitlines()) == 1


def said(**changes: object) -> predict.Prediction:
    found = {
        "side": "right",
        "zones": ["apical", "lateral"],
        "distance_mm": 17.6,
    }
    values: dict[str, object] = {
        "model": {},
        "operating_point": "balanced",
        "quality": {"verdict": "fit", "reasons": []},
        "seconds": 0.1,
        "probability": 0.871,
        "band": "likely",
        "measurements": found,
    }
    return predict.Prediction(**{**values, **changes})


def test_the_sentence_says_words_before_numbers_and_never_that_there_is_none():
    assert predict_files.sentence(said()) == (
        "pneumothorax likely, right, apical and lateral; probability 0.87; greatest distance 18 mm"
    )
    nothing = {"side": None, "zones": [], "distance_mm": None}
    line = predict_files.sentence(said(band="none_found", probability=0.04, measurements=nothing))
    assert line == "none found; probability 0.04"


@pytest.mark.parametrize("command", ["", "predict", "evaluate", "phantom"])
def test_help_works_without_training_packages(command, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main([*command.split(), "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: python -m ml" in shown
    if not command:
        assert all(name in shown for name in __main__.COMMANDS)


@pytest.mark.parametrize("arguments", [(), ("unknown",), ("predict",)])
def test_wrong_use_ends_with_two_and_a_usage_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        __main__.main(list(arguments))
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "export"])
def test_without_torch_training_commands_say_what_to_install(command, tmp_path):
    # A package of that name that is missing, whether or not this machine has the real one.
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    done = ml(command, "--help", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"{command} needs torch: install it with `pip install .[train]`\n"


def test_serving_imports_no_training_package():
    code = (
        "import sys, ml.predict, ml.evaluate, ml.predict_files, ml.phantom, ml.session;"
        "print([n for n in sys.modules if n.split('.')[0] in"
        " ('torch', 'timm', 'segmentation_models_pytorch', 'portal', 'worker')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
