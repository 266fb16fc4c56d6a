"""The measure job: a reader's outline of a picture gets the numbers that the model's own has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.images.picture import Picture
from ml.inference import measured_outline
from ml.inference.serving import Serving
from worker.client.portal_client import Attempt
from worker.contract import outline_runs
from worker.contract.error_codes import ErrorCode
from worker.contract.files import FileKind
from worker.contract.measurements import Measurements
from worker.contract.message import InvalidMessage
from worker.contract.outline_runs import BadRuns
from worker.contract.result import MeasureResult
from worker.errors import Permanent


def measure(attempt: Attempt, picture: Picture, serving: Serving) -> MeasureResult:
    """Do one measure job up to its result; the caller finishes it."""
    try:
        mask = mask_of(attempt.read_input(FileKind.REVIEW_MASK), picture.rows, picture.columns)
    except BadRuns:
        raise Permanent(ErrorCode.OUTLINE_DOES_NOT_FIT) from None
    found = measured_outline.measure(picture, mask, serving)
    try:
        return MeasureResult(measurements=Measurements.parse(found))
    except InvalidMessage:
        raise Permanent(ErrorCode.RESULT_REFUSED) from None


def mask_of(runs: bytes, rows: int, columns: int) -> NDArray[np.bool_]:
    """The mask (rows, columns) of an outline; BadRuns where it is none of this size."""
    mask = np.zeros(rows * columns, dtype=np.bool_)
    for start, end in outline_runs.decode(runs, rows, columns):
        mask[start:end] = True
    return mask.reshape(rows, columns)
