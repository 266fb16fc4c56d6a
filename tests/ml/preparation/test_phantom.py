"""The drawn chests: known geometry, valid files, nothing of a real person."""

from __future__ import annotations

import io
import json

import cv2
import numpy as np
import pydicom
import pytest

from ml.images import reader
from ml.inference import measurements
from ml.preparation import phantom


@pytest.fixture(scope="module")
def drawn() -> phantom.Phantom:
    return phantom.draw(5, "left", width_mm=30, rows=400, columns=360)


@pytest.mark.parametrize(("side", "width_mm"), [("right", 8.0), ("left", 22.5), ("right", 45.0)])
def test_the_measured_distance_is_the_drawn_width_within_one_pixel(side, width_mm):
    drawn = phantom.draw(11, side, width_mm=width_mm, rows=512, columns=512)
    found = measurements.measure(drawn.mask, drawn.spacing, ("L", "F"))
    assert found["side"] == side
    assert found["distance_mm"] == pytest.approx(width_mm, abs=drawn.spacing.row_mm)
    assert found["area_mm2"] == pytest.approx(drawn.area_mm2, rel=1e-4)


def test_the_area_does_not_depend_on_the_resolution():
    coarse = phantom.draw(4, "right", rows=256, columns=256)
    fine = phantom.draw(4, "right", rows=768, columns=768)
    assert coarse.area_mm2 == pytest.approx(fine.area_mm2, rel=0.02)


def test_the_same_seed_draws_the_same_and_another_another(drawn):
    again = phantom.draw(5, "left", width_mm=30, rows=400, columns=360)
    np.testing.assert_array_equal(drawn.pixels, again.pixels)
    other = phantom.draw(6, "left", width_mm=30, rows=400, columns=360)
    assert (drawn.pixels != other.pixels).any()


def test_the_air_lies_in_a_lung_and_is_darker_than_it(drawn):
    assert drawn.mask.any()
    assert not (drawn.mask & ~drawn.lungs).any()
    assert drawn.pixels[drawn.mask].mean() < drawn.pixels[drawn.lungs & ~drawn.mask].mean()
    # More is denser: the spine is brighter than the lungs, and those than the air around.
    rows, columns = drawn.pixels.shape
    spine = drawn.pixels[rows // 2, columns // 2]
    assert spine > drawn.pixels[drawn.lungs].mean() > drawn.pixels[:8, :8].mean()


def test_without_a_side_there_is_no_pneumothorax():
    drawn = phantom.draw(5, None, rows=256, columns=256)
    assert not drawn.mask.any()
    assert drawn.side is None
    assert drawn.width_mm == drawn.area_mm2 == 0


def test_a_pneumothorax_without_width_is_refused():
    with pytest.raises(ValueError, match="width"):
        phantom.draw(1, "right", width_mm=0)


@pytest.mark.parametrize("modality", ["CR", "DX"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("bits", [8, 12])
def test_every_kind_of_dicom_reads_back_the_right_way_round(drawn, modality, photometric, bits):
    data = phantom.dicom(drawn, modality=modality, photometric=photometric, bits=bits)
    picture = reader.read(data)
    np.testing.assert_array_equal(picture.pixels, drawn.pixels >> (12 - bits))
    assert (picture.modality, picture.bits, picture.view) == (modality, bits, "PA")
    assert picture.orientation == ("L", "F")
    # The window covers the whole range, whichever way round the file stores it.
    window = picture.windows[0]
    assert window.centre == pytest.approx((2**bits - 1) / 2, abs=0.51)


@pytest.mark.parametrize(
    ("tag", "source"),
    [("detector", "detector"), ("corrected", "corrected"), ("calibrated", "calibrated")],
)
def test_every_spacing_tag_gives_the_drawn_millimetres(drawn, tag, source):
    spacing = reader.read(phantom.dicom(drawn, spacing_tag=tag)).spacing
    assert spacing is not None
    assert spacing.source == source
    assert spacing.row_mm == pytest.approx(drawn.spacing.row_mm, rel=1e-4)
    assert reader.read(phantom.dicom(drawn, spacing_tag="none")).spacing is None


def test_two_files_of_one_drawing_are_two_instances(drawn):
    first, second = (pydicom.dcmread(io.BytesIO(phantom.dicom(drawn))) for _ in range(2))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.StudyInstanceUID != second.StudyInstanceUID


def test_the_png_holds_the_picture_in_eight_or_sixteen_bits(drawn):
    for bits, shift in ((8, 4), (16, 0)):
        stored = cv2.imdecode(
            np.frombuffer(phantom.png(drawn, bits), np.uint8), cv2.IMREAD_UNCHANGED
        )
        expected = drawn.pixels >> shift if bits == 8 else drawn.pixels << 4
        np.testing.assert_array_equal(stored, expected)


def test_the_command_writes_pictures_masks_and_the_truth(tmp_path, capsys):
    import argparse

    parser = argparse.ArgumentParser()
    phantom.add_arguments(parser)
    args = parser.parse_args(["--out", str(tmp_path), "--count", "1", "--seed", "7"])
    assert phantom.run(args) == 0
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth["phantom-007"]["side"] == "right"
    picture = reader.read((tmp_path / "phantom-007.dcm").read_bytes())
    mask = cv2.imread(str(tmp_path / "phantom-007.truth.png"), cv2.IMREAD_GRAYSCALE) > 0
    found = measurements.measure(mask, picture.spacing, picture.orientation)
    assert found["distance_mm"] == pytest.approx(
        truth["phantom-007"]["width_mm"], abs=truth["phantom-007"]["spacing_mm"]
    )
    assert not list(tmp_path.glob("*.mask.png"))  # what `predict` calls its own outlines
    assert "1 pictures" in capsys.readouterr().out
