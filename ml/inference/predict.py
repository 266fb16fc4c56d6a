"""The prediction for one picture: quality, network, thresholds, mask, measurements.

Owns what a prediction holds and the rules that turn the network's probabilities into it:

- band: 'likely' from the image threshold of high precision upwards, 'possible' from that of the
  chosen operating point upwards, else 'none_found' (which does not exclude a pneumothorax);
- the probability map is the network's, cut to the picture and rounded to 8 bits (value / 255);
- the mask is that map enlarged linearly (half-pixel centres) and compared with threshold * 255,
  in 32-bit floats that a browser can repeat; empty when none was found or when fewer pixels of
  the map than the model's floor reach the threshold;
- a picture that quality refuses has no probability and no outline.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.images.picture import Picture
from ml.inference import explain, measurements, size_indices
from ml.inference.serving import PreparedPicture, Serving
from ml.preprocessing import image_statistics
from ml.quality import gate
from ml.quality.typicality import Typicality
from ml.runtime.lung_finder import LungFields
from ml.runtime.session import Answer

OperatingPoint = Literal["high_sensitivity", "balanced", "high_precision"]
Band = Literal["likely", "possible", "none_found"]
OPERATING_POINTS: tuple[OperatingPoint, ...] = ("high_sensitivity", "balanced", "high_precision")


STOPPED = gate.Reason(
    "stopped_early",
    "A first, faster network saw so little sign of a pneumothorax that nothing was outlined.",
)


@dataclass(frozen=True)
class Prediction:
    """The model's prediction for one picture; fields are None where quality refused it.

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
    refuse: bool = True,
) -> Prediction:
    """The prediction for one picture. refuse False: run the model even if quality refuses."""
    return predict_batch([picture], serving, operating_point, refuse)[0]


def predict_batch(
    pictures: list[Picture],
    serving: Serving,
    operating_point: OperatingPoint = "balanced",
    refuse: bool = True,
) -> list[Prediction]:
    """Several pictures in one run of the network; the seconds are shared evenly."""
    start = time.perf_counter()
    pictures = [picture.without_hidden() for picture in pictures]
    verdicts, prepared, accepted = [], [], []
    for i, picture in enumerate(pictures):
        verdict, ready = checked(picture, serving)
        verdicts.append(verdict)
        if not refuse or verdict.verdict != "refused":
            accepted.append(i)
            prepared.append(ready or serving.prepare(picture.pixels))
    outputs: dict[int, tuple[PreparedPicture, NDArray[np.uint8], float]] = {}
    explanations: dict[int, dict[str, Any]] = {}
    if prepared:
        nothing = np.zeros((serving.size, serving.size), dtype=np.float32)
        passed = []
        for i, ready, stop in zip(accepted, prepared, serving.screened_out(prepared), strict=True):
            if stop is None:
                passed.append((i, ready))
            else:
                outputs[i] = (ready, ready.map_of(nothing), stop)
                verdicts[i] = gate.with_reason(verdicts[i], STOPPED)
        if passed:
            answer = serving.answer([ready for _, ready in passed])
            for n, (i, ready) in enumerate(passed):
                outputs[i] = (ready, ready.map_of(answer.masks[n]), float(answer.images[n]))
                explanations[i] = _explained(
                    pictures[i], serving.card, ready, answer, n, operating_point
                )
    model = {key: str(serving.card[key]) for key in ("name", "version", "sha256")}
    predictions = []
    for i, picture in enumerate(pictures):
        result: dict[str, Any] = {}
        if i in outputs:
            ready, map_, probability = outputs[i]
            result = conclude(
                picture,
                serving.card,
                map_,
                probability,
                ready.fields,
                operating_point,
                verdicts[i].midline,
            )
            result["statistics"] = image_statistics.of_answer(ready.input, map_, ready.fields.mask)
            result |= explanations.get(i, {})
        seconds = (time.perf_counter() - start) / len(pictures)
        facts = verdicts[i].facts()
        predictions.append(Prediction(model, operating_point, facts, round(seconds, 4), **result))
    return predictions


def checked(picture: Picture, serving: Serving) -> tuple[gate.Quality, PreparedPicture | None]:
    """The gate's verdict on a picture, and the prepared picture where the gate needed it."""
    prepared: list[PreparedPicture] = []

    def typicality() -> Typicality | None:
        prepared.append(serving.prepare(picture.pixels))
        return prepared[0].typicality

    verdict = gate.check(picture, typicality)
    return verdict, prepared[0] if prepared else None


def _explained(
    picture: Picture,
    card: dict[str, Any],
    prepared: PreparedPicture,
    answer: Answer,
    number: int,
    operating_point: OperatingPoint,
) -> dict[str, Any]:
    """Region and uncertainty of one of the answer's pictures, where the model has them."""
    found: dict[str, Any] = {}
    if answer.patches is not None:
        canonical = (prepared.fields.mask.shape[0], prepared.fields.mask.shape[1])
        source = (picture.rows, picture.columns)
        region = explain.region(answer.patches[number], prepared.crop, canonical, source)
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
    fields: LungFields,
    operating_point: OperatingPoint = "balanced",
    midline: float | None = None,
) -> dict[str, Any]:
    """The fields of a ``Prediction`` from the picture's probability map and image probability."""
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
    picture: Picture, mask: NDArray[np.bool_], fields: LungFields, midline: float | None
) -> dict[str, Any]:
    """The measurements and size indices of a mask on its picture and its lungs.

    midline: the column to use where it cannot be derived from the lungs.
    """
    middle, levels = size_indices.midline(fields), measurements.LEVELS
    if lungs := size_indices.span(fields, mask):
        top, bottom = lungs
        if picture.orientation and picture.orientation[1].startswith("H"):  # upside down
            top, bottom = 1 - bottom, 1 - top
        levels = (top + (bottom - top) / 3, bottom - (bottom - top) / 3)
    column = midline if middle is None else middle * picture.columns
    found = measurements.measure(mask, picture.spacing, picture.orientation, column, levels)
    sides = size_indices.extents(mask, fields, picture.spacing, picture.orientation, picture.view)
    return found | {"lungs_found": middle is not None, "extents": [one.facts() for one in sides]}


def band_of(
    probability: float, thresholds: dict[str, float], operating_point: OperatingPoint
) -> Band:
    """The band of a calibrated image probability."""
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
