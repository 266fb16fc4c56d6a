"""A reader's outline, measured as `predict` measures the model's own: same lungs, same code."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.images.picture import Picture
from ml.inference.predict import checked, measured_on
from ml.inference.serving import Serving


def measure(picture: Picture, mask: NDArray[np.bool_], serving: Serving) -> dict[str, Any]:
    """The measurements of a mask (rows, columns) on its picture; ValueError for another size.

    The network does not run: of the model only the lung finder is used. A picture that quality
    would refuse is measured too, since a reader may outline what the model was not asked about.
    """
    if mask.shape != (picture.rows, picture.columns):
        raise ValueError("the mask has another size than its picture")
    picture = picture.without_hidden()
    verdict, prepared = checked(picture, serving)
    prepared = prepared or serving.prepare(picture.pixels)
    return measured_on(picture, mask, prepared.fields, verdict.midline)
