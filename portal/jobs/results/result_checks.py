"""What workers send, checked before it is stored: the contract, sizes and kinds of files.

Whether a prediction fits its picture and its model is checked by `prediction_checks`.
"""

from collections.abc import Mapping
from typing import Any, Final

from portal.formats import png_jpeg
from portal.formats.refusals import Limits, Refused
from portal.jobs.errors import BadResult, OutputMissing
from portal.models import BlobKind, JobKind
from worker.contract import files
from worker.contract.contents.drift import DriftFound
from worker.contract.contents.object_content import ObjectsFound
from worker.contract.contents.report_content import ReportFound
from worker.contract.facts import Facts
from worker.contract.files import OutputRule
from worker.contract.measurements import Measurements
from worker.contract.message import InvalidMessage
from worker.contract.prediction import Prediction
from worker.contract.result import (
    DriftResult,
    MeasureResult,
    ObjectsResult,
    RenderResult,
    ReportResult,
    SegmentResult,
)
from xray_files.streams import jpeg, png

# The contract's tables by the kinds of the portal's own tables.
OUTPUTS: Final = {
    JobKind(kind): {BlobKind(file): rule for file, rule in rules.items()}
    for kind, rules in files.OUTPUTS.items()
}
_MOST_ASPECT: Final = 4.01  # with rounding
INPUTS: Final = {
    JobKind(kind): tuple(BlobKind(file) for file in read if file not in files.MADE_WHEN_READ)
    for kind, read in files.INPUTS.items()
}


def check_output(
    kind: JobKind, output: str, data: bytes, media_type: str, picture: tuple[int, int]
) -> BlobKind:
    """The kind of an output that a job of this kind may store, if it is of type and size.

    `picture` is (rows, columns) of the job's X-ray.
    """
    allowed = OUTPUTS.get(kind, {})
    found = next((blob for blob in allowed if blob.value == output), None)
    if found is None:
        names = ", ".join(blob.value for blob in allowed) or "none"
        raise BadResult(f"a {kind.value} job stores no such output, only: {names}")
    rule = allowed[found]
    if media_type.partition(";")[0].strip().lower() != rule.media_type:
        raise BadResult(f"{found.value} must be {rule.media_type}")
    if not data or len(data) > rule.limit(*picture):
        raise BadResult(f"{found.value} has {len(data)} bytes, which can't be")
    if rule.media_type == files.PDF:
        if not data.startswith(b"%PDF-"):
            raise BadResult(f"{found.value} must be a PDF")
    elif rule.media_type == files.ZIP:
        if not data.startswith(b"PK\x03\x04"):
            raise BadResult(f"{found.value} must be a ZIP")
    elif rule.media_type != files.BYTES and not _is_picture(data, rule, picture):
        sides = f"at most {rule.side_max} pixels a side" if rule.side_max else "the X-ray's size"
        raise BadResult(f"{found.value} must be {rule.media_type} of {sides}")
    return found


def _is_picture(data: bytes, rule: OutputRule, picture: tuple[int, int]) -> bool:
    """Whether the file's header has the size that it is drawn with.

    A browser gives a picture the memory that its header asks for, however few its bytes are.
    """
    is_png = rule.media_type == files.PNG
    limits = Limits(len(data), max_side=max(picture) if is_png else rule.side_max)
    if not data.startswith(png.MARK if is_png else jpeg.MARK):
        return False
    try:
        header = png_jpeg.png(data, limits) if is_png else png_jpeg.jpeg(data, limits)
    except Refused:
        return False
    size = header["rows"], header["columns"]
    if rule.of_source and size != picture:
        return _is_source(size, picture)
    return not is_png or size == picture


def _is_source(size: tuple[int, int], picture: tuple[int, int]) -> bool:
    """Whether a file of this size can be the source of a picture that was made square.

    It was enlarged in one direction, no more than the decoder takes for plausible.
    """
    return any(
        size[same] == picture[same] and size[other] < picture[other] <= _MOST_ASPECT * size[other]
        for same, other in ((0, 1), (1, 0))
    )


def check_facts(result: Any, sizes: Mapping[BlobKind, int]) -> Facts:
    """The facts in a render job's result, if they fit the outputs that it has stored.

    `sizes` are the bytes of each stored output.
    """
    try:
        facts = RenderResult.parse(result).facts
    except InvalidMessage as error:
        raise BadResult(error.message) from None
    _require_stored(JobKind.RENDER, sizes)
    if sizes[BlobKind.PIXELS] != facts.rows * facts.columns * 2:
        raise BadResult("pixels are not rows x columns of 16 bits")
    if facts.source_size and not _is_source(facts.source_size, (facts.rows, facts.columns)):
        raise BadResult("the file's size is not that of a picture with pixels that are not square")
    return facts


def check_prediction(result: Any, sizes: Mapping[BlobKind, int]) -> Prediction:
    """The prediction in a segment job's result, if it fits the outputs that it has stored."""
    try:
        prediction = SegmentResult.parse(result).prediction
    except InvalidMessage as error:
        raise BadResult(error.message) from None
    if prediction.map is None:
        if sizes:
            raise BadResult("a refused picture has no outputs")
        return prediction
    _require_stored(JobKind.SEGMENT, sizes)
    if sizes[BlobKind.PROBABILITY] != prediction.map.rows * prediction.map.columns:
        raise BadResult("the probability map is not rows x columns of 8 bits")
    return prediction


def check_measurements(result: Any) -> Measurements:
    """The measurements in a measure job's result."""
    try:
        return MeasureResult.parse(result).measurements
    except InvalidMessage as error:
        raise BadResult(error.message) from None


def check_report(result: Any, sizes: Mapping[BlobKind, int]) -> ReportFound:
    """What a report job states about the file that it has stored."""
    try:
        found = ReportResult.parse(result).report
    except InvalidMessage as error:
        raise BadResult(error.message) from None
    _require_stored(JobKind.REPORT, sizes)
    return found


def check_objects(result: Any, sizes: Mapping[BlobKind, int]) -> ObjectsFound:
    """What an encode job states about the archive that it has stored."""
    try:
        found = ObjectsResult.parse(result).objects
    except InvalidMessage as error:
        raise BadResult(error.message) from None
    _require_stored(JobKind.ENCODE, sizes)
    return found


def check_drift(result: Any) -> DriftFound:
    """What a drift job has found."""
    try:
        return DriftResult.parse(result).drift
    except InvalidMessage as error:
        raise BadResult(error.message) from None


def _require_stored(job: JobKind, sizes: Mapping[BlobKind, int]) -> None:
    for kind, rule in OUTPUTS[job].items():
        if rule.is_required and kind not in sizes:
            raise OutputMissing(f"{kind.value} was not stored, which this portal requires")
