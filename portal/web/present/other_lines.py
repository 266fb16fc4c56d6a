"""The findings of a network's other classes, for the result panel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from portal.languages import lazy, pgettext
from portal.web.present import wording

_NAMES: Final = {
    "pleural-effusion": lazy("Pleural effusion"),
    "effusion": lazy("Effusion"),
    "pneumothorax": lazy("Pneumothorax"),
    "infiltrate": lazy("Infiltrate"),
    "infiltration": lazy("Infiltration"),
    "atelectasis": lazy("Atelectasis"),
    "cardiomegaly": lazy("Cardiomegaly"),
    "chest-drain": lazy("Chest drain"),
    "chest-tube": lazy("Chest tube"),
    "nodule": lazy("Nodule"),
}


@dataclass(frozen=True, slots=True)
class OtherLine:
    """One finding: its name, what was found in words, and the probability."""

    name: str
    found: bool
    text: str
    probability: str


def finding_name(name: str) -> str:
    """What a network calls a class, as a person reads it; as it is where it is another one."""
    return str(_NAMES.get(name, name.replace("-", " ").capitalize()))


def other_lines(findings: Sequence[Mapping[str, Any]] | None) -> list[OtherLine]:
    """The lines of a prediction's other findings; none of a network of one class."""
    return [
        OtherLine(
            name=finding_name(str(one["name"])),
            found=bool(one["found"]),
            text=_text(one),
            probability=wording.probability(one["probability"]),
        )
        for one in findings or ()
    ]


def _text(one: Mapping[str, Any]) -> str:
    if not one["found"]:
        return pgettext("other finding", "none found")
    area = one.get("area_px") or 0
    parts = [wording.side(one.get("side")), wording.area(one.get("area_mm2"), area) if area else ""]
    return ", ".join(filter(None, [pgettext("other finding", "found"), *parts]))
