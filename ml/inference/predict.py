"""One picture through the whole chain: quality, network, thresholds, mask, measurements.

Owns what a prediction is and the rules that turn the network's probabilities into it:

- band: 'likely' from the image threshold of high precision on, 'possible' from that of the
  chosen operating point on, else 'none_found' (which is not a statement that there is none);
- the probability map is the network's, cut to the picture and rounded to 8 bits (value / 255);
- the mask is that map enlarged linearly (half-pixel centres) and compared with threshold * 255,
  in 32-bit floats that a browser can repeat; empty when none was found or when fewer pixels of
  the map than the model's floor reach the threshold;
- a picture that quality refuses gets no number and no outline at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.images.picture import Picture
from ml.inference import explain, size_indices
from ml.inference import measurements as measure
from ml.inference.serving import Seen, Serving
from ml.preprocessing import image_statistics
from ml.quality import gate as quality
from ml.quality.typicality import Familiarity
from ml.runtime.lung_finder import Fields
from ml.runtime.session import Answer

OperatingPoint = Literal["high_sensitivity", "balanced", "high_precision"]
Band = Literal["likely", "possible", "none_found"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("high_sensitivity", "balanced", "high_precision")


STOPPED = quality.Reason(
    "stopped_early",
    "A first, faster network saw so little sign of a pneumothorax that nothing was outlined.",
)


@dataclass(frozen=True)
class Prediction:
    """What the model says about one picture; None where quality refused it.

    probability_map: uint8 (S', S'') covering exactly the picture; mask: bool (rows, columns).
    """

    model: dict[str, str]
    operating_point: OperatingPoint
    quality: dict[str, Any]
    seconds: float
    probability: float | None = None
    band: Band | None = None
    threshold: float | None = None
    probability_map: NDArray[np.uint8] | None = None
    mask: NDArray[np.bool_] | None = None
    measurements: dict[str, Any] | None = None
    statistics: dict[str, float] | None = None
    uncertainty: dict[str, Any] | None = None
    region: dict[str, Any] | None = None

    def facts(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON."""
        facts = {k: v for k, v in vars(self).items() if k not in ("probability_map", "mask")}
        shape = None if self.probability_map is None else self.probability_map.shape
        facts["map"] = {"rows": shape[0], "columns": shape[1]} if shape else None
        return facts


def predict(
    picture: Picture,
    serving: Serving,
    operating_point: OperatingPoint = "balanced",
    gate: bool = True,
) -> Prediction:
    """The model's word on one picture. gate False: run the model even if quality refuses."""
    return predict_batch([picture], serving, operating_point, gate)[0]


def predict_batch(
    pictures: list[Picture],
    serving: Serving,
    operating_point: OperatingPoint = "balanced",
    gate: bool = True,
) -> list[Prediction]:
    """Several pictures in one run of the network; the seconds are shared evenly."""
    start = time.perf_counter()
    verdicts, views, wanted = [], [], []
    for i, picture in enumerate(pictures):
        verdict, seen = gated(picture, serving)
        verdicts.append(verdict)
        if not gate or verdict.verdict != "refused":
            wanted.append(i)
            views.append(seen or serving.see(picture.pixels))
    outputs: dict[int, tuple[Seen, NDArray[np.uint8], float]] = {}
    reasons: dict[int, dict[str, Any]] = {}
    if views:
        nothing = np.zeros((serving.size, serving.size), dtype=np.float32)
        passed = []
        for i, seen, stop in zip(wanted, views, serving.stopped(views), strict=True):
            if stop is None:
                passed.append((i, seen))
            else:
                outputs[i] = (seen, seen.map_of(nothing), stop)
                verdicts[i] = quality.with_reason(verdicts[i], STOPPED)
        if passed:
            answer = serving.answer([seen for _, seen in passed])
            for n, (i, seen) in enumerate(passed):
                outputs[i] = (seen, seen.map_of(answer.masks[n]), float(answer.images[n]))
                reasons[i] = _explained(pictures[i], serving.card, seen, answer, n, operating_point)
    model = {key: str(serving.card[key]) for key in ("name", "version", "sha256")}
    found = []
    for i, picture in enumerate(pictures):
        said: dict[str, Any] = {}
        if i in outputs:
            seen, map_, probability = outputs[i]
            said = conclude(
                picture,
                serving.card,
                map_,
                probability,
                seen.fields,
                operating_point,
                verdicts[i].midline,
            )
            said["statistics"] = image_statistics.of_answer(seen.input, map_, seen.fields.mask)
            said |= reasons.get(i, {})
        seconds = (time.perf_counter() - start) / len(pictures)
        facts = verdicts[i].facts()
        found.append(Prediction(model, operating_point, facts, round(seconds, 4), **said))
    return found


def gated(picture: Picture, serving: Serving) -> tuple[quality.Quality, Seen | None]:
    """The gate's word on a picture, and the network's view of it where the gate had to look."""
    looked: list[Seen] = []

    def look() -> Familiarity | None:
        looked.append(serving.see(picture.pixels))
        return looked[0].familiarity

    verdict = quality.check(picture, look)
    return verdict, looked[0] if looked else None


def _explained(
    picture: Picture,
    card: dict[str, Any],
    seen: Seen,
    answer: Answer,
    number: int,
    operating_point: OperatingPoint,
) -> dict[str, Any]:
    """Region and uncertainty of one of the answer's pictures, where the model tells them."""
    found: dict[str, Any] = {}
    if answer.patches is not None:
        canonical = (seen.fields.mask.shape[0], seen.fields.mask.shape[1])
        source = (picture.rows, picture.columns)
        region = explain.region(answer.patches[number], seen.crop, canonical, source)
        found["region"] = region.facts() if region else None
    if answer.spreads is not None and answer.differences is not None:
        found["uncertainty"] = explain.uncertainty(
            float(answer.images[number]),
            float(answer.spreads[number]),
            answer.masks[number],
            answer.differences[number],
            card["thresholds"]["mask"],
            card["thresholds"]["image"][operating_point],
        ).facts()
    return found


def conclude(
    picture: Picture,
    card: dict[str, Any],
    map_: NDArray[np.uint8],
    probability: float,
    fields: Fields,
    operating_point: OperatingPoint = "balanced",
    midline: float | None = None,
) -> dict[str, Any]:
    """From the map over the picture and the image probability to what ``Prediction`` shows."""
    thresholds = card["thresholds"]
    band = band_of(probability, thresholds["image"], operating_point)
    threshold = float(thresholds["mask"])
    if band == "none_found":
        mask = np.zeros((picture.rows, picture.columns), dtype=np.bool_)
    else:
        mask = outline(map_, threshold, thresholds["area_px_min"], picture.rows, picture.columns)
    return {
        "probability": round(probability, 4),
        "band": band,
        "threshold": threshold,
        "probability_map": map_,
        "mask": mask,
        "measurements": _measured(picture, mask, fields, midline),
    }


def _measured(
    picture: Picture, mask: NDArray[np.bool_], fields: Fields, midline: float | None
) -> dict[str, Any]:
    """What measure and extent say of a mask on its picture and its lungs.

    midline: the column that is taken where the lungs do not tell it.
    """
    middle, levels = size_indices.midline(fields), measure.LEVELS
    if lungs := size_indices.span(fields, mask):
        top, bottom = lungs
        if picture.orientation and picture.orientation[1].startswith("H"):  # upside down
            top, bottom = 1 - bottom, 1 - top
        levels = (top + (bottom - top) / 3, bottom - (bottom - top) / 3)
    column = midline if middle is None else middle * picture.columns
    found = measure.measure(mask, picture.spacing, picture.orientation, column, levels)
    sides = size_indices.extents(mask, fields, picture.spacing, picture.orientation, picture.view)
    return found | {"lungs_found": middle is not None, "extents": [one.facts() for one in sides]}


def band_of(
    probability: float, thresholds: dict[str, float], operating_point: OperatingPoint
) -> Band:
    """The word for a calibrated image probability."""
    if probability < thresholds[operating_point]:
        return "none_found"
    return "likely" if probability >= thresholds["high_precision"] else "possible"


def outline(
    map_: NDArray[np.uint8], threshold: float, area_px_min: int, rows: int, columns: int
) -> NDArray[np.bool_]:
    """The mask (rows, columns) of a map; empty below ``area_px_min`` pixels of the map."""
    level = threshold * 255
    if int((map_ >= level).sum()) < max(area_px_min, 1):
        return np.zeros((rows, columns), dtype=np.bool_)
    mask = np.empty((rows, columns), dtype=np.bool_)
    for part, large in enlarged(map_, rows, columns):
        mask[part] = large >= np.float32(level)
    return mask


def enlarged(
    map_: NDArray[np.uint8], rows: int, columns: int
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """A map at the size of the picture, some rows at a time: which, and their values 0..255."""
    # Not by OpenCV, whose rounding depends on processor and libraries: a browser repeats this to
    # the pixel (static/js/viewer/upsample.js), first along the rows, then down the columns.
    left, right, across = _taps(map_.shape[1], columns)
    upper, lower, down = _taps(map_.shape[0], rows)
    values = map_.astype(np.float32)
    wide = values[:, left] * (1 - across) + values[:, right] * across
    for start in range(0, rows, 256):
        part = slice(start, start + 256)
        share = down[part, None]
        large: NDArray[np.float32] = wide[upper[part]] * (1 - share)
        large += wide[lower[part]] * share
        yield part, large


def _taps(
    cells: int, length: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For each of ``length`` pixels the two cells it lies between and the second one's share."""
    at = ((np.arange(length) + 0.5) * (cells / length) - 0.5).astype(np.float32)
    at = np.clip(at, 0, cells - 1)
    low = np.floor(at).astype(np.intp)
    return low, np.minimum(low + 1, cells - 1), at - low.astype(np.float32)
