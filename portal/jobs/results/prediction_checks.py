"""Whether a prediction fits its picture, its job and its model's card."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from portal.ai_models import cards
from portal.jobs.errors import BadResult
from portal.models import Job
from worker.contract.measurements import Box, Measurements
from worker.contract.prediction import Prediction


def check(session: Session, job: Job, prediction: Prediction, picture: tuple[int, int]) -> None:
    """BadResult for a prediction that does not fit this job. `picture` is its (rows, columns)."""
    require_within(prediction, *picture)
    _require_model(job, prediction)
    _require_band(session, prediction)


def require_within(prediction: Prediction, rows: int, columns: int) -> None:
    """BadResult for what lies outside the picture or is larger than it."""
    _require_measured_within(prediction.measurements or Measurements(), rows, columns)
    others = prediction.other_findings or []
    if any(other.area_px > rows * columns for other in others):
        raise BadResult("an area is larger than the picture")
    corners = [corner for other in others for outline in other.outlines for corner in outline]
    if not all(x <= columns and y <= rows for x, y in corners):
        raise BadResult("an outline leaves the picture")
    if prediction.region is not None:
        _require_boxes_within([prediction.region.box], rows, columns)


def require_outline(measured: Measurements, pixels: int, rows: int, columns: int) -> None:
    """BadResult for measurements that are not those of an outline of so many pixels."""
    _require_measured_within(measured, rows, columns)
    if measured.area_px != pixels:
        raise BadResult("another area than that of the outline")


def _require_measured_within(measured: Measurements, rows: int, columns: int) -> None:
    parts = measured.components or []
    levels = [
        level
        for side in measured.extents or []
        for level in (side.apex, side.upper, side.middle, side.lower)
        if level is not None
    ]
    areas = [measured.area_px or 0, *(part.area_px for part in parts)]
    lengths = [measured.distance_px or 0, *(level.px for level in levels)]
    lines = [measured.distance_line, *(level.line for level in levels)]
    if any(area > rows * columns for area in areas):
        raise BadResult("an area is larger than the picture")
    if any(length > rows + columns for length in lengths):
        raise BadResult("a length is longer than the picture")
    # A line may end on the edge of the outermost pixels, and is rounded.
    if not all(
        -1 <= x <= columns + 1 and -1 <= y <= rows + 1
        for line in lines
        if line is not None
        for x, y in (line[:2], line[2:])
    ):
        raise BadResult("a line leaves the picture")
    _require_boxes_within([part.box for part in parts], rows, columns)


def _require_boxes_within(boxes: Sequence[Box], rows: int, columns: int) -> None:
    if not all(x0 <= x1 <= columns and y0 <= y1 <= rows for x0, y0, x1, y1 in boxes):
        raise BadResult("a box leaves the picture")


def _require_model(job: Job, prediction: Prediction) -> None:
    """BadResult unless model and operating point are those that the claim required."""
    if job.model_sha256 is None:
        return
    used = prediction.model.sha256, prediction.operating_point
    if used != (job.model_sha256, job.operating_point):
        raise BadResult("another model or operating point than the claim required")


def _require_band(session: Session, prediction: Prediction) -> None:
    """BadResult for a band that the probability does not give, where the model's card is known.

    `threshold` is the outline's: bands have thresholds of their own, one for each point.
    """
    if prediction.probability is None or prediction.band is None:
        return
    bands = cards.bands_of(
        session,
        prediction.model.sha256,
        prediction.operating_point or "",
        prediction.probability,
    )
    if bands is not None and prediction.band not in bands:
        raise BadResult("the band is not that of the probability")
