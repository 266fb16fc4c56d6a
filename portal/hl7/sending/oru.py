"""One report as an ORU^R01 of version 2.5.1, in the character set of its target.

Everything is escaped that has a meaning in a message. A value that the character set does not have
is never written in another way: NotEncodable, but for the typography of our own texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from portal.formats.display_text import clean
from portal.hl7.messages import CHARSETS
from portal.hl7.sending import codes
from portal.hl7.sending.codes import Code
from portal.models import ReportTarget
from portal.settings.network.hl7 import Hl7

VERSION: Final = "2.5.1"
_MARKS: Final = "|^~\\&"
_ESCAPES: Final = str.maketrans(
    {"|": "\\F\\", "^": "\\S\\", "~": "\\R\\", "\\": "\\E\\", "&": "\\T\\", "\n": "\\.br\\"}
)
# Typography of our texts, for character sets that lack it.
_PLAIN: Final = str.maketrans(
    {
        **dict.fromkeys("\u2013\u2014\u2212\u2011", "-"),
        **dict.fromkeys("\u2018\u2019", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u00a0\u202f\u2009", " "),
        "\u2026": "...",
        "\u00d7": "x",
        "\u00b7": "-",
        "\u2265": ">=",
        "\u2264": "<=",
    }
)
_LONGEST: Final = 200


class NotEncodable(Exception):
    """The target's character set lacks a character of the report."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One coded observation: a code or a number with its unit, and how it was made. `part`: the
    picture, and who outlined it.
    """

    what: Code
    value: Code | float
    method: Code
    unit: Code | None = None
    part: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What is stated of an exam. `is_correction`: the target may have an earlier report of it."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)
    patient_name: str = field(repr=False)
    birth_date: str = field(repr=False)
    sex: str = field(repr=False)
    accession: str = field(repr=False)
    case_number: str
    taken: str = field(repr=False)  # as a header's day and time: 2026-03-04 09:12
    signer: str
    changed: datetime
    text: str = field(repr=False)
    research: str
    observations: Sequence[Observation] = field(repr=False)
    is_correction: bool = False


def body(target: ReportTarget, content: Content) -> bytes:
    """All but the first segment: the same for the same content."""
    state = "C" if content.is_correction else "F"
    changed = _time(content.changed)
    request = _request(target, content)
    order = ["ORC", "RE", *request[2:4]]
    lines = [
        _patient(target, content),
        order,
        [*request, "", "", changed, "", "RAD", state, *[""] * 6, _signer(content.signer)],
        ["NTE", "1", "L", _text(content.research)],
        _observed(1, "FT", codes.REPORT, "", _long(content.text), "", state, changed, codes.BY_EYE),
    ]
    for number, one in enumerate(content.observations, 2):
        kind, value = ("NM", _number(one.value)) if isinstance(one.value, float) else ("", "")
        if isinstance(one.value, Code):
            kind, value = "CWE", _coded(one.value)
        unit = _coded(one.unit) if one.unit else ""
        lines.append(
            _observed(number, kind, one.what, one.part, value, unit, state, changed, one.method)
        )
    return _encoded(target, "".join("|".join(one).rstrip("|") + "\r" for one in lines))


def header(settings: Hl7, target: ReportTarget, kind: str, control_id: str, now: datetime) -> bytes:
    """The first segment."""
    charset = target.charset
    to = (target.application, target.facility)
    first = ["MSH", _MARKS[1:], settings.application, settings.facility, *map(_text, to)]
    rest = [_time(now), "", kind, control_id, "P", VERSION, *[""] * 5, charset]
    return _encoded(target, "|".join([*first, *rest]) + "\r")


def _request(target: ReportTarget, content: Content) -> list[str]:
    """OBR to its field 19: the accession number is in OBR-18, and where the target looks for it."""
    number, place = _text(content.accession), target.accession_field
    placer = number if place == "OBR-2" else ""
    filler = number if place == "OBR-3" else _text(content.case_number)
    taken = "".join(c for c in content.taken if c.isdigit())[:14]
    found = ["OBR", "1", placer, filler, _coded(codes.CHEST_X_RAY), "", "", taken]
    return [*found, *[""] * 10, number, ""]


def _patient(target: ReportTarget, content: Content) -> list[str]:
    authority = _text(target.authority or content.issuer)
    latin, _, other = content.patient_name.partition(" (")
    names = [_name(latin), *([_name(other.removesuffix(")"))] if other else [])]
    born = content.birth_date.replace("-", "")
    number = f"{_text(content.patient_id)}^^^{authority}^MR"
    return ["PID", "1", "", number, "", "~".join(names), "", _text(born), _text(content.sex)]


def _name(shown: str) -> str:
    """A name as pages show it, "Family, Given"."""
    family, _, given = shown.partition(", ")
    return f"{_text(family)}^{_text(given)}".rstrip("^")


def _signer(name: str) -> str:
    """A name in OBR-32 (NDL), whose parts stand between `&`."""
    return f"&{_text(name)}"


def _observed(
    number: int,
    kind: str,
    what: Code,
    part: str,
    value: str,
    unit: str,
    state: str,
    changed: str,
    method: Code,
) -> list[str]:
    """OBX to its field 17."""
    first = ["OBX", str(number), kind, _coded(what), part, value, unit]
    return [*first, "", "", "", "", state, "", "", changed, "", "", _coded(method)]


def _number(value: float) -> str:
    """Six digits, never with an exponent, which NM does not have."""
    return f"{Decimal(f'{value:.6g}'):f}"


def _coded(code: Code) -> str:
    parts = [code.value, code.text, code.system, *code.other]
    return "^".join(map(_text, parts)).rstrip("^")


def _text(value: str) -> str:
    return clean(value, _LONGEST).translate(_ESCAPES)


def _long(text: str) -> str:
    """Lines, which `reports.lines` has cleaned."""
    return text.translate(_ESCAPES)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%d%H%M%S}+0000"


def _encoded(target: ReportTarget, text: str) -> bytes:
    codec = CHARSETS[target.charset]
    try:
        return (text if codec == "utf-8" else text.translate(_PLAIN)).encode(codec)
    except UnicodeEncodeError:
        raise NotEncodable from None
