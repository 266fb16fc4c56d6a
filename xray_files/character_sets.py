"""Texts of DICOM headers in the character sets of PS3.3 C.12.1.1.2, with the escapes of PS3.5 6.1.

A text begins in the first set that the header names; escapes change the lower or the upper half of
the code table (G0, G1) until a delimiter. Every escape of tables C.12-3 and C.12-4 is followed,
whether the header names its set or not: writers name too few.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

ESCAPE: Final = 0x1B
# Whole texts in one encoding, without escapes (table C.12-5), and names that writers use.
_WHOLE: Final = {
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "UTF-8": "utf-8",
    "UTF8": "utf-8",
}
# Upper half of a single-byte table, by the number in its name (tables C.12-2, C.12-3).
_SINGLE: Final = {
    "100": "iso8859-1",
    "101": "iso8859-2",
    "109": "iso8859-3",
    "110": "iso8859-4",
    "144": "iso8859-5",
    "127": "iso8859-6",
    "126": "iso8859-7",
    "138": "iso8859-8",
    "148": "iso8859-9",
    "203": "iso8859-15",
    "166": "cp874",  # TIS 620; Python's own lacks the no-break space
    "13": "shift_jis",  # JIS X 0201: katakana above, romaji below
}
# Two bytes to a character, in the upper half from the beginning where such a set is named first.
_DOUBLE: Final = {"149": "euc_kr", "58": "gb2312"}


@dataclass(frozen=True, slots=True)
class _Table:
    """A half of the code table: how many bytes a character has, and how these are decoded."""

    encoding: str
    width: int = 1
    prefix: bytes = b""
    high: bool = False  # decoded with the high bit set

    def decode(self, raw: bytes) -> str:
        """Some characters of this table; what is none becomes U+FFFD."""
        if self.high:
            raw = bytes(byte | 0x80 for byte in raw)
        elif self.prefix:
            raw = self.prefix + bytes(byte & 0x7F for byte in raw) + b"\x1b(B"
        return raw.decode(self.encoding, "replace")


_ASCII: Final = _Table("ascii")
_LATIN: Final = {b"-A": "100", b"-B": "101", b"-C": "109", b"-D": "110", b"-L": "144"} | {
    b"-G": "127",
    b"-F": "126",
    b"-H": "138",
    b"-M": "148",
    b"-b": "203",
    b"-T": "166",
    b")I": "13",
}
# The bytes behind an escape: which half they change (0 or 1), and to what.
_ESCAPES: Final = {
    b"(B": (0, _ASCII),
    b"(J": (0, _ASCII),  # JIS X 0201 romaji: yen and overline stand for backslash and tilde
    b"$@": (0, _Table("iso2022_jp", 2, b"\x1b$B")),  # JIS C 6226, the same characters
    b"$B": (0, _Table("iso2022_jp", 2, b"\x1b$B")),
    b"$(D": (0, _Table("iso2022_jp_2", 2, b"\x1b$(D")),
    b"$)C": (1, _Table("euc_kr", 2, high=True)),
    b"$)A": (1, _Table("gb2312", 2, high=True)),
    **{escape: (1, _Table(_SINGLE[number], high=True)) for escape, number in _LATIN.items()},
}
# After these a text is in its first set again (PS3.5 6.1.2.5.3); within names also ^ and =.
_DELIMITERS: Final = frozenset(b"\r\n\f\t\\^=")
_NUMBER: Final = re.compile(r"ISO[ _]?(?:2022)?[ _]?IR[ _]?(\d+)", re.ASCII)


def decode(raw: bytes, names: tuple[str, ...]) -> str:
    """The text of an element's value; `names` are the terms of SpecificCharacterSet, in capitals.

    What cannot be decoded becomes U+FFFD, and a value may be cut within a character.
    """
    name = names[0] if names else ""
    whole = _WHOLE.get(name)
    if whole is not None:
        return raw.decode(whole, "replace")
    found = _NUMBER.match(name)
    upper = _upper(found[1] if found else "")
    if ESCAPE not in raw and upper.width == 1:
        return "".join(_run(raw, _ASCII, upper))
    return "".join(_parts(raw, upper))


def _upper(number: str) -> _Table:
    """The upper half at the beginning of a text."""
    if number in _DOUBLE:
        return _Table(_DOUBLE[number], 2, high=True)
    return _Table(_SINGLE.get(number, "iso8859-1"), high=True)


def _parts(raw: bytes, first_upper: _Table) -> list[str]:
    """The text in parts, each of one state of the code table."""
    lower, upper = _ASCII, first_upper
    parts, begin, at = list[str](), 0, 0
    while at < len(raw):
        byte = raw[at]
        if byte == ESCAPE:
            parts += _run(raw[begin:at], lower, upper)
            length, half, table = _escape(raw, at)
            if half == 0:
                lower = table
            elif half == 1:
                upper = table
            at += length
            begin = at
        elif byte in _DELIMITERS and lower.width == 1:
            parts += _run(raw[begin : at + 1], lower, upper)
            lower, upper = _ASCII, first_upper
            at += 1
            begin = at
        else:
            at += lower.width if byte < 0x80 else upper.width
    return parts + _run(raw[begin:], lower, upper)


def _escape(raw: bytes, at: int) -> tuple[int, int, _Table]:
    """How long the escape is and what it changes; one that is none is passed over alone."""
    for length in (3, 2):
        found = _ESCAPES.get(raw[at + 1 : at + 1 + length])
        if found is not None:
            return 1 + length, *found
    return 1, -1, _ASCII


def _run(raw: bytes, lower: _Table, upper: _Table) -> list[str]:
    """Bytes between two changes of state: those of the lower and those of the upper half."""
    parts = list[str]()
    for half in re.finditer(rb"[\x00-\x7f]+|[\x80-\xff]+", raw):
        table = upper if half[0][0] >= 0x80 else lower
        whole = len(half[0]) // table.width * table.width
        parts.append(table.decode(half[0][:whole]))
        if whole < len(half[0]):
            parts.append("\ufffd")
    return parts
