"""The size of a pneumothorax relative to its lung, for the result panel: a block for each side."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal.web.present import wording

_LEVELS: Final = (
    ("apex", "At the apex"),
    ("upper", "Middle of the upper half"),
    ("middle", "Middle of the lung"),
    ("lower", "Middle of the lower half"),
)
_INDICES: Final = (("collins", "Collins"), ("rhea", "Rhea"), ("light", "Light"))
_WHY_NOT: Final = {
    "no_spacing": "the pixel spacing is unknown",
    "not_pa": "valid for erect PA views only",
    "no_air_at_level": "nothing is outlined at the middle of the lung’s height",
    "no_air_at_levels": "nothing is outlined at the apex or at the middle of either half",
}
METHOD: Final = (
    "Share of the hemithorax’s area in the picture; this is not a volume. Distances between the "
    "pleural layers at the model’s threshold. Collins, Rhea and Light estimate a volume and "
    "assume an erect PA view; they disagree with each other and with CT."
)


@dataclass(frozen=True, slots=True)
class Size:
    """The lines of one side: name and value of each, and why an index is not shown."""

    side: str
    share: str
    levels: list[tuple[str, str]]
    indices: list[tuple[str, str]]
    reason: str


def sizes(measured: Mapping[str, Any]) -> list[Size]:
    """The sides of a prediction's measurements, the larger first."""
    return [_size(extent) for extent in measured.get("extents") or ()]


def level_lines(measured: Mapping[str, Any]) -> list[Sequence[float]]:
    """The levels' lines (x0, y0, x1, y1 in source pixels) where something is outlined."""
    extents = measured.get("extents") or ()
    levels = [extent.get(name) for extent in extents for name, _ in _LEVELS]
    return [level["line"] for level in levels if level and level.get("line")]


def _size(extent: Mapping[str, Any]) -> Size:
    reasons = {extent[name]["reason"] for name, _ in _INDICES if not extent[name]["applies"]}
    return Size(
        side=extent["side"].capitalize(),
        share=f"{100 * extent['fraction']:.0f} %",
        levels=[
            (text, wording.length(level.get("mm"), level["px"]) if level["px"] else "none")
            for name, text in _LEVELS
            for level in [extent.get(name)]
            if level  # results of an older version have no middle
        ],
        indices=[
            (text, f"{extent[name]['percent']:.0f} %")
            for name, text in _INDICES
            if extent[name]["applies"]
        ],
        reason="; ".join(sorted(_WHY_NOT.get(code or "", code or "") for code in reasons)),
    )
