"""The answer to a message of ours: accepted, an error that may pass, or a refusal (HL7 2.9.2)."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from portal.hl7 import messages
from portal.hl7.messages import NotTaken, Segment
from portal.sends.remarks import LONGEST_READ

_CODE: Final = re.compile(r"\d{3}")
_PLACE: Final = re.compile(r"[A-Z][A-Z0-9]{2}")


class Meaning(StrEnum):
    """What follows from MSA-1 (table 0008). In enhanced mode its first answer begins with C."""

    ACCEPTED = "accepted"
    AGAIN = "again"
    NEVER = "never"


_MEANINGS: Final = {
    "AA": Meaning.ACCEPTED,
    "CA": Meaning.ACCEPTED,
    "AE": Meaning.AGAIN,
    "CE": Meaning.AGAIN,
    "AR": Meaning.NEVER,
    "CR": Meaning.NEVER,
}


class BadAnswer(Exception):
    """What came is no answer to the message. `code`: why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Ack:
    """An answer: `codes` as MSA-1, code and place of the error; `remark` in the target's words,
    which may name the patient.
    """

    meaning: Meaning
    codes: str
    remark: str = field(repr=False)


def read(raw: bytes, control_id: str, charset: str) -> Ack:
    """The answer to the message of this control ID. `charset`: of answers that name none."""
    try:
        message = messages.read(messages.header_of(raw), raw, charset)
    except NotTaken as why:
        is_charset = why.code in ("charset_unknown", "wrong_charset")
        raise BadAnswer("answer_charset" if is_charset else "no_answer_message") from None
    answered = message.segment("MSA")
    meaning = _MEANINGS.get(answered.text(1))
    if meaning is None:
        raise BadAnswer("no_answer_message")
    if answered.text(2) != control_id:
        raise BadAnswer("other_control_id")
    number, place, words = _error(message.segment("ERR"))
    remark = answered.text(3, longest=LONGEST_READ) or words
    found = [answered.text(1), number, place]
    return Ack(meaning, " ".join(one for one in found if one), remark)


def _error(error: Segment) -> tuple[str, str, str]:
    """Code, place and words of the error, by the layout of 2.5 or by the one before."""
    if not error:
        return "", "", ""
    number, words = error.text(3), error.text(8, longest=LONGEST_READ)
    words = words or error.text(3, 2, longest=LONGEST_READ)
    segment, at = error.text(2), error.text(2, 3)
    if not number:
        number = error.text(1, 4)
        words = error.text(1, 4, subcomponent=2, longest=LONGEST_READ)
        segment, at = error.text(1), error.text(1, 3)
    place = segment if _PLACE.fullmatch(segment) else ""
    if place and at.isascii() and at.isdecimal() and len(at) < 3:
        place = f"{place}-{at}"
    return (number if _CODE.fullmatch(number) else ""), place, words
