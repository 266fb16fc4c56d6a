"""What a node answers: whether its status means stored, again or never, and its comment without
what could name a patient.
"""

import re
from enum import StrEnum
from typing import Final

from portal.formats.display_text import clean
from portal.studies.sealed_fields import Patient

MOST_CHARACTERS: Final = 64  # of an Error Comment (0000,0902)
_HIDDEN: Final = "…"
_WORD: Final = re.compile(r"[^\s,;:=^()\[\]'\"/\\]+")
# Numbers as long as this are dates, accession numbers or patient IDs; UIDs are longer still.
_LONG_NUMBER: Final = re.compile(r"\d{5,}|\d+(?:\.\d+){3,}")
_SHORTEST: Final = 2
_LONG_ENOUGH: Final = 4


class Meaning(StrEnum):
    """What follows from the status of a C-STORE (PS3.4 B.2.3, PS3.7 C)."""

    STORED = "stored"
    AGAIN = "again"
    NEVER = "never"


# A duplicate is the object that was sent before: its UID is of its content.
_DUPLICATE: Final = 0x0111
_WARNINGS: Final = (0x0001, 0x0107, 0x0116)
_NEVER: Final = (0x0105, 0x0106, 0x0112, 0x0115, 0x0117, 0x0120, 0x0122, 0x0124, 0x0212)


def meaning(status: int) -> Meaning:
    """What a status means for the object: out of resources and processing failures are tried again,
    a refusal of class, content or right is not.
    """
    if status in (0, _DUPLICATE, *_WARNINGS) or 0xB000 <= status <= 0xBFFF:
        return Meaning.STORED
    if status in _NEVER or 0xA900 <= status <= 0xA9FF or 0xC000 <= status <= 0xCFFF:
        return Meaning.NEVER
    return Meaning.AGAIN


def comment(text: object, patient: Patient) -> str:
    """A node's comment as it is kept: at most 64 characters, without control characters, long
    numbers and words of the patient's.
    """
    shown = clean(str(text or ""), MOST_CHARACTERS)
    named = {
        word.casefold()
        for value in (patient.patient_name, patient.patient_id, patient.accession)
        for word in (value, *_WORD.findall(value))
        if len(word) >= _SHORTEST
    }
    shown = _LONG_NUMBER.sub(_HIDDEN, shown)
    for word in sorted(named, key=len, reverse=True):
        sought = re.escape(word)
        if len(word) < _LONG_ENOUGH:  # it is a part of other words by chance
            sought = rf"(?<!\w){sought}(?!\w)"
        shown = re.sub(sought, _HIDDEN, shown, flags=re.IGNORECASE)
    return shown[:MOST_CHARACTERS].strip()
