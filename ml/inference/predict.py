"""The prediction for one picture: quality, network, thresholds, mask, measurements.

Owns what a prediction holds and the rules that turn the network's probabilities into it:

- band: 'likely' from the image threshold of high precision upwards, 'possible' from that of the
  chosen operating point upwards, else 'none_found' (which does not exclude a pneumothorax);
- the probability map is the network's, cut to the picture and rounded to 8 bits (value / 255);
- two thresholds: the image threshold of the operating point calls the picture, the pixel threshold
  outlines; the model's card has both;
- the mask is that map without its islands (regions of the map that reach the pixel threshold and
  are smaller than the card's `island_px_min`), enlarged linearly (half-pixel centres) and compared
  with threshold * 255, in 32-bit floats that a browser can repeat; empty when none was found or
  when fewer pixels of the map than `area_px_min` reach the threshold;
- a picture that quality refuses has no probability and no outline.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ml.images import field_size
from ml.images.picture import Picture, Spacing
from ml.inference import (
    explain,
    hemithorax,
    lung_size,
    measurements,
    other_findings,
    outline,
    severity,
    size_indices,
)
from ml.inference.other_findings import OtherFinding
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

    threshold: the pixel threshold, of the outline; image_threshold: that of the operating point;
    likely_threshold: from which image probability on the band is 'likely'. probability_map: uint8
    (S', S'') covering exactly the picture; mask: bool (rows, columns).
    """

    model: dict[str, str]
    operating_point: OperatingPoint
    quality: dict[str, Any]
    seconds: float
    probability: float | None = None
    band: Band | None = None
    threshold: float | None = None
    image_threshold: float | None = None
    likely_threshold: float | None = None
    probability_map: NDArray[np.uint8] | None = None
    mask: NDArray[np.bool_] | None = None
    measurements: dict[str, Any] | None = None
    statistics: dict[str, float] | None = None
    uncertainty: dict[str, Any] | None = None
    region: dict[str, Any] | None = None
    other_findings: list[OtherFinding] | None = None

    @property
    def mark(self) -> str:
        """What every output of this prediction has to state: a patient under 18; else empty."""
        codes = [reason["code"] for reason in self.quality.get("reasons", [])]
        return "PATIENT UNDER 18" if gate.UNDER_AGE in codes else ""

    def facts(self) -> dict[str, Any]:
        """Everything but the pictures, ready for JSON."""
        facts = {k: v for k, v in vars(self).items() if k not in ("probability_map", "mask")}
        others = self.other_findings
        facts["other_findings"] = None if others is None else [other.facts() for other in others]
        shape = None if self.probability_map is None else self.probability_map.shape
        facts["map"] = {"rows": shape[0], "columns": shape[1]} if shape else None
        return facts


def predict(
    picture: Picture,
    serving: Serving,
    operating_point: OperatingPoint = "balanced",
    refuse: bool = True,
    age_min: float = gate.ADULT_YEARS,
) -> Prediction:
    """The prediction for one picture. refuse False: run the model even if quality refuses.

    age_min: from which age on, in years, pictures of under-18s get a result, with a remark.
    """
    return predict_batch([picture], serving, operating_point, refuse, age_min)[0]


def predict_batch(
    pictures: list[Picture],
    serving: Serving,
    operating_point: OperatingPoint = "balanced",
    refuse: bool = True,
    age_min: float = gate.ADULT_YEARS,
) -> list[Prediction]:
    """Several pictures in one run of the network; the seconds are shared evenly."""
    start = time.perf_counter()
    pictures = [picture.without_hidden() for picture in pictures]
    verdicts, prepared, accepted = [], [], []
    for i, picture in enumerate(pictures):
        verdict, ready = checked(picture, serving, age_min)
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
                if answer.other_masks is not None:
                    explanations[i]["other_findings"] = other_findings.of_answer(
                        *(pictures[i], serving.card, ready, answer, n),
                        midline=verdicts[i].midline,
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
            if result["measurements"]["spacing_problem"] and result.get("other_findings"):
                result["other_findings"] = [
                    replace(other, area_mm2=None) for other in result["other_findings"]
                ]
        seconds = (time.perf_counter() - start) / len(pictures)
        facts = verdicts[i].facts()
        predictions.append(Prediction(model, operating_point, facts, round(seconds, 4), **result))
    return predictions


def checked(
    picture: Picture, serving: Serving, age_min: float = gate.ADULT_YEARS
) -> tuple[gate.Quality, PreparedPicture | None]:
    """The gate's verdict on a picture, and the prepared picture where the gate needed it."""
    prepared: list[PreparedPicture] = []

    def typicality() -> Typicality | None:
        prepared.append(serving.prepare(picture.pixels))
        return prepared[0].typicality

    verdict = gate.check(picture, typicality, age_min)
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
    mask = np.zeros((picture.rows, picture.columns), dtype=np.bool_)
    islands, least = 0, outline.island_floor(thresholds)
    if band != "none_found":
        kept, islands = outline.without_islands(map_, threshold * 255, least)
        area_px_min = thresholds["area_px_min"]
        mask = outline.mask(kept, threshold, area_px_min, picture.rows, picture.columns)
    measured = measured_on(picture, mask, fields, midline)
    return {
        "probability": round(probability, 4),
        "band": band,
        "threshold": threshold,
        "image_threshold": float(thresholds["image"][operating_point]),
        "likely_threshold": float(thresholds["image"]["high_precision"]),
        "probability_map": map_,
        "mask": mask,
        "measurements": measured | {"island_px_min": least, "islands_left_out": islands},
    }


def measured_on(
    picture: Picture, mask: NDArray[np.bool_], fields: LungFields, midline: float | None = None
) -> dict[str, Any]:
    """The measurements and size indices of a mask on its picture and its lungs.

    midline: the column to use where it cannot be derived from the lungs.
    """
    middle = hemithorax.midline(fields)
    spacing, problem = _spacing(picture, mask, fields)
    column = midline if middle is None else middle * picture.columns
    zones = None
    if mask.any():
        upside_down = bool(picture.orientation and picture.orientation[1].startswith("H"))
        zones = hemithorax.zones(fields, mask, column, upside_down=upside_down)
    found = measurements.measure(mask, spacing, picture.orientation, column, zones)
    sides = size_indices.extents(
        mask,
        fields,
        spacing,
        picture.orientation,
        picture.view,
        field_size.NOTE if problem == "not_plausible" else "no_spacing",
    )
    return found | {
        "spacing_problem": problem,
        "lungs_found": middle is not None,
        "extents": [one.facts() for one in sides],
        "lesions": len(found["components"]),
        "severity": severity.of_shares(one.fraction for one in sides) if mask.any() else None,
    }


def _spacing(
    picture: Picture, mask: NDArray[np.bool_], fields: LungFields
) -> tuple[Spacing | None, Literal["unknown", "not_plausible"] | None]:
    """The spacing to measure with, or why there is none."""
    if picture.spacing is None:
        return None, "not_plausible" if field_size.NOTE in picture.notes else "unknown"
    if not lung_size.is_plausible(
        picture.spacing, hemithorax.thorax(fields, mask), picture.rows, picture.columns
    ):
        return None, "not_plausible"
    return picture.spacing, None


def band_of(
    probability: float, thresholds: dict[str, float], operating_point: OperatingPoint
) -> Band:
    """The band of a calibrated image probability."""
    if probability < thresholds[operating_point]:
        return "none_found"
    return "likely" if probability >= thresholds["high_precision"] else "possible"
