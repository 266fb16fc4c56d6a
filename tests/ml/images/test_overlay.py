"""Pictures of a result."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ml.images import overlay, reader
from ml.images.picture import Picture
from ml.preparation import phantom


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(3, "right", 30, rows=360, columns=300)))


def test_the_overlay_marks_the_mask_and_leaves_the_rest_alone():
    grey = np.full((200, 200), 100, np.uint8)
    mask = np.zeros((200, 200), bool)
    mask[50:150, 50:150] = True
    drawn = overlay.overlay(grey, mask)
    blue, green, red = (int(value) for value in drawn[100, 100])
    assert min(blue, green) > 100 > red  # a quarter of cyan-teal
    assert (drawn[20, 20] == 100).all()
    assert drawn[100, 50][1] > 150  # the outline
    assert drawn[100, 49].max() < 100  # the dark halo around it
    untouched = overlay.overlay(grey, np.zeros_like(mask))
    assert (untouched == 100).all()


def test_pictures_of_a_result_are_png_in_source_geometry(chest):
    mask = np.zeros((360, 300), bool)
    mask[100:120, 40:60] = True
    stored = cv2.imdecode(np.frombuffer(overlay.mask_png(mask), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(stored, mask * np.uint8(255))
    drawn = cv2.imdecode(
        np.frombuffer(overlay.overlay_png(chest, mask), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert drawn.shape == (360, 300, 3)


def test_a_mark_is_written_into_the_lower_left_corner(chest):
    mask = np.zeros((360, 300), bool)
    plain, marked = (
        cv2.imdecode(np.frombuffer(overlay.overlay_png(chest, mask, mark), np.uint8), 1)
        for mark in ("", "PATIENT UNDER 18")
    )
    rows, columns = np.nonzero((plain != marked).any(axis=2))
    assert len(rows) > 100
    assert rows.min() > 330
    assert columns.max() < 150
