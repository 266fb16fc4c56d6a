"""The template of a frontal chest."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from ml.images import reader
from ml.images.picture import Picture, automatic_window
from ml.preparation import phantom
from ml.quality import chest_template, gate


@pytest.fixture(scope="module")
def chest() -> Picture:
    return reader.read(phantom.dicom(phantom.draw(21, "left", 25, rows=420, columns=400)))


def test_a_shifted_chest_has_a_shifted_midline(chest):
    wide = np.full((420, 600), int(np.percentile(chest.pixels, 2)), np.uint16)
    wide[:, 150:550] = chest.pixels
    shifted = dataclasses.replace(chest, pixels=wide, windows=(automatic_window(wide),))
    assert gate.check(shifted).midline == pytest.approx(350, abs=0.05 * 600)


def test_likeness_of_nothing_is_nothing(chest):
    flat = dataclasses.replace(chest, pixels=np.zeros((300, 300), np.uint16))
    assert chest_template.compare(flat) == chest_template.Likeness(0.0, 0.0, 150.0)
