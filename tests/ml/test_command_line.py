"""The command line as a user meets it: files in, files out, exit codes, words."""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ml import __main__
from ml.inference import predict, predict_files
from ml.preparation import phantom
from tests.support.paths import ROOT


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


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("train --recipe none.toml --cache c --out o", "none.toml: No such file"),
        ("train --recipe bad.toml --cache c --out o", "bad.toml: unknown settings: learning"),
        ("train --recipe odd.toml --cache c --out o", "odd.toml: "),
        ("train --recipe good.toml --cache c --out o", "c/records.csv: No such file"),
        ("folds --recipe good.toml --cache c --out o", "c/records.csv: No such file"),
        ("export --checkpoint none.pt", "none.pt: No such file"),
        ("export --checkpoint bad.toml", "bad.toml is not a checkpoint"),
        ("refit --checkpoint bad.toml --cache c --out o", "bad.toml is not a checkpoint"),
        ("prepare --rle none.csv --dicom . --out c", "none.csv cannot be read"),
        ("prepare --rle list.csv --dicom gone --out c", "gone is not a folder"),
        ("prepare --rle list.csv --dicom . --out c", "no picture of list.csv is in ."),
        ("prepare --rle list.csv --dicom . --out c --panel .", "--panel and --panel-index"),
        ("evaluate --rle none.csv --dicom .", "none.csv cannot be read"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_one(command, said, tmp_path, monkeypatch, capsys):
    pytest.importorskip("torch", reason="torch is not installed")
    (tmp_path / "bad.toml").write_text("learning = 1")
    (tmp_path / "odd.toml").write_text("= nothing")
    (tmp_path / "good.toml").write_text('name = "good"')
    (tmp_path / "list.csv").write_text("ImageId,EncodedPixels\na,-1\n")
    monkeypatch.chdir(tmp_path)
    assert __main__.main(command.split()) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{command.split()[0]}: ")
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("command", sorted(__main__.COMMANDS))
def test_every_option_says_what_it_is(command):
    module = importlib.import_module(__main__.COMMANDS[command][0])
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    assert [action.dest for action in parser._actions if not action.help] == []


@pytest.mark.parametrize("missing", ["torch", "timm"])
def test_a_gpu_without_the_packages_for_it_is_a_sentence(film, tiny_model, tmp_path, missing):
    card = json.loads((tiny_model / "card.json").read_text())
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "model.safetensors").write_bytes(b"")
    card["files"]["model.safetensors"] = hashlib.sha256(b"").hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    stub = f"raise ModuleNotFoundError('no {missing}', name='{missing}')"
    (tmp_path / f"{missing}.py").write_text(stub)
    done = ml(
        "predict", film, "--out", tmp_path, "--weights", folder, "--device", "cuda",
        PYTHONPATH=str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(f"predict: a model in torch needs {missing}: install it with")
    assert len(done.stderr.splitlines()) == 1


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
        "import sys, ml.inference.predict, ml.evaluation.evaluate, ml.inference.predict_files;"
        "import ml.preparation.phantom, ml.runtime.session;"
        "print([n for n in sys.modules if n.split('.')[0] in"
        " ('torch', 'timm', 'segmentation_models_pytorch', 'portal', 'worker')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "given",
    [
        ("predict", "x.dcm", "--threads", "-3"),
        ("prepare", "--dicom", "x", "--out", "y", "--size", "-64"),
        ("prepare", "--dicom", "x", "--out", "y", "--workers", "0"),
        ("evaluate", "--rle", "x", "--dicom", "y", "--mask-size", "-5", "5"),
        ("evaluate", "--rle", "x", "--dicom", "y", "--image-threshold", "7"),
        ("evaluate", "--rle", "x", "--dicom", "y", "--mask-threshold", "nan"),
        ("evaluate", "--rle", "x", "--dicom", "y", "--area-px-min", "-4"),
        ("evaluate", "--rle", "x", "--dicom", "y", "--replicates", "0"),
        ("phantom", "--out", "x", "--count", "-1"),
    ],
    ids=lambda given: f"{given[0]} {given[-2]} {given[-1]}",
)
def test_a_number_out_of_bounds_is_refused_before_anything_is_done(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        __main__.main(list(given))
    assert ended.value.code == 2
    assert "lies between" in capsys.readouterr().err
