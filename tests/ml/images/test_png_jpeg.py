"""PNG and JPEG files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml.images import reader
from tests.support.ml.dicom_files import grey_png
from xray_files.streams import jpeg, png


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_png_keeps_its_depth(kind, bits):
    data = grey_png((50, 40), kind)
    picture = reader.read(data)
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture.pixels, stored)
    assert (picture.bits, picture.media_type, picture.spacing) == (bits, "image/png", None)


@pytest.mark.parametrize(("kind", "stream"), [(".png", png), (".jpg", jpeg)])
def test_what_stands_behind_a_pictures_end_reaches_no_decoder(kind, stream):
    data = cv2.imencode(kind, np.arange(2000, dtype=np.uint8).reshape(50, 40))[1].tobytes()
    assert bytes(stream.trimmed(data)) == data
    assert bytes(stream.trimmed(data + b"MORE" + data)) == data
