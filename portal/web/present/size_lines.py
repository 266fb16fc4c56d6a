"""The size of a pneumothorax for the result panel: one figure, and a block for each side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal.languages import _, lazy, pgettext
from portal.studies.stored_results import hemithorax_share
from portal.web.present import wording
from worker.contract.facts import NOT_PLAUSIBLE

_LEVELS: Final = (
    ("apex", lazy("At the apex")),
    ("upper", lazy("Middle of the upper half")),
    ("middle", lazy("Middle of the lung")),
    ("lower", lazy("Middle of the lower half")),
)
_INDICES: Final = (("collins", "Collins"), ("rhea", "Rhea"), ("light", "Light"))
_WHY_NOT: Final = {
    "no_spacing": lazy("the pixel spacing is unknown"),
    "spacing_not_plausible": lazy("the pixel spacing is not plausible"),
    "border_not_found": lazy("the border of the lung beside the air was not found"),
    "border_not_checked": lazy(
        "an older version made this result; it did not check whether the border of the lung was "
        "found"
    ),
    "uneven": lazy("the lung has not collapsed evenly, which Light assumes"),
    "not_pa": lazy("valid for erect PA views only"),
    "no_air_at_level": lazy("nothing is outlined at the middle of the lung’s height"),
    "no_air_at_levels": lazy("nothing is outlined at the apex or at the middle of either half"),
}
_SEVERITIES: Final = {
    "small": lazy("under 10 % of the hemithorax"),
    "moderate": lazy("10 – 30 % of the hemithorax"),
    "large": lazy("over 30 % of the hemithorax"),
    "unknown": lazy("unknown (lungs not found)"),
}
_SHARES: Final = {
    "right": lazy("Share of the right hemithorax"),
    "left": lazy("Share of the left hemithorax"),
}
_HEMITHORACES: Final = {
    "right": lazy("Right hemithorax"),
    "left": lazy("Left hemithorax"),
}
_NAMES: Final = {"right": lazy("Right", context="side"), "left": lazy("Left", context="side")}
_BORDER_NOT_FOUND: Final = lazy("unknown (border of the lung not found)")
METHOD: Final = lazy(
    "Share of the hemithorax’s area in the picture; this is not a volume. Distances between the "
    "pleural layers at the model’s threshold. Collins, Rhea and Light estimate a volume and "
    "assume an erect PA view; they disagree with each other and with CT. "
    "The limits by which a size is shown were chosen on the pictures that they were measured on. "
    "Of 59 indices of the model’s own outlines, 9 (15 %) were off by more than 15 points."
)


@dataclass(frozen=True, slots=True)
class Size:
    """The lines of one side: name and value of each, and why an index is not shown."""

    side: str
    title: str
    share: str
    levels: list[tuple[str, str]]
    indices: list[tuple[str, str]]
    reason: str


def spacing(
    facts: Mapping[str, Any], measured: Mapping[str, Any]
) -> tuple[dict[str, Any] | None, str | None]:
    """The pixel spacing to measure with, and why there is none: the header's is not used where the
    lungs would have a size by it that no adult's have.
    """
    if measured.get("spacing_problem") == "not_plausible":
        return None, "not_plausible"
    known = measured.get("spacing") or facts.get("spacing")
    if known is None and NOT_PLAUSIBLE in (facts.get("notes") or ()):
        return None, "not_plausible"
    return known, None


def figure(measured: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and value of the one size that is shown at first; None where nothing is outlined.

    The share of the hemithorax needs no pixel spacing; where the lung's border was not found it is
    the greatest distance.
    """
    if found := hemithorax_share(measured):
        side, value = found
        return str(_SHARES[side]), wording.share(value)
    length = wording.length(measured.get("distance_mm"), measured.get("distance_px"))
    return (_("Greatest distance"), length) if length else None


def severity(measured: Mapping[str, Any]) -> str:
    """The size class in words; empty where nothing is outlined, or in a result of before."""
    size = measured.get("severity")
    if size == "unknown" and measured.get("lungs_found"):
        return str(_BORDER_NOT_FOUND)
    return str(_SEVERITIES.get(size or "", ""))


def lesions(measured: Mapping[str, Any]) -> int:
    """How many separate regions are outlined; of a result of before, by its regions."""
    count = measured.get("lesions")
    return len(measured.get("components") or ()) if count is None else int(count)


def sizes(measured: Mapping[str, Any]) -> list[Size]:
    """The sides of a prediction's measurements, the larger first."""
    return [_size(extent) for extent in measured.get("extents") or ()]


def level_lines(measured: Mapping[str, Any]) -> list[Sequence[float]]:
    """The levels' lines (x0, y0, x1, y1 in source pixels) where something is outlined."""
    extents = measured.get("extents") or ()
    levels = [extent.get(name) for extent in extents for name, _ in _LEVELS]
    return [level["line"] for level in levels if level and level.get("line")]


def _size(extent: Mapping[str, Any]) -> Size:
    none = pgettext("distance", "none")
    reasons = {extent[name]["reason"] for name, _ in _INDICES if not extent[name]["applies"]}
    return Size(
        side=str(_NAMES[extent["side"]]),
        title=str(_HEMITHORACES[extent["side"]]),
        share=_share(extent),
        levels=[
            (str(text), wording.length(level.get("mm"), level["px"]) if level["px"] else none)
            for name, text in _LEVELS
            for level in [extent.get(name)]
            if level  # results of an older version have no middle
        ],
        indices=[
            (text, f"{extent[name]['percent']:.0f} %")
            for name, text in _INDICES
            if extent[name]["applies"]
        ],
        reason=_not_shown(
            "; ".join(sorted(str(_WHY_NOT.get(code or "", code or "")) for code in reasons)),
            some=len(reasons) > 0 and any(extent[name]["applies"] for name, _text in _INDICES),
        ),
    )


def _share(extent: Mapping[str, Any]) -> str:
    if extent["fraction"] is None:
        return _("not measured")
    return wording.share(extent["fraction"])


def _not_shown(reasons: str, *, some: bool) -> str:
    """Why indices are not shown, in a sentence; `some`: others are."""
    if not reasons:
        return ""
    if some:
        return _("Other indices are not shown: %(reasons)s.", reasons=reasons)
    return _("Collins, Rhea and Light are not shown: %(reasons)s.", reasons=reasons)
