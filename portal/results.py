"""What workers hand in, checked before it is believed: types, ranges, sizes, finite numbers."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from portal.models import Band, BlobKind, JobKind, QualityVerdict
from portal.raster import JPEG_MARK, PNG_MARK

_JSON_BYTES: Final = 256 * 1024
_MB: Final = 1024 * 1024
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_BINARY: Final = "application/octet-stream"
# NUL and halves of surrogate pairs.
_NO_TEXT: Final = re.compile("[\\x00\\ud800-\\udfff]")


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
    """The facts of a render job, if they fit the outputs that it has stored; no others stay."""
    known = _known(_mapping(facts, "facts"), _FACTS)
    for kind in OUTPUTS[JobKind.RENDER]:
        if kind not in sizes:
            raise BadResult(f"{kind.value} was not stored")
    if sizes[BlobKind.PIXELS] != known["rows"] * known["columns"] * 2:
        raise BadResult("pixels are not rows x columns of 16 bits")
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
    sent = _mapping(prediction, "prediction")
    known = _known(sent, _PREDICTION)
    model, quality = known["model"], known["quality"]
    refused = quality["verdict"] == QualityVerdict.REFUSED
    if refused and any(
        sent.get(name) is not None for name in ("probability", "band", "map", "measurements")
    ):
        raise BadResult("a refused picture has no result")
    measurements = known.get("measurements")
    return CheckedPrediction(
        model=(model["name"], model["version"], model["sha256"]),
        probability=None if refused else _number(0, 1)(sent.get("probability"), "probability"),
        band=None if refused else Band(_one_of(Band)(sent.get("band"), "band")),
        threshold=known.get("threshold"),
        operating_point=known.get("operating_point"),
        map_size=None if refused else _map_size(sent.get("map"), sizes),
        measurements=measurements,
        side=measurements.get("side") if measurements else None,
        distance_mm=measurements.get("distance_mm") if measurements else None,
        quality_verdict=QualityVerdict(quality["verdict"]),
        quality=quality,
        statistics=known.get("statistics") or {},
        seconds=known.get("seconds"),
    )


def check_code(code: Any, name: str = "code") -> str:
    """An error code: small letters, digits and underscores."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise BadResult(f"{name} must be small letters, digits and underscores")
    return code


def _map_size(grid: Any, sizes: Mapping[BlobKind, int]) -> tuple[int, int]:
    known = _object(_MAP)(grid, "map")
    rows, columns = known["rows"], known["columns"]
    for kind in OUTPUTS[JobKind.SEGMENT]:
        if kind not in sizes:
            raise BadResult(f"{kind.value} was not stored")
    if sizes[BlobKind.PROBABILITY] != rows * columns:
        raise BadResult("the probability map is not rows x columns of 8 bits")
    return rows, columns


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


# A check takes a value and its name, and returns the value as it is kept, or raises BadResult.
_Check = Callable[[Any, str], Any]


def _known(sent: dict[str, Any], checks: Mapping[str, _Check]) -> dict[str, Any]:
    """What is known of an object, checked; all else is left out. Required is what can't be None."""
    checked = {name: check(sent.get(name), name) for name, check in checks.items()}
    return {name: value for name, value in checked.items() if name in sent}


def _object(checks: Mapping[str, _Check]) -> _Check:
    return lambda value, name: _known(_mapping(value, name), checks)


def _maybe(check: _Check) -> _Check:
    return lambda value, name: None if value is None else check(value, name)


