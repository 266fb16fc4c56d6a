"""What is shown of a stored prediction: what is stored, less what is known to be wrong by now.

Predictions are never changed. Those of older versions may hold lengths by a pixel spacing that no
detector has, and sizes relative to a hemithorax whose lung was not found: pages, API and export get
them without these, by way of this module alone.
"""

from collections.abc import Mapping
from typing import Any, Final

from portal.models import Instance, Prediction, SizeClass
from worker.contract import facts
from worker.contract.measurements import LEVELS
from worker.contract.prediction import UNDER_AGE

Json = dict[str, Any]

# The reason of an index from before it was checked whether the lung's border was found.
NOT_CHECKED: Final = "border_not_checked"
_INDICES: Final = ("collins", "rhea", "light")
# The classes as workers name them.
_SIZES: Final = {
    "small": SizeClass.BELOW_10,
    "moderate": SizeClass.FROM_10_TO_30,
    "large": SizeClass.ABOVE_30,
    "unknown": SizeClass.UNKNOWN,
}


def measurements(row: Prediction, picture: Instance) -> Json | None:
    """The measurements of a prediction of this picture."""
    if row.measurements is None:
        return None
    found: Json = dict(row.measurements)
    if not _has_plausible_spacing(found, picture):
        found = _without_mm(found)
    if found.get("extents"):
        found["extents"] = [_checked(extent) for extent in found["extents"]]
    return found


def hemithorax_share(measured: Mapping[str, Any] | None) -> tuple[str, float] | None:
    """Side and share, 0..1, of the side with the larger share; None where one is not known.

    The one that is not known may be the larger one (`ml.inference.severity`).
    """
    shares = [
        (extent.get("fraction"), str(extent["side"]))
        for extent in (measured or {}).get("extents") or ()
    ]
    known = [(float(share), side) for share, side in shares if share is not None]
    if not known or len(known) < len(shares):
        return None
    share, side = max(known, key=lambda one: one[0])
    return side, share


def size_class(measured: Mapping[str, Any] | None) -> SizeClass:
    """The size class of a finding: the one that its worker stored.

    Results of older versions have none: then it is that of the larger share.
    """
    if stored := _SIZES.get((measured or {}).get("severity") or ""):
        return stored
    share = hemithorax_share(measured)
    if share is None:
        return SizeClass.UNKNOWN
    if share[1] < 0.1:
        return SizeClass.BELOW_10
    return SizeClass.FROM_10_TO_30 if share[1] <= 0.3 else SizeClass.ABOVE_30


def image_thresholds(row: Prediction) -> tuple[float | None, float | None]:
    """The image threshold of the operating point, and the one from which on it is "likely".

    Predictions of older versions do not hold them; then they are those of the model's card.
    """
    if row.image_threshold is not None and row.likely_threshold is not None:
        return row.image_threshold, row.likely_threshold
    known: Any = row.model.card
    for name in ("thresholds", "image"):
        known = known.get(name) if isinstance(known, Mapping) else None
    if not isinstance(known, Mapping):
        return None, None
    used, likely = (known.get(point or "") for point in (row.operating_point, "high_precision"))
    return (
        float(used) if isinstance(used, float) else None,
        float(likely) if isinstance(likely, float) else None,
    )


def is_of_under_18(row: Prediction) -> bool:
    """Whether a result is one of a patient under 18, which the team allows."""
    reasons = row.quality.get("reasons") or ()
    return row.band is not None and any(reason.get("code") == UNDER_AGE for reason in reasons)


def _has_plausible_spacing(found: Mapping[str, Any], picture: Instance) -> bool:
    spacing = found.get("spacing")
    if not spacing or picture.rows is None or picture.columns is None:
        return True
    return facts.is_plausible(
        spacing["row_mm"], spacing["column_mm"], picture.rows, picture.columns
    )


def _without_mm(found: Json) -> Json:
    parts = [{**part, "area_mm2": None} for part in found.get("components") or ()]
    extents = [
        {
            **extent,
            **{name: {**extent[name], "mm": None} for name in LEVELS if extent.get(name)},
            **dict.fromkeys(("collins", "rhea"), _does_not_apply(facts.NOT_PLAUSIBLE)),
        }
        for extent in found.get("extents") or ()
    ]
    return found | {
        "area_mm2": None,
        "distance_mm": None,
        "components": parts,
        "extents": extents,
        "spacing": None,
        "spacing_problem": "not_plausible",
    }


def _checked(extent: Json) -> Json:
    if extent.get("border_found") is not None:
        return extent
    indices = {
        name: _does_not_apply(NOT_CHECKED) if extent[name]["applies"] else extent[name]
        for name in _INDICES
    }
    return extent | indices | {"fraction": None}


def _does_not_apply(reason: str) -> Json:
    return {"percent": None, "applies": False, "reason": reason}
