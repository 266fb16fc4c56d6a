"""What a node answers: whether its status means stored, again or never, and its comment without
what could name a patient.
"""

from enum import StrEnum
from typing import Final

from portal.sends import remarks
from portal.studies.sealed_fields import Patient

MOST_CHARACTERS: Final = 64  # of an Error Comment (0000,0902)


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
    return remarks.without_patient(text, patient, MOST_CHARACTERS)
