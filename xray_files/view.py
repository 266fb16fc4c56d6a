"""How the beam went through the patient: from the view, its code, or the patient's orientation."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from xray_files import values

# SNOMED CT and the older SNOMED RT codes of DICOM CID 4010 and 4011.
_CODES: Final = {
    "272479007": "PA",
    "R-10214": "PA",
    "399348003": "AP",
    "R-10206": "AP",
    "399173006": "LL",
    "R-10236": "LL",
    "399198007": "RL",
    "R-10232": "RL",
}
_NAMES: Final = {
    **{name: name for name in ("PA", "AP", "LL", "RL", "LLD", "RLD", "LLO", "RLO")},
    "LAT": "LL",
    "LATERAL": "LL",
}
FRONTAL: Final = frozenset({"PA", "AP"})
NOT_FRONTAL: Final = frozenset(set(_NAMES.values()) - FRONTAL)


def view(dataset: Dataset) -> str | None:
    """ViewPosition if it names one of PS3.3 C.8.11.5's views, else that of the view code.

    Where neither names one, a row that runs to the patient's front or back is a lateral view,
    given as LL: the orientation does not tell which side was at the detector. None for any other.
    """
    position = values.code(dataset, "ViewPosition").split()
    if position:
        return _NAMES.get(position[0])
    named = _CODES.get(_view_code(dataset))
    if named is not None:
        return named
    directions = orientation(dataset)
    return "LL" if directions and directions[0][0] in "AP" else None


def _view_code(dataset: Dataset) -> str:
    try:
        return str(dataset.ViewCodeSequence[0].CodeValue).strip(" \0")
    except Exception:
        return ""


def orientation(dataset: Dataset) -> tuple[str, str] | None:
    """PatientOrientation as (towards the right edge, towards the bottom), e.g. ('L', 'F')."""
    found = values.words(dataset, "PatientOrientation")
    return (found[0], found[1]) if len(found) == 2 and all(found) else None
