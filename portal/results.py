"""What workers hand in, checked before it is believed: types, ranges, sizes, finite numbers."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portal.models import Band, BlobKind, JobKind, QualityVerdict
from portal.raster import JPEG_MARK, PNG_MARK

_JSON_BYTES: Final = 256 * 1024
_MB: Final = 1024 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_BINARY: Final = "application/octet-stream"
_SIDES: Final = ("right", "left", "both", None)


class BadResult(ValueError):
    """A result that can't be true. `message` says what is wrong with it, for the worker's log."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class _Output:
    media_type: str
    mark: bytes
    most: int
    bytes_per_pixel: int


# What each job may store, and how large it may be: so much, or so many bytes for each pixel.
OUTPUTS: Final = {
    JobKind.RENDER: {
        BlobKind.PIXELS: _Output(_BINARY, b"", 0, 2),
        BlobKind.PREVIEW: _Output("image/jpeg", JPEG_MARK, 8 * _MB, 0),
        BlobKind.THUMB: _Output("image/jpeg", JPEG_MARK, _MB, 0),
    },
    JobKind.SEGMENT: {
        BlobKind.PROBABILITY: _Output(_BINARY, b"", 4 * _MB, 0),
        BlobKind.MASK: _Output("image/png", PNG_MARK, _MB, 1),
        BlobKind.OVERLAY: _Output("image/png", PNG_MARK, _MB, 4),
    },
}
INPUTS: Final = {
    JobKind.RENDER: (BlobKind.SOURCE,),
    JobKind.SEGMENT: (BlobKind.PIXELS,),
}


def check_output(kind: JobKind, output: str, data: bytes, media_type: str, pixels: int) -> BlobKind:
    """The kind of an output that a job of this kind may store, if it is of type and size."""
    allowed = OUTPUTS.get(kind, {})
    found = next((blob for blob in allowed if blob.value == output), None)
    if found is None:
        raise BadResult(f"a {kind.value} job stores no such output")
    rule = allowed[found]
    if media_type.partition(";")[0].strip().lower() != rule.media_type:
        raise BadResult(f"{found.value} must be {rule.media_type}")
    if not data or len(data) > rule.most + rule.bytes_per_pixel * pixels:
        raise BadResult(f"{found.value} has {len(data)} bytes, which can't be")
    if not data.startswith(rule.mark):
        raise BadResult(f"{found.value} is not {rule.media_type}")
    return found


def check_facts(facts: Any, sizes: Mapping[BlobKind, int]) -> dict[str, Any]:
    """The facts of a render job, if they fit the outputs that it has stored."""
    known = _mapping(facts, "facts")
    rows, columns = _whole(known, "rows", 1, 65535), _whole(known, "columns", 1, 65535)
    _whole(known, "bits", 1, 16)
    for kind in OUTPUTS[JobKind.RENDER]:
        if kind not in sizes:
            raise BadResult(f"{kind.value} was not stored")
    if sizes[BlobKind.PIXELS] != rows * columns * 2:
        raise BadResult("pixels are not rows x columns of 16 bits")
    spacing = known.get("spacing")
    if spacing is not None:
        spacing = _mapping(spacing, "spacing")
        _number(spacing, "row_mm", 0.001, 100)
        _number(spacing, "column_mm", 0.001, 100)
        _text(spacing, "source", 32)
    windows = known.get("windows")
    if not isinstance(windows, list) or len(windows) > 100:
        raise BadResult("windows must be a list")
    for window in windows:
        if not (isinstance(window, list) and len(window) == 3 and isinstance(window[2], str)):
            raise BadResult("a window is centre, width and name")
        _finite(window[0], "window centre", -1e9, 1e9)
        _finite(window[1], "window width", 0, 1e9)
    for name, length in (("view", 16), ("modality", 16), ("body_part", 64), ("media_type", 64)):
        if known.get(name) is not None:
            _text(known, name, length)
    return known


@dataclass(frozen=True, slots=True)
class CheckedPrediction:
    """A prediction whose parts are of the right kind."""

    model: tuple[str, str, str]
    probability: float | None
    band: Band | None
    threshold: float | None
    operating_point: str | None
    map_size: tuple[int, int] | None
    measurements: dict[str, Any] | None
    side: str | None
    distance_mm: float | None
    quality_verdict: QualityVerdict
    quality: dict[str, Any]
    statistics: dict[str, Any]
    seconds: float | None


