"""The findings of a network's other classes, for the result panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from portal.web.present import wording


@dataclass(frozen=True, slots=True)
class OtherLine:
    """One finding: its name, what was found in words, and the probability."""

    name: str
    found: bool
    text: str
    probability: str


def other_lines(findings: Sequence[Mapping[str, Any]] | None) -> list[OtherLine]:
    """The lines of a prediction's other findings; none of a network of one class."""
    return [
        OtherLine(
            name=str(one["name"]).replace("-", " ").capitalize(),
            found=bool(one["found"]),
            text=_text(one),
            probability=wording.probability(one["probability"]),
        )
        for one in findings or ()
    ]


def _text(one: Mapping[str, Any]) -> str:
    if not one["found"]:
        return "none found"
    area = one.get("area_px") or 0
    parts = [one.get("side") or "", wording.area(one.get("area_mm2"), area) if area else ""]
    return ", ".join(filter(None, ["found", *parts]))
