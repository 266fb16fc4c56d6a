"""One message: its header, its character set and its parts, or the reason why it can't be read.

The message is split by the package `hl7`. Escapes are resolved here: that package writes what it
does not know into the log, and repeats blank lines as often as a message asks for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import hl7

from portal.formats.display_text import clean, clean_lines

# Character sets of MSH-18 (HL7 table 0211) in which the separators are ASCII, and Python's codecs.
CHARSETS: Final = {
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/3": "iso8859-3",
    "8859/4": "iso8859-4",
    "8859/5": "iso8859-5",
    "8859/6": "iso8859-6",
    "8859/7": "iso8859-7",
    "8859/8": "iso8859-8",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
}
VERSIONS: Final = (
    *("2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"),
)
# A delete of a value, which is something else than leaving it out (HL7 2.5.3).
NULL: Final = '""'
# Each part of a split message takes about half a KiB of memory.
_MOST_PARTS: Final = 50_000
_MOST_SEGMENTS: Final = 5_000
_LONGEST_HEADER: Final = 4096
_LONGEST_ID: Final = 199
_ENCODING: Final = re.compile(r"[!-/:-@\[-`{-~]{4,5}")
_SEGMENT: Final = re.compile(r"[A-Z][A-Z0-9]{2}")
_ESCAPE_LONGEST: Final = 66
_HEX: Final = re.compile(r"X((?:[0-9A-Fa-f]{2})+)")
_BREAK: Final = re.compile(r"\.(?:br|sp|ce)\+?\d*")

Answer = Literal["AE", "AR"]


class NotTaken(Exception):
    """Why a message is not taken. `code` is ours, `number` that of HL7's table 0357; `place` is
    where in the message, as segment and field.
    """

    def __init__(self, answer: Answer, code: str, number: int = 207, place: str = "") -> None:
        super().__init__(code)
        self.answer, self.code, self.number, self.place = answer, code, number, place


@dataclass(frozen=True, slots=True)
class Header:
    """What the first segment states, as it is written there."""

    separators: str
    application: str
    facility: str
    stated_at: str
    kind: str  # MSH-9.1
    event: str  # MSH-9.2
    control_id: str = field(repr=False)
    processing: str
    version: str
    charsets: tuple[str, ...]


def header_of(raw: bytes) -> Header:
    """The header of a message, before its character set is known; NotTaken `no_header`."""
    first = raw[: _LONGEST_HEADER + 1].split(b"\r", 1)[0]
    if not first.startswith(b"MSH") or len(first) > _LONGEST_HEADER or len(first) < 9:
        raise NotTaken("AR", "no_header", 100)
    line = first.decode("latin-1")
    separator, encoding = line[3], line[4:].split(line[3], 1)[0]
    marks = separator + encoding
    if not _ENCODING.fullmatch(encoding) or len(set(marks)) != len(marks):
        raise NotTaken("AR", "no_header", 100, "MSH-2")
    fields = ["MSH", separator, *line.split(separator)[1:]]

    def text(number: int) -> str:
        return fields[number].strip() if len(fields) > number else ""

    def first_component(number: int) -> str:
        return clean(text(number).split(marks[1])[0], 180)

    kind = [*text(9).split(marks[1]), "", ""]
    found = Header(
        separators=marks,
        application=first_component(3),
        facility=first_component(4),
        stated_at=re.sub(r"[^0-9.+-]", "", text(7).split(marks[1])[0])[:26],
        kind=clean(kind[0], 3),
        event=clean(kind[1], 3),
        control_id=text(10),
        processing=first_component(11),
        version=first_component(12),
        charsets=tuple(one.strip() for one in text(18).split(marks[2]) if one.strip()),
    )
    good_id = found.control_id.isascii() and found.control_id.isprintable()
    if not 0 < len(found.control_id) <= _LONGEST_ID or not good_id:
        raise NotTaken("AR", "no_control_id", 101, "MSH-10")
    return found


class Message:
    """A split message, whose values are given as clean texts."""

    def __init__(self, header: Header, parts: Sequence[Any]) -> None:
        self.header = header
        self._segments = [(str(one[0]), one) for one in parts]

    def segments(self, *names: str) -> list["Segment"]:
        """The segments of these names, in their order."""
        return [Segment(self.header, name, one) for name, one in self._segments if name in names]

    def segment(self, name: str) -> "Segment":
        """The first segment of a name; an empty one where there is none."""
        return next(iter(self.segments(name)), Segment(self.header, name, []))


class Segment:
    """One segment. Fields, repetitions and components are counted from 1."""

    def __init__(self, header: Header, name: str, fields: Sequence[Any]) -> None:
        self.name = name
        self._header = header
        self._fields = fields

    def __bool__(self) -> bool:
        """Whether the message has it."""
        return len(self._fields) > 0

    def repetitions(self, number: int) -> int:
        """How often a field is repeated."""
        return len(self._fields[number]) if number < len(self._fields) else 0

    def text(
        self,
        number: int,
        component: int = 1,
        *,
        subcomponent: int = 1,
        repetition: int = 1,
        longest: int = 200,
    ) -> str:
        """A value on one line; NULL where it is to be deleted."""
        value = self._raw(number, component, subcomponent, repetition)
        return value if value == NULL else clean(unescaped(value, self._header), longest)

    def lines(self, number: int, longest: int) -> str:
        """A long text: each repetition a line, and one for each break that is written in it. A
        component separator that was not escaped stands for itself.
        """
        if number >= len(self._fields):
            return ""
        found = str(self._fields[number]).split(self._header.separators[2])
        return clean_lines("\n".join(unescaped(one, self._header) for one in found), longest)

    def _raw(self, number: int, component: int, subcomponent: int, repetition: int) -> str:
        value: Any = self._fields
        for index in (number, repetition - 1, component - 1, subcomponent - 1):
            if isinstance(value, str):  # it has no deeper parts
                if index:
                    return ""
                continue
            if index >= len(value):
                return ""
            value = list.__getitem__(value, index)
        return str(value)


def read(header: Header, raw: bytes, default_charset: str) -> Message:
    """Split a message whose header was read; NotTaken for a character set that is not known or not
    the one of its bytes, for too many parts, or for what is no message.
    """
    named = header.charsets[0] if header.charsets else default_charset
    if named not in CHARSETS or len(header.charsets) > 1:
        raise NotTaken("AE", "charset_unknown", 103, "MSH-18")
    try:
        text = raw.decode(CHARSETS[named])
    except UnicodeDecodeError:
        raise NotTaken("AE", "wrong_charset", 102, "MSH-18") from None
    text = text.rstrip("\r")
    segments = text.split("\r")
    if len(segments) > _MOST_SEGMENTS or _parts(text, header.separators) > _MOST_PARTS:
        raise NotTaken("AE", "too_many_parts", 207)
    for one in segments:
        if not _SEGMENT.fullmatch(one[:3]) or one[3:4] not in ("", header.separators[0]):
            raise NotTaken("AE", "bad_segment", 100)
    if any(one.startswith("MSH") for one in segments[1:]):
        raise NotTaken("AE", "bad_segment", 100)
    try:
        return Message(header, hl7.parse(text))
    except Exception:  # its text may quote the message
        raise NotTaken("AE", "bad_segment", 100) from None


def _parts(text: str, separators: str) -> int:
    return sum(text.count(one) for one in (*separators[:3], *separators[4:5], "\r"))


def unescaped(text: str, header: Header) -> str:
    """A text with its escapes resolved (HL7 2.7): separators, line breaks and hexadecimal bytes of
    ASCII; highlighting and what is not known is left out.
    """
    separators, escape = header.separators, header.separators[3]
    if escape not in text:
        return text
    known = {
        "F": separators[0],
        "S": separators[1],
        "R": separators[2],
        "T": separators[4:5],
        "E": escape,
        "P": separators[5:6],
    }
    # By one split: a text of backslashes alone costs no more than its length.
    parts = text.split(escape)
    found, at = [parts[0]], 1
    while at < len(parts):
        sequence = parts[at]
        if at + 1 == len(parts) or len(sequence) > _ESCAPE_LONGEST:
            found += (escape, sequence)  # a backslash that escapes nothing
            at += 1
            continue
        if sequence in known:
            found.append(known[sequence])
        elif _BREAK.fullmatch(sequence):
            found.append("\n")
        elif match := _HEX.fullmatch(sequence):
            found.append(bytes.fromhex(match[1]).decode("ascii", "ignore").replace("\r", "\n"))
        found.append(parts[at + 1])
        at += 2
    return "".join(found)
