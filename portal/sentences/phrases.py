"""What a findings sentence is made of: facts of a reader's finding, and their words in the language
that is spoken.

Pure functions. A measurement is named with its method; nothing here is about a patient.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from portal.languages import _, lazy, number_text
from portal.models import Finding, SizeClass
from portal.sentences.templates import Kind
from portal.studies import stored_results

# As they stand before "pneumothorax" in a sentence: other languages give them an ending.
_SIDES: Final = {
    Finding.RIGHT: lazy("right", context="sentence"),
    Finding.LEFT: lazy("left", context="sentence"),
}
_ZONES: Final = {
    "apical": lazy("apical", context="sentence"),
    "lateral": lazy("lateral", context="sentence"),
    "basal": lazy("basal", context="sentence"),
}
_SIZES: Final = {
    SizeClass.BELOW_10: lazy("estimated at below 10 % of the lung field"),
    SizeClass.FROM_10_TO_30: lazy("estimated at 10–30 % of the lung field"),
    SizeClass.ABOVE_30: lazy("estimated at above 30 % of the lung field"),
    SizeClass.UNKNOWN: lazy("size not determined"),
}
_DRAIN: Final = lazy("A chest drain is in place.")
_QUALITY: Final = lazy("Assessment is limited by the image quality.")
_METHODS: Final = {
    "reader": lazy("measured by software on the reader’s outline"),
    "model": lazy("measured by software on the AI outline"),
}
_SPACINGS: Final = {
    "calibrated": lazy("by calibrated pixel spacing"),
    "corrected": lazy("corrected for magnification"),
    "detector": lazy("at the detector", context="sentence"),
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
    """The words for each placeholder in the language spoken now, empty where there is nothing to
    say.
    """
    measured = stated.measured if stated.finding.is_positive else None
    return {
        "side": str(_SIDES.get(stated.finding, "")),
        "zones": zones(measured.zones) if measured else "",
        "size": _size(stated),
        "measurement": measurement(measured) if measured else "",
        "drain": str(_DRAIN) if stated.has_drain else "",
        "quality": str(_QUALITY) if stated.is_poor else "",
    }


def zones(named: Sequence[str]) -> str:
    """'apical', 'apical and lateral', 'apical, lateral and basal'."""
    known = [str(text) for zone, text in _ZONES.items() if zone in named]
    if len(known) < 2:
        return "".join(known)
    return _("%(zones)s and %(last)s", zones=", ".join(known[:-1]), last=known[-1])


def measurement(measured: Measured) -> str:
    """'greatest interpleural distance 18 mm (software, on the AI outline, at the detector)'."""
    method = str(_METHODS[measured.outline])
    if measured.distance_mm is not None:
        spacing = _SPACINGS.get(measured.spacing)
        return _(
            "greatest interpleural distance %(length)s (%(method)s)",
            length=_length(measured.distance_mm),
            method=f"{method}, {spacing}" if spacing else method,
        )
    if measured.share is not None:
        share = _("under 1 %") if measured.share < 0.01 else f"{100 * measured.share:.0f} %"
        return _("%(share)s of the area of the hemithorax (%(method)s)", share=share, method=method)
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
    text = str(_SIZES[stated.size])
    is_larger = stated.finding is Finding.BOTH and stated.size is not SizeClass.UNKNOWN
    return _("%(size)s on the larger side", size=text) if is_larger else text


def _length(mm: float) -> str:
    return f"{number_text(mm, 0 if mm >= 9.95 else 1)} mm"
