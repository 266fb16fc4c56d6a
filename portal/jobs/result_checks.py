"""What workers hand in, checked before it is believed: types, ranges, sizes, finite numbers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from portal.formats import png_jpeg
from portal.formats.json_checks import (
    BadResult,
    Check,
    list_of,
    mapping,
    maybe,
    number,
    object_of,
    one_of,
    only,
    sha256,
    text,
    truth,
    whole,
)
from portal.formats.refusals import Limits, Refused
from portal.models import Band, BlobKind, JobKind, QualityVerdict

_MB: Final = 1024 * 1024
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_BINARY: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class _Output:
    media_type: str
    most: int
    bytes_per_pixel: int
    side: int = 0  # the longest of a JPEG; a PNG is of the picture's own size


# What each job may store, and how large it may be: so much, or so many bytes for each pixel.
OUTPUTS: Final = {
    JobKind.RENDER: {
        BlobKind.PIXELS: _Output(_BINARY, 0, 2),
        BlobKind.PREVIEW: _Output("image/jpeg", 8 * _MB, 0, side=2048),
        BlobKind.THUMB: _Output("image/jpeg", _MB, 0, side=256),
    },
    JobKind.SEGMENT: {
        BlobKind.PROBABILITY: _Output(_BINARY, 4 * _MB, 0),
        BlobKind.MASK: _Output("image/png", _MB, 1),
        BlobKind.OVERLAY: _Output("image/png", _MB, 4),
    },
}
INPUTS: Final = {
    JobKind.RENDER: (BlobKind.SOURCE,),
    JobKind.SEGMENT: (BlobKind.PIXELS,),
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
        raise BadResult(f"a {kind.value} job stores no such output")
    rule = allowed[found]
    if media_type.partition(";")[0].strip().lower() != rule.media_type:
        raise BadResult(f"{found.value} must be {rule.media_type}")
    if not data or len(data) > rule.most + rule.bytes_per_pixel * picture[0] * picture[1]:
        raise BadResult(f"{found.value} has {len(data)} bytes, which can't be")
    if rule.media_type != _BINARY and not _is_picture(data, rule, picture):
        raise BadResult(f"{found.value} is not {rule.media_type} of its size")
    return found


def _is_picture(data: bytes, rule: _Output, picture: tuple[int, int]) -> bool:
    """Whether the file says that it is of the size that it is drawn with.

    A browser gives a picture the memory that its header asks for, however few its bytes are.
    """
    is_png = rule.media_type == "image/png"
    limits = Limits(len(data), max_side=max(picture) if is_png else rule.side)
    if not data.startswith(png_jpeg.PNG_MARK if is_png else png_jpeg.JPEG_MARK):
        return False
    try:
        header = png_jpeg.png(data, limits) if is_png else png_jpeg.jpeg(data, limits)
    except Refused:
        return False
    return not is_png or (header["rows"], header["columns"]) == picture


def check_facts(facts: Any, sizes: Mapping[BlobKind, int]) -> dict[str, Any]:
    """The facts of a render job, if they fit the outputs that it has stored; no others stay."""
    known = only(mapping(facts, "facts"), _FACTS)
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
    uncertainty: dict[str, Any] | None
    region: dict[str, Any] | None
    side: str | None
    distance_mm: float | None
    quality_verdict: QualityVerdict
    quality: dict[str, Any]
    statistics: dict[str, Any]
    seconds: float | None


def check_prediction(
    prediction: Any, sizes: Mapping[BlobKind, int], picture: tuple[int, int]
) -> CheckedPrediction:
    """The prediction of a segment job, if it is whole and fits its picture and its outputs.

    `picture` is (rows, columns) of the X-ray, `sizes` are the bytes of each stored output.
    """
    sent = mapping(prediction, "prediction")
    known = only(sent, _PREDICTION)
    model, quality = known["model"], known["quality"]
    refused = quality["verdict"] == QualityVerdict.REFUSED
    if refused and any(
        sent.get(name) is not None
        for name in ("probability", "band", "map", "measurements", "uncertainty", "region")
    ):
        raise BadResult("a refused picture has no result")
    measurements = known.get("measurements")
    _require_within(measurements or {}, known.get("region"), *picture)
    if sent.get("band") == Band.NONE_FOUND and (measurements or {}).get("area_px"):
        raise BadResult("where none is found nothing is outlined")
    return CheckedPrediction(
        model=(model["name"], model["version"], model["sha256"]),
        probability=None if refused else number(0, 1)(sent.get("probability"), "probability"),
        band=None if refused else Band(one_of(Band)(sent.get("band"), "band")),
        threshold=known.get("threshold"),
        operating_point=known.get("operating_point"),
        map_size=None if refused else _map_size(sent.get("map"), sizes),
        measurements=measurements,
        uncertainty=known.get("uncertainty"),
        region=known.get("region"),
        side=measurements.get("side") if measurements else None,
        distance_mm=measurements.get("distance_mm") if measurements else None,
        quality_verdict=QualityVerdict(quality["verdict"]),
        quality=quality,
        statistics=known.get("statistics") or {},
        seconds=known.get("seconds"),
    )


def _require_within(
    measured: Mapping[str, Any], region: Mapping[str, Any] | None, rows: int, columns: int
) -> None:
    """BadResult for what lies outside the picture or is larger than it."""
    parts = measured.get("components") or []
    levels = [
        side[name]
        for side in measured.get("extents") or []
        for name in _LEVELS
        if side.get(name) is not None
    ]
    areas = [measured.get("area_px"), *(part["area_px"] for part in parts)]
    lengths = [measured.get("distance_px"), *(level["px"] for level in levels)]
    lines = [measured.get("distance_line"), *(level.get("line") for level in levels)]
    boxes = [*(part["box"] for part in parts), *([region["box"]] if region else [])]
    if any(area > rows * columns for area in areas if area is not None):
        raise BadResult("an area is larger than the picture")
    if any(length > rows + columns for length in lengths if length is not None):
        raise BadResult("a length is longer than the picture")
    # A line may end on the edge of the outermost pixels, and is rounded.
    if not all(
        -1 <= x <= columns + 1 and -1 <= y <= rows + 1
        for line in lines
        if line is not None
        for x, y in (line[:2], line[2:])
    ):
        raise BadResult("a line leaves the picture")
    if not all(x0 <= x1 <= columns and y0 <= y1 <= rows for x0, y0, x1, y1 in boxes):
        raise BadResult("a box leaves the picture")


def check_code(code: Any, name: str = "code") -> str:
    """An error code: small letters, digits and underscores."""
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise BadResult(f"{name} must be small letters, digits and underscores")
    return code


def _map_size(grid: Any, sizes: Mapping[BlobKind, int]) -> tuple[int, int]:
    known = object_of(_MAP)(grid, "map")
    rows, columns = known["rows"], known["columns"]
    for kind in OUTPUTS[JobKind.SEGMENT]:
        if kind not in sizes:
            raise BadResult(f"{kind.value} was not stored")
    if sizes[BlobKind.PROBABILITY] != rows * columns:
        raise BadResult("the probability map is not rows x columns of 8 bits")
    return rows, columns


def _window(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or len(value) != 3:
        raise BadResult("a window is centre, width and name")
    return [
        number(-1e9, 1e9)(value[0], "window centre"),
        number(0, 1e9)(value[1], "window width"),
        text(256, 0)(value[2], name),
    ]


def _orientation(value: Any, name: str) -> list[str] | None:
    found: list[str] = list_of(text(64), 2)(value, name)
    if len(found) == 1:
        raise BadResult(f"{name} must be two directions")
    return found or None


def _statistics(value: Any, name: str) -> dict[str, float]:
    found = mapping(value, name)
    if len(found) > 100:
        raise BadResult(f"{name} has more than 100 numbers")
    return {check_code(key, name): number(-1e12, 1e12)(found[key], name) for key in found}


_LENGTH: Final = maybe(number(0, 1e9))
_SIDE: Final = maybe(one_of(("right", "left", "both")))
_ZONES: Final = list_of(text(32), 10)
_SPACING: Final = maybe(
    object_of({"row_mm": number(0.001, 100), "column_mm": number(0.001, 100), "source": text(32)})
)
_MAP: Final = {"rows": whole(1, 4096), "columns": whole(1, 4096)}
# All that `ml.images.picture.Picture.facts` sends, and nothing else.
_FACTS: Final[dict[str, Check]] = {
    "rows": whole(1, 65535),
    "columns": whole(1, 65535),
    "bits": whole(1, 16),
    "media_type": maybe(text(64)),
    "windows": list_of(_window, 100),
    "photometric": maybe(text(32)),
    "spacing": _SPACING,
    "view": maybe(text(16)),
    "modality": maybe(text(16)),
    "body_part": maybe(text(64)),
    "orientation": maybe(_orientation),
    "patient_age_years": maybe(number(0, 1000)),
    "patient_sex": maybe(text(16)),
    "colour": maybe(number(0, 1)),
    "notes": maybe(list_of(text(64), 100)),
}
_LEVELS: Final = ("apex", "upper", "middle", "lower")
_LEVEL: Final = object_of(
    {"px": number(0, 1e6), "mm": _LENGTH, "line": maybe(list_of(number(-1e6, 1e6), 4, 4))}
)


def _index(value: Any, name: str) -> dict[str, Any]:
    """An index has a number where it applies, else a code that says why not."""
    index = mapping(value, name)
    if truth(index.get("applies"), name):
        percent = number(0, 100)(index.get("percent"), name)
        return {"percent": percent, "applies": True, "reason": None}
    return {"percent": None, "applies": False, "reason": check_code(index.get("reason"), name)}


# `ml.inference.size_indices.Extent`, one for each side.
_EXTENT: Final = object_of(
    {
        "side": one_of(("right", "left")),
        "fraction": number(0, 1),
        **dict.fromkeys(_LEVELS, _LEVEL),
        "middle": maybe(_LEVEL),  # a worker of an older version does not tell it
        **dict.fromkeys(("collins", "rhea", "light"), _index),
    }
)
# `ml.inference.measurements.measure` and what `ml.inference.predict` adds.
_MEASUREMENTS: Final[dict[str, Check]] = {
    "area_px": maybe(whole(0, 10**9)),
    "area_mm2": _LENGTH,
    "side": _SIDE,
    "side_assumed": maybe(truth),
    "zones": lambda value, name: [] if value is None else _ZONES(value, name),
    "distance_px": _LENGTH,
    "distance_mm": maybe(number(0, 2000)),
    "distance_line": maybe(list_of(number(-1e6, 1e6), 4, 4)),
    "components": maybe(
        list_of(
            object_of(
                {
                    "area_px": whole(0, 10**9),
                    "area_mm2": _LENGTH,
                    "side": _SIDE,
                    "zones": _ZONES,
                    "box": list_of(whole(0, 10**6), 4, 4),
                }
            ),
            10_000,
        )
    ),
    "spacing": _SPACING,
    "lungs_found": maybe(truth),
    "extents": maybe(list_of(_EXTENT, 2)),
}
# `ml.inference.predict.Prediction.facts`; what a refused picture must not have is looked at by
# itself.
_PREDICTION: Final[dict[str, Check]] = {
    "model": object_of({"name": text(100), "version": text(50), "sha256": sha256}),
    "threshold": maybe(number(0, 1)),
    "operating_point": maybe(text(50)),
    "measurements": maybe(object_of(_MEASUREMENTS)),
    "uncertainty": maybe(
        object_of({"spread": number(0, 1), "outline_dice": maybe(number(0, 1)), "unsure": truth})
    ),
    "region": maybe(
        object_of({"box": list_of(whole(0, 65535), 4, 4), "probability": number(0, 1)})
    ),
    "quality": object_of(
        {
            "verdict": one_of(QualityVerdict),
            "reasons": maybe(list_of(object_of({"code": check_code, "message": text(500)}), 50)),
        }
    ),
    "statistics": maybe(_statistics),
    "seconds": maybe(number(0, 1e6)),
}