def check_prediction(prediction: Any, sizes: Mapping[BlobKind, int]) -> CheckedPrediction:
    """The prediction of a segment job, if it is whole and fits the outputs that it has stored."""
    known = _mapping(prediction, "prediction")
    model = _mapping(known.get("model"), "model")
    sha256 = _text(model, "sha256", 64)
    if not _SHA256.fullmatch(sha256):
        raise BadResult("model.sha256 is not a SHA-256")
    quality = _mapping(known.get("quality"), "quality")
    verdict = _verdict(quality)
    refused = verdict is QualityVerdict.REFUSED
    if refused and any(
        known.get(name) is not None for name in ("probability", "band", "map", "measurements")
    ):
        raise BadResult("a refused picture has no result")
    measurements = None if refused else _measurements(known)
    point = known.get("operating_point")
    return CheckedPrediction(
        model=(_text(model, "name", 100), _text(model, "version", 50), sha256),
        probability=None if refused else _number(known, "probability", 0, 1),
        band=None if refused else _band(known),
        threshold=_optional(known, "threshold", 0, 1),
        operating_point=None if point is None else _text(known, "operating_point", 50),
        map_size=None if refused else _map_size(known, sizes),
        measurements=measurements,
        side=measurements.get("side") if measurements else None,
        distance_mm=_optional(measurements or {}, "distance_mm", 0, 2000),
        quality_verdict=verdict,
        quality=quality,
        statistics=_mapping(known.get("statistics") or {}, "statistics"),
        seconds=_optional(known, "seconds", 0, 1e6),
    )


def check_code(code: Any) -> str:
    """An error code: small letters, digits and underscores."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise BadResult("code must be small letters, digits and underscores")
    return code


def _verdict(quality: dict[str, Any]) -> QualityVerdict:
    try:
        verdict = QualityVerdict(str(quality.get("verdict")))
    except ValueError:
        raise BadResult("quality.verdict is unknown") from None
    reasons = quality.get("reasons", [])
    if not isinstance(reasons, list) or len(reasons) > 50:
        raise BadResult("quality.reasons must be a list")
    for reason in reasons:
        check_code(_mapping(reason, "reason").get("code"))
        _text(reason, "message", 500)
    return verdict


def _band(known: dict[str, Any]) -> Band:
    try:
        return Band(str(known.get("band")))
    except ValueError:
        raise BadResult("band is unknown") from None


def _map_size(known: dict[str, Any], sizes: Mapping[BlobKind, int]) -> tuple[int, int]:
    grid = _mapping(known.get("map"), "map")
    rows, columns = _whole(grid, "rows", 1, 4096), _whole(grid, "columns", 1, 4096)
    for kind in OUTPUTS[JobKind.SEGMENT]:
        if kind not in sizes:
            raise BadResult(f"{kind.value} was not stored")
    if sizes[BlobKind.PROBABILITY] != rows * columns:
        raise BadResult("the probability map is not rows x columns of 8 bits")
    return rows, columns


def _measurements(known: dict[str, Any]) -> dict[str, Any] | None:
    if known.get("measurements") is None:
        return None
    found = _mapping(known["measurements"], "measurements")
    if found.get("side") not in _SIDES:
        raise BadResult("measurements.side is unknown")
    for name in ("area_px", "area_mm2", "distance_px", "distance_mm"):
        _optional(found, name, 0, 1e9)
    return found


def _mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadResult(f"{name} must be an object")
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        raise BadResult(f"{name} is not plain JSON with finite numbers") from None
    if size > _JSON_BYTES:
        raise BadResult(f"{name} is too large")
    return value


def _whole(values: dict[str, Any], name: str, low: int, high: int) -> int:
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise BadResult(f"{name} must be a whole number from {low} to {high}")
    return value


def _number(values: dict[str, Any], name: str, low: float, high: float) -> float:
    return _finite(values.get(name), name, low, high)


def _optional(values: dict[str, Any], name: str, low: float, high: float) -> float | None:
    return None if values.get(name) is None else _number(values, name, low, high)


def _finite(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadResult(f"{name} must be a number")
    if not math.isfinite(value) or not low <= value <= high:
        raise BadResult(f"{name} must be from {low} to {high}")
    return float(value)


def _text(values: dict[str, Any], name: str, length: int) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= length:
        raise BadResult(f"{name} must be a text of at most {length} characters")
    return value
