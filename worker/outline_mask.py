"""An outline's bytes as a mask: the model's PNG, or a reader's runs."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.contract import outline_runs
from worker.contract.contents.report_content import OutlineForm, OutlinePart


def read(outline: OutlinePart, data: bytes) -> NDArray[np.uint8]:
    """The mask, 0 and 255, of the outline's size; ValueError for bytes that are none."""
    size = (outline.rows, outline.columns)
    if outline.form is OutlineForm.RUNS:
        mask = np.zeros(size[0] * size[1], np.uint8)
        for start, end in outline_runs.decode(data, *size):
            mask[start:end] = 255
        return mask.reshape(size)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if found is None or found.shape != size:
        raise ValueError("an outline is no PNG of its size")
    return np.asarray(found, np.uint8)
