"""The lung fields: what the shipped network finds, and what is believed of it."""

import numpy as np
import pytest

from ml.inference import serving
from ml.preparation import phantom
from ml.preprocessing import transforms
from ml.preprocessing.lung_crop import Crop
from ml.runtime import lung_finder
from ml.runtime.lung_finder import LungFields


@pytest.fixture(scope="module")
def finder() -> lung_finder.Finder:
    return lung_finder.Finder()


def boxes(*parts: tuple[int, int, int, int], shape: tuple[int, int] = (100, 100)) -> LungFields:
    mask = np.zeros(shape, dtype=bool)
    for top, bottom, left, right in parts:
        mask[top:bottom, left:right] = True
    return LungFields(mask)


@pytest.mark.parametrize(("side", "width"), [(None, 0.0), ("right", 25.0), ("left", 60.0)])
def test_it_finds_drawn_lungs_with_and_without_a_pneumothorax(
    finder: lung_finder.Finder, side: phantom.Side | None, width: float
) -> None:
    drawn = phantom.draw(7, side, width)
    found = finder.find(transforms.canonical(drawn.pixels, 512)).mask
    true = drawn.lungs[1::2, 1::2]
    assert 2 * (found & true).sum() / (found.sum() + true.sum()) > 0.93


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_it_finds_no_lungs_where_there_is_nothing(finder: lung_finder.Finder, grey: int) -> None:
    assert finder.find(np.full((512, 512), grey, np.uint8)).crop() is None


def test_the_crop_is_a_square_around_both_lungs_with_a_margin() -> None:
    found = boxes((20, 70, 20, 40), (20, 70, 60, 80))
    assert found.crop() == Crop(0.152, 0.102, 0.696)


def test_the_crop_stays_in_the_picture_where_it_can() -> None:
    at_the_edge = boxes((0, 60, 0, 25), (0, 60, 35, 60)).crop()
    assert at_the_edge is not None
    assert (at_the_edge.left, at_the_edge.top) == (0, 0)
    tall = boxes((10, 190, 5, 35), (10, 190, 65, 95), shape=(200, 100)).crop()
    assert tall == Crop(-0.25, 0.0, 1.0)


@pytest.mark.parametrize("found", [boxes(), boxes((0, 100, 0, 90)), boxes((10, 12, 10, 20))])
def test_what_cannot_be_lungs_gives_no_crop(found: LungFields) -> None:
    assert found.crop() is None


def test_specks_are_no_lungs() -> None:
    found = boxes((20, 70, 20, 40), (20, 70, 60, 80), (95, 99, 95, 97)).mask
    kept = lung_finder.without_specks(found)
    assert not kept[90:].any()
    assert kept.sum() == found.sum() - 8


def test_lungs_that_an_edge_cuts_off_are_recognised_by_their_breadth() -> None:
    assert boxes((20, 70, 20, 40), (20, 70, 60, 80)).cut == (0, 0)
    assert boxes((0, 70, 20, 40), (20, 100, 50, 80)).cut == (0.4, 0.6)
    assert boxes().cut == (0, 0)


def test_serving_and_training_see_the_same_crop(finder: lung_finder.Finder, tmp_path) -> None:
    import cv2

    from ml.datasets import catalogue, dataset
    from ml.datasets.catalogue import Record
    from ml.preparation import prepare

    drawn = phantom.draw(8, "left", 20, rows=900, columns=700)
    side = transforms.canonical_side(448, cropped=True)
    small = transforms.canonical(drawn.pixels, side)
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "a.png"), small)
    record = Record("a", "masks", "A", 0, False, 900, 700)
    catalogue.write_records(tmp_path, prepare.with_lungs(tmp_path, [record]))
    kept = catalogue.read_records(tmp_path)[0].lungs
    assert kept is not None
    assert kept == finder.find(small).crop()
    trained = transforms.place(dataset.Pictures.read_one(tmp_path, record), 448, kept)

    class Network:
        card = {  # noqa: RUF012 - as a session has it
            "name": "n",
            "preprocessing": {"crop": "lungs", "lungs_sha256": finder.card["sha256"]},
        }
        device, size = "none", 448

    seen = serving.Serving(Network(), finder).prepare(drawn.pixels)  # type: ignore[arg-type]
    np.testing.assert_array_equal(seen.input, trained)
    wide = seen.map_of(np.ones((448, 448), np.float32))
    assert wide.shape == small.shape
    assert (wide > 0).mean() == pytest.approx((kept.side * side) ** 2 / small.size, abs=0.15)


def test_a_network_of_other_crops_is_not_served(finder: lung_finder.Finder) -> None:
    class Network:
        card = {"name": "n", "preprocessing": {"crop": "lungs", "lungs_sha256": "0" * 64}}  # noqa: RUF012
        device, size = "none", 448

    with pytest.raises(serving.ModelMissing, match="other lung crops"):
        serving.Serving(Network(), finder)  # type: ignore[arg-type]
