"""A model's card: whether a model may be promoted by it, and what its thresholds mean."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from portal.languages import _
from portal.models import Band, ModelVersion, OperatingPoint

_ROUNDED: Final = 0.0001
# No number of a card is as large: neither counts nor what was measured.
_LARGEST: Final = 10**15
DIGITS: Final = 15


def number_of(value: Any) -> float | None:
    """A card's number; None for what is none, is not finite, or has more than DIGITS digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -_LARGEST < value < _LARGEST else None  # NaN is not, either


def has_unusable_number(card: Any) -> bool:
    """Whether any number in a card is one that `number_of` does not take."""
    left = [card]
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
        elif isinstance(one, int | float) and not isinstance(one, bool) and number_of(one) is None:
            return True
    return False


def problems_of(card: Mapping[str, Any] | None) -> Iterator[str]:
    """Why a model with this card may not be promoted, each a sentence."""
    if not card:
        yield _("Its card is not known here.")
        return
    thresholds = mapping(card.get("thresholds"))
    image = mapping(thresholds.get("image"))
    points = [_number(image.get(point.value)) for point in OperatingPoint]
    if not all(0 < value < 1 for value in (*points, _number(thresholds.get("mask")))):
        yield _(
            "Its card lacks thresholds of its own for the outline and the three operating points."
        )
    elif sorted(points) != points:
        yield _("Its operating points are not in order.")
    calibration = mapping(card.get("calibration"))
    if not (_number(calibration.get("temperature")) > 0 <= _number(calibration.get("ece"))):
        yield _("Its card lacks a calibration that was measured.")


def bands_of(session: Session, sha256: str, point: str, probability: float) -> set[Band] | None:
    """The bands that a model's card allows for a probability; None without thresholds.

    As `ml.inference.predict.band_of`, for a probability that was rounded to four digits: on a
    threshold there are two.
    """
    card = session.scalars(
        select(ModelVersion.card).where(
            ModelVersion.sha256 == sha256, ModelVersion.card.is_not(None)
        )
    ).first()
    thresholds = mapping(mapping((card or {}).get("thresholds")).get("image"))
    calls = _number(thresholds.get(point))
    sure = _number(thresholds.get(OperatingPoint.HIGH_PRECISION.value))
    if calls < 0 or sure < 0:
        return None
    words = set[Band]()
    for exact in (probability - _ROUNDED, probability + _ROUNDED):
        if exact < calls:
            words.add(Band.NONE_FOUND)
        else:
            words.add(Band.LIKELY if exact >= sure else Band.POSSIBLE)
    return words


def mapping(value: Any) -> Mapping[str, Any]:
    """A card's part; empty where it is none."""
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float:
    """A finite number; -1, which none of a card's numbers may be, for anything else."""
    found = number_of(value)
    return -1.0 if found is None else found