def _whole(low: int, high: int) -> _Check:
    def check(value: Any, name: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadResult(f"{name} must be a whole number from {low} to {high}")
        return value

    return check


def _number(low: float, high: float) -> _Check:
    def check(value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadResult(f"{name} must be a number")
        if not low <= value <= high:  # nor is "not a number" between any two
            raise BadResult(f"{name} must be from {low} to {high}")
        return float(value)

    return check


def _truth(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise BadResult(f"{name} must be true or false")
    return value


def _text(most: int, least: int = 1) -> _Check:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or not least <= len(value) <= most:
            raise BadResult(f"{name} must be a text of at most {most} characters")
        if _NO_TEXT.search(value):  # no database keeps it, no page can be written with it
            raise BadResult(f"{name} has characters that are none")
        return value

    return check


def _one_of(values: Iterable[str]) -> _Check:
    allowed = [str(value) for value in values]

    def check(value: Any, name: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise BadResult(f"{name} is unknown")
        return value

    return check


def _list(check: _Check, most: int, least: int = 0) -> _Check:
    def check_all(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise BadResult(f"{name} must be a list of {least} to {most}")
        return [check(item, name) for item in value]

    return check_all


def _sha256(value: Any, name: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise BadResult(f"{name} is not a SHA-256")
    return value


def _window(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise BadResult("a window is centre, width and name")
    return [
        _number(-1e9, 1e9)(value[0], "window centre"),
        _number(0, 1e9)(value[1], "window width"),
        _text(256, 0)(value[2], name),
    ]


def _orientation(value: Any, name: str) -> list[str] | None:
    found: list[str] = _list(_text(64), 2)(value, name)
    if len(found) == 1:
        raise BadResult(f"{name} must be two directions")
    return found or None


def _statistics(value: Any, name: str) -> dict[str, float]:
    found = _mapping(value, name)
    if len(found) > 100:
        raise BadResult(f"{name} has more than 100 numbers")
    return {check_code(key, name): _number(-1e12, 1e12)(found[key], name) for key in found}


_LENGTH: Final = _maybe(_number(0, 1e9))
_SIDE: Final = _maybe(_one_of(("right", "left", "both")))
_ZONES: Final = _list(_text(32), 10)
_SPACING: Final = _maybe(
    _object({"row_mm": _number(0.001, 100), "column_mm": _number(0.001, 100), "source": _text(32)})
)
_MAP: Final = {"rows": _whole(1, 4096), "columns": _whole(1, 4096)}
# All that `ml.picture.Picture.facts` sends, and nothing else.
_FACTS: Final[dict[str, _Check]] = {
    "rows": _whole(1, 65535),
    "columns": _whole(1, 65535),
    "bits": _whole(1, 16),
    "media_type": _maybe(_text(64)),
    "windows": _list(_window, 100),
    "photometric": _maybe(_text(32)),
    "spacing": _SPACING,
    "view": _maybe(_text(16)),
    "modality": _maybe(_text(16)),
    "body_part": _maybe(_text(64)),
    "orientation": _maybe(_orientation),
    "patient_age_years": _maybe(_number(0, 1000)),
    "patient_sex": _maybe(_text(16)),
    "colour": _maybe(_number(0, 1)),
    "notes": _maybe(_list(_text(64), 100)),
}
# `ml.measure.measure`.
_MEASUREMENTS: Final[dict[str, _Check]] = {
    "area_px": _maybe(_whole(0, 10**9)),
    "area_mm2": _LENGTH,
    "side": _SIDE,
    "side_assumed": _maybe(_truth),
    "zones": lambda value, name: [] if value is None else _ZONES(value, name),
    "distance_px": _LENGTH,
    "distance_mm": _maybe(_number(0, 2000)),
    "distance_line": _maybe(_list(_number(-1e6, 1e6), 4, 4)),
    "components": _maybe(
        _list(
            _object(
                {
                    "area_px": _whole(0, 10**9),
                    "area_mm2": _LENGTH,
                    "side": _SIDE,
                    "zones": _ZONES,
                    "box": _list(_whole(0, 10**6), 4, 4),
                }
            ),
            10_000,
        )
    ),
    "spacing": _SPACING,
}
# `ml.predict.Prediction.facts`; what a refused picture must not have is looked at by itself.
_PREDICTION: Final[dict[str, _Check]] = {
    "model": _object({"name": _text(100), "version": _text(50), "sha256": _sha256}),
    "threshold": _maybe(_number(0, 1)),
    "operating_point": _maybe(_text(50)),
    "measurements": _maybe(_object(_MEASUREMENTS)),
    "quality": _object(
        {
            "verdict": _one_of(QualityVerdict),
            "reasons": _maybe(_list(_object({"code": check_code, "message": _text(500)}), 50)),
        }
    ),
    "statistics": _maybe(_statistics),
    "seconds": _maybe(_number(0, 1e6)),
}
