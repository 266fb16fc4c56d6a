"""A spacing is used only where it makes the picture as large as a chest X-ray."""

import io

import pydicom
import pytest

from ml.images import reader
from ml.images.picture import Spacing
from ml.preparation import phantom


def read(field_mm: float, **tags: object) -> reader.Picture:
    """A drawn chest whose header's spacing gives it a field of this size."""
    drawn = phantom.draw(3, "right", 20, rows=256, columns=256, field_mm=field_mm)
    header = pydicom.dcmread(io.BytesIO(phantom.dicom(drawn)))
    for keyword, value in tags.items():
        setattr(header, keyword, value)
    stream = io.BytesIO()
    header.save_as(stream)
    return reader.read(stream.getvalue())


@pytest.mark.parametrize(
    ("field_mm", "kept"),
    [(146.4, False), (249.0, False), (251.0, True), (430.0, True), (499.0, True), (1024.0, False)],
)
def test_the_field_decides_whether_a_spacing_is_kept(field_mm: float, kept: bool) -> None:
    picture = read(field_mm)
    assert (picture.spacing is not None) is kept
    assert ("spacing_not_plausible" in picture.notes) is not kept


def test_both_sides_of_the_field_count() -> None:
    assert read(370.0, ImagerPixelSpacing=[1.4, 0.9]).spacing is None
    wide = read(370.0, ImagerPixelSpacing=[1.4, 1.9])  # made square: 358 x 486 mm
    assert wide.spacing == Spacing(1.4, 1.4, "detector")
    assert read(370.0, ImagerPixelSpacing=[1.4, 2.0]).spacing is None


def test_a_file_without_a_spacing_has_no_remark() -> None:
    drawn = phantom.draw(3, None, rows=256, columns=256)
    picture = reader.read(phantom.dicom(drawn, spacing_tag="none"))
    assert picture.spacing is None
    assert picture.notes == ()
