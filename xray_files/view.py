"""How the beam went through the patient: from the view, its code, or the patient's orientation."""

from __future__ import annotations

import re
from typing import Final

from pydicom.dataset import Dataset

from xray_files import values

# SNOMED CT and the older SNOMED RT codes of DICOM CID 4010. Digital X-ray objects state their view
# by them, and many have no ViewPosition. A lateral view of which side is not stated is given as LL.
_CODES: Final = {
    "272479007": "PA",
    "R-10214": "PA",
    "R-40888": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
    **dict.fromkeys(("399067008", "R-102CD", "30730003", "G-A145"), "LL"),  # lateral, sagittal
    **dict.fromkeys(("399352003", "R-10228", "399260004", "R-10224"), "LL"),  # across the body
    **dict.fromkeys(("399184004", "R-10238", "399135007", "R-10220"), "LLO"),
    **dict.fromkeys(("399006002", "R-10212"), "LLO"),
    **dict.fromkeys(("399236003", "R-10234", "399356000", "R-40985"), "RLO"),
    **dict.fromkeys(("399038007", "R-10210"), "RLO"),
}
_NAMES: Final = {
    **{name: name for name in ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO")},
}
_WORD: Final = re.compile(r"[^\W_]+")
# Free terms of senders: LAT, LLAT, R LAT, LATERAL_L, LEFT LATERAL, and those of other languages.
_LATERAL: Final = re.compile(r"(L|R|LT|RT)?LAT\w*|PROFIL\w*|PERFIL\w*|SEITLICH\w*")
_RIGHT: Final = frozenset({"R", "RT", "RIGHT", "RLAT", "RTLAT", "LATR"})
FRONTAL: Final = frozenset({"PA", "AP"})
NOT_FRONTAL: Final = frozenset(set(_NAMES.values()) - FRONTAL)


def view(dataset: Dataset) -> str | None:
    """ViewPosition if it names one of PS3.3 C.8.11.5's views, else that of the view code.

    Where neither names one, rows or columns that run to the patient's front or back are a lateral
    view, given as LL: the orientation does not tell which side was at the detector. None for any
    other.
    """
    named = _named(values.code(dataset, "ViewPosition")) or _CODES.get(_view_code(dataset))
    if named is not None:
        return named
    directions = orientation(dataset)
    return "LL" if directions and any(one[0] in "AP" for one in directions) else None


def _named(position: str) -> str | None:
    words = _WORD.findall(position)
    if not words:
        return None
    lateral = any(_LATERAL.fullmatch(word) for word in words)
    if any(word.startswith("DECUB") for word in words):
        lateral = lateral and words[0] not in FRONTAL  # the patient's side, not the beam's
    known = _NAMES.get(words[0])
    if not lateral:
        return known
    if known in FRONTAL:  # PA/LAT: which of the two it is stands elsewhere, if at all
        return None
    return "RL" if known == "RL" or not _RIGHT.isdisjoint(words) else "LL"


def _view_code(dataset: Dataset) -> str:
    try:
        return str(dataset.ViewCodeSequence[0].CodeValue).strip(" \0")
    except Exception:
        return ""


def orientation(dataset: Dataset) -> tuple[str, str] | None:
    """PatientOrientation as (towards the right edge, towards the bottom), e.g. ('L', 'F')."""
    found = values.words(dataset, "PatientOrientation")
    return (found[0], found[1]) if len(found) == 2 and all(found) else None
