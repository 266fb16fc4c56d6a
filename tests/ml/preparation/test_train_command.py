"""`python -m ml train` takes a cohort as the portal has frozen it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import pytest

from ml.__main__ import main
from ml.datasets import rle
from ml.preparation import phantom

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

RECIPE = """
name = "tiny"
encoder = "tu-test_efficientnet"
decoder_channels = [16, 16, 8, 8, 8]
size = 64
size_from = [[0.0, 32], [0.5, 64]]
epochs = 1
epoch_pictures = 8
batch = 4
positive_share = [0.75, 0.5]
encoder_rate = 1e-3
dropout = 0.0
ema = 0.5
freeze_encoder_norm = false
validate_every = 0
threads = 1
held_out_fold = -1
"""


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """A cohort of six phantoms, as `portal cohort freeze` writes it."""
    folder = tmp_path / "cohort"
    (folder / "images").mkdir(parents=True)
    texts, index = ["ImageId,EncodedPixels"], ["ImageId,patient,fold,view,sex,age"]
    for number in range(6):
        drawn = phantom.draw(number, "right", 30, rows=160, columns=140)
        (folder / "images" / f"p{number}.dcm").write_bytes(phantom.dicom(drawn))
        square = cv2.resize(drawn.mask.astype("uint8"), (1024, 1024), interpolation=0)
        texts.append(f"p{number},{rle.encode(square) if number % 2 else rle.EMPTY}")
        index.append(f"p{number},PLR{number},{number % 5},PA,F,40")
    (folder / "siim.csv").write_text("\n".join(texts) + "\n")
    (folder / "index.csv").write_text("\n".join(index) + "\n")
    files = {
        str(one.relative_to(folder)): {"sha256": hashlib.sha256(one.read_bytes()).hexdigest()}
        for one in folder.rglob("*")
        if one.is_file()
    }
    manifest = {"format": "pleura-cohort", "files": files}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def train(cohort: Path, out: Path) -> int:
    recipe = out.parent / "tiny.toml"
    recipe.write_text(RECIPE)
    return main(["train", "--recipe", str(recipe), "--cache", str(cohort), "--out", str(out)])


def test_one_epoch_of_a_cohort_as_it_is(cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train(cohort, out) == 0
    assert (out / "checkpoint.pt").is_file()
    assert len(list((out / "cache" / "pictures").iterdir())) == 6
    assert train(cohort, out) == 0  # once more: the cache is not made again


def test_a_cohort_that_was_changed_is_refused(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cohort / "images" / "p1.dcm").write_bytes(b"x")
    assert train(cohort, tmp_path / "run") == 1
    assert "not as it was frozen" in capsys.readouterr().err


def test_a_run_goes_on_with_its_own_cohort_alone(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(cohort, tmp_path / "run") == 0
    manifest = json.loads((cohort / "manifest.json").read_text()) | {"name": "another"}
    (cohort / "manifest.json").write_text(json.dumps(manifest))
    assert train(cohort, tmp_path / "run") == 1
    assert "another cohort" in capsys.readouterr().err
