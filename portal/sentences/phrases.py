"""What a findings sentence is made of: facts of a reader's finding, and their words.

Pure functions. A measurement is named with its method; nothing here is about a patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from portal.models import Finding, SizeClass
from portal.sentences.templates import Kind
from portal.studies import stored_results

_SIDES: Final = {Finding.RIGHT: "right", Finding.LEFT: "left"}
_ZONES: Final = ("apical", "lateral", "basal")
_SIZES: Final = {
    SizeClass.BELOW_10: "estimated at below 10 % of the lung field",
    SizeClass.FROM_10_TO_30: "estimated at 10–30 % of the lung field",
    SizeClass.ABOVE_30: "estimated at above 30 % of the lung field",
    SizeClass.UNKNOWN: "size not determined",
}
_LARGER: Final = " on the larger side"
_DRAIN: Final = "A chest drain is in place."
_QUALITY: Final = "Assessment is limited by the image quality."
_OUTLINES: Final = {"reader": "the reader’s outline", "model": "the AI outline"}
_SPACINGS: Final = {
    "calibrated": "by calibrated pixel spacing",
    "corrected": "corrected for magnification",
    "detector": "at the detector",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement of an outline: the greatest distance in mm, else the share of the hemithorax,
    0..1, else nothing. `spacing`: where the mm are from; `outline`: whose it is.
    """

    distance_mm: float | None
    share: float | None
    spacing: str
    outline: Literal["reader", "model"]
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stated:
    """A reader's finding as the sentence has it."""

    finding: Finding
    size: SizeClass | None = None
    has_drain: bool = False
    is_poor: bool = False
    measured: Measured | None = None


def kind_of(finding: Finding) -> Kind:
    """The template that fits."""
    if finding.is_positive:
        return Kind.BOTH_SIDES if finding is Finding.BOTH else Kind.ONE_SIDE
    return Kind.NONE if finding is Finding.NONE else Kind.UNSURE


def phrases(stated: Stated) -> dict[str, str]:
    """The words for each placeholder, empty where there is nothing to say."""
    measured = stated.measured if stated.finding.is_positive else None
    return {
        "side": _SIDES.get(stated.finding, ""),
        "zones": zones(measured.zones) if measured else "",
        "size": _size(stated),
        "measurement": measurement(measured) if measured else "",
        "drain": _DRAIN if stated.has_drain else "",
        "quality": _QUALITY if stated.is_poor else "",
    }


def zones(named: Sequence[str]) -> str:
    """'apical', 'apical and lateral', 'apical, lateral and basal'."""
    known = [zone for zone in _ZONES if zone in named]
    return " and ".join(filter(None, [", ".join(known[:-1]), *known[-1:]]))


def measurement(measured: Measured) -> str:
    """'greatest interpleural distance 18 mm (software, on the AI outline, at the detector)'."""
    method = f"measured by software on {_OUTLINES[measured.outline]}"
    if measured.distance_mm is not None:
        spacing = _SPACINGS.get(measured.spacing)
        method += f", {spacing}" if spacing else ""
        return f"greatest interpleural distance {_length(measured.distance_mm)} ({method})"
    if measured.share is not None:
        share = "under 1 %" if measured.share < 0.01 else f"{100 * measured.share:.0f} %"
        return f"{share} of the area of the hemithorax ({method})"
    return ""


def measured_of(
    found: Mapping[str, Any] | None, finding: Finding, outline: Literal["reader", "model"]
) -> Measured | None:
    """The measurement of an outline that shows what the reader states; None for another side, and
    where nothing is outlined.
    """
    if not found or not found.get("area_px") or found.get("side") != finding.value:
        return None
    share = stored_results.hemithorax_share(found)
    spacing = found.get("spacing") or {}
    thirds = found.get("zones_by") is None  # of an older version: other zones by the same names
    return Measured(
        distance_mm=found.get("distance_mm"),
        share=share[1] if share else None,
        spacing=str(spacing.get("source") or ""),
        outline=outline,
        zones=() if thirds else tuple(found.get("zones") or ()),
    )


def _size(stated: Stated) -> str:
    if stated.size is None or not stated.finding.is_positive:
        return ""
    text = _SIZES[stated.size]
    is_larger = stated.finding is Finding.BOTH and stated.size is not SizeClass.UNKNOWN
    return text + (_LARGER if is_larger else "")


def _length(mm: float) -> str:
    return f"{mm:.0f} mm" if mm >= 9.95 else f"{mm:.1f} mm"
