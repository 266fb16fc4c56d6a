"""One picture of the cache: its mask and its attributes."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
from ml.datasets import catalogue, dataset, rle  # noqa: E402 - with torch
from ml.images.picture import Unreadable  # noqa: E402
from ml.preparation import phantom, prepare  # noqa: E402 - with torch
from tests.support.ml.training_cache import given, made_cache, table  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return made_cache(tmp_path)


def test_what_is_unreadable_keeps_its_code_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Unreadable("truncated", "The file ends too soon.")))
    assert (error.code, error.message) == ("truncated", "The file ends too soon.")


def test_several_rows_of_a_picture_are_one_mask_at_the_cached_size(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    by_name = dict(zip([r.id for r in pictures.records], pictures.masks, strict=True))
    mask = by_name["a1"]
    assert mask is not None
    assert mask.shape == (512, 512)
    assert set(np.unique(mask)) == {0, 255}
    assert (mask[50:150, 50:100] == 255).all()
    assert (mask[300:350, 400:500] == 255).all()
    assert (mask > 0).sum() == 2 * 100 * 50
    assert by_name["a2"] is None


def test_a_smaller_copy_of_a_picture_gets_its_mask_in_the_right_place(cache: Path) -> None:
    pictures = dataset.Pictures.read(cache, catalogue.read_records(cache))
    number = [record.id for record in pictures.records].index("c1")
    mask = pictures.masks[number]
    assert mask is not None
    assert pictures.records[number].rows == 800
    assert (mask[50:150, 50:100] == 255).all()
    assert (mask > 0).sum() == 100 * 50


def test_a_record_holds_what_is_known_of_its_picture(tmp_path: Path) -> None:
    film = phantom.draw(1, "left", 30, rows=400, columns=400)
    (tmp_path / "one.dcm").write_bytes(phantom.dicom(film))
    cv2.imwrite(str(tmp_path / "two.png"), np.random.default_rng(0).integers(0, 99, (64, 64)))
    left = np.zeros((1024, 1024), dtype=bool)
    left[100:200, 700:800] = True
    left[300:400, 700:800] = True
    index = table(
        tmp_path / "index.csv",
        ["ImageId", "patient", "fold", "view", "age", "nih_labels"],
        [["one", "A", "0", "", "", ""], ["two", "B", "1", "AP", "061Y", "Effusion|Pneumothorax"]],
    )
    outlines = [["one", rle.encode(left)], ["two", "-1"]]
    assert prepare.run(given(tmp_path, outlines, index=index, lungs=True)) == 0
    one, two = (record.attributes for record in catalogue.read_records(tmp_path / "cache"))
    assert (one.view, one.side, one.lesions) == ("PA", "left", 2)
    assert one.area == pytest.approx(2 * 100 * 100 / 1024**2, abs=1e-6)
    assert one.spacing_mm is not None
    assert one.pixels != two.pixels
    assert (two.view, two.age, two.lesions, two.side) == ("AP", 61.0, 0, "")
    assert (one.reported, two.reported) == (None, True)
    assert "under_exposed" not in one.tags
