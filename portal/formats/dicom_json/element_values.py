"""The value of one DICOM element in the DICOM JSON model (PS3.18 F.2.2 to F.2.4).

What is no value of its representation is left out: an element without a value is valid, a wrong one
is not.
"""

import base64
import math
import struct
from collections.abc import Callable
from typing import Any, Final

from xray_files import character_sets

# Representations of one character set, of the header's character sets, and of bytes.
_PLAIN: Final = frozenset(("AE", "AS", "CS", "DA", "DT", "TM", "UI", "UR"))
_TEXTS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
# One value, however many backslashes are in it.
_SINGLE: Final = frozenset(("LT", "ST", "UR", "UT"))
_NUMBERS: Final = {
    **{"US": "H", "SS": "h", "UL": "I", "SL": "i"},
    **{"UV": "Q", "SV": "q", "FL": "f", "FD": "d"},
}
# Bytes of the words of which a value of bytes consists.
BULK: Final = {"OB": 1, "UN": 1, "OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
KNOWN: Final = _PLAIN | _TEXTS | frozenset(_NUMBERS) | frozenset(BULK) | {"AT", "DS", "IS", "SQ"}
_GROUPS: Final = ("Alphabetic", "Ideographic", "Phonetic")
_MOST_VALUES: Final = 4096


def value(vr: str, raw: bytes, names: tuple[str, ...], *, little: bool) -> dict[str, Any]:
    """The members of an element beside `vr`: none where it has no value that can be written.

    `names`: the terms of the header's character sets.
    """
    if vr in BULK:
        data = little_endian(vr, raw, little=little)
        return {"InlineBinary": base64.b64encode(data).decode()} if data else {}
    if vr in _NUMBERS:
        found = _numbers(_NUMBERS[vr], raw, little)
    elif vr == "AT":
        pairs = _numbers("H", raw, little)
        found = [f"{a:04X}{b:04X}" for a, b in zip(pairs[::2], pairs[1::2], strict=False)]
    else:
        found = _texts(vr, raw, names)
    return {"Value": found} if any(one is not None for one in found) else {}


def little_endian(vr: str, raw: bytes | memoryview, *, little: bool) -> bytes | memoryview:
    """The bytes of a value in little endian, as they are where the file has them so."""
    size = BULK.get(vr, 1)
    if little or size == 1:
        return raw
    whole = len(raw) // size * size
    swapped = bytearray(whole)
    for at in range(size):
        swapped[at::size] = raw[size - 1 - at : whole : size]
    return bytes(swapped)


def _numbers(form: str, raw: bytes, little: bool) -> list[Any]:
    count = len(raw) // struct.calcsize(form)
    values = struct.unpack_from(f"{'<' if little else '>'}{count}{form}", raw)
    # JSON has no number for these.
    return [one if math.isfinite(one) else None for one in values]


def _texts(vr: str, raw: bytes, names: tuple[str, ...]) -> list[Any]:
    text = character_sets.decode(raw, names) if vr in _TEXTS else raw.decode("latin-1")
    parts = [text] if vr in _SINGLE else text.split("\\")[:_MOST_VALUES]
    convert = _CONVERSIONS.get(vr, _text)
    # Blanks in front are part of a long text, never of anything else.
    return [
        convert(part.rstrip(" \0\t\r\n") if vr in _SINGLE else part.strip(" \0\t\r\n"))
        for part in parts
    ]


def _text(text: str) -> str | None:
    # What no encoding can write is not in a text of ours.
    return text.encode("utf-8", "replace").decode() or None


def _whole(text: str) -> int | None:
    try:
        return int(text) if len(text) <= 12 else None
    except ValueError:
        return None


def _decimal(text: str) -> float | int | None:
    try:
        found = float(text) if len(text) <= 64 and "_" not in text else math.nan
    except ValueError:
        return None
    if not math.isfinite(found):
        return None
    return int(found) if found.is_integer() and abs(found) < 2**53 else found


def _person(text: str) -> dict[str, str] | None:
    groups = zip(_GROUPS, text.split("="), strict=False)
    found = {name: _text(group.strip()) for name, group in groups}
    return {name: group for name, group in found.items() if group} or None


_CONVERSIONS: Final[dict[str, Callable[[str], Any]]] = {
    "IS": _whole,
    "DS": _decimal,
    "PN": _person,
}
