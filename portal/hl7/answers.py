"""The answer to a message: ACK with AA, AE or AR, and the reason as a code (HL7 2.9.2).

Of the message itself it repeats the control ID, who sent it, and its type: nothing of a patient.
"""

from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from portal.hl7.messages import VERSIONS, Header, NotTaken
from portal.settings.network.hl7 import Hl7

_MARKS: Final = "|^~\\&"
_TABLE_0357: Final = {
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    200: "Unsupported message type",
    201: "Unsupported event code",
    202: "Unsupported processing id",
    203: "Unsupported version id",
    204: "Unknown key identifier",
    205: "Duplicate key identifier",
    207: "Application internal error",
}
# From this version on an error segment has its own fields for place, code and severity.
_NEW_ERRORS: Final = VERSIONS.index("2.5")
_STRUCTURED: Final = VERSIONS.index("2.3.1")
_WITHOUT_TEXT: Final = VERSIONS.index("2.7")  # MSA-3 was withdrawn
_FALLBACK: Final = "2.5"
_UNREADABLE: Final = Header(_MARKS, "", "", "", "", "", "", "P", _FALLBACK, ())


def answer(settings: Hl7, header: Header | None, now: datetime, why: NotTaken | None) -> bytes:
    """The answer to a message; `header`: None where that was not readable, `why`: None for one that
    was taken.
    """
    to = header or _UNREADABLE
    version = to.version if to.version in VERSIONS else _FALLBACK
    place = VERSIONS.index(version)
    kind = ["ACK", _bare(to.event), "ACK"] if to.event else ["ACK"]
    segments = [
        [
            "MSH",
            _MARKS[1:],
            settings.application,
            settings.facility,
            _bare(to.application),
            _bare(to.facility),
            f"{now.astimezone(UTC):%Y%m%d%H%M%S}+0000",
            "",
            "^".join(kind if place >= _STRUCTURED else kind[:2]),
            uuid4().hex[:20],
            to.processing if to.processing in ("P", "T", "D") else "P",
            version,
        ],
        ["MSA", why.answer if why else "AA", _repeated(to)],
    ]
    if why is not None:
        if place < _WITHOUT_TEXT:
            segments[1].append(_words(why))
        segments.append(_error(why, is_new=place >= _NEW_ERRORS))
    text = "\r".join("|".join(fields) for fields in segments) + "\r"
    return text.encode("ascii", "replace")


def _error(why: NotTaken, *, is_new: bool) -> list[str]:
    segment, _, number = why.place.partition("-")
    name = _TABLE_0357[why.number]
    if is_new:
        place = f"{segment}^1^{number}" if number else ""
        return ["ERR", "", place, f"{why.number}^{name}^HL70357", "E", "", "", "", _words(why)]
    place = f"{segment}^1^{number}" if number else "^^"
    return ["ERR", f"{place}^{why.number}&{name}&HL70357"]


def _words(why: NotTaken) -> str:
    return f"Not taken: {why.code.replace('_', ' ')}"


def _repeated(header: Header) -> str:
    """The control ID as it came. Where the message has other separators than the answer, those of
    the answer are escaped in it.
    """
    if header.separators[:5] == _MARKS:
        return header.control_id
    names = dict(zip(_MARKS, "FSRET", strict=True))
    found = (f"\\{names[c]}\\" if c in names else c for c in header.control_id)
    return "".join(found)


def _bare(text: str) -> str:
    return "".join(c for c in text if c not in _MARKS)
