"""What a receiver remarks on what it was sent, without what could name a patient."""

import re
from typing import Final

from portal.formats.display_text import clean
from portal.studies.sealed_fields import Patient

_HIDDEN: Final = "…"
_WORD: Final = re.compile(r"[^\s,;:=^()\[\]'\"/\\]+")
# Numbers as long as this are dates, accession numbers or patient IDs; UIDs are longer still.
_LONG_NUMBER: Final = re.compile(
    r"\d{5,}|\d+(?:\.\d+){3,}|\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4}"
)
# What is read of a remark: more than is kept, so that no name is hidden but for its beginning.
LONGEST_READ: Final = 1000
_SHORTEST: Final = 2
_LONG_ENOUGH: Final = 4


def without_patient(text: object, patient: Patient, longest: int) -> str:
    """A remark as it is kept: of so many characters at most, without control characters, long
    numbers and words of the patient's.
    """
    shown = clean(str(text or ""), LONGEST_READ)
    named = {
        form
        for value in (patient.patient_name, patient.patient_id, patient.accession)
        for word in (value, *_WORD.findall(value))
        for form in (word, word.casefold())  # ß is no ss where case alone is ignored
        if len(word) >= _SHORTEST
    }
    shown = _LONG_NUMBER.sub(_HIDDEN, shown)
    for word in sorted(named, key=len, reverse=True):
        sought = re.escape(word)
        if len(word) < _LONG_ENOUGH:  # it is a part of other words by chance
            sought = rf"(?<!\w){sought}(?!\w)"
        shown = re.sub(sought, _HIDDEN, shown, flags=re.IGNORECASE)
    return shown[:longest].strip()
