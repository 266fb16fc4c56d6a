"""Untrusted texts, made fit for display: no control characters, no endless length, no formulas."""

import csv
import io
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

# These turn the reading direction of everything after them, so a name could rewrite its row.
_DIRECTION: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_UNWANTED: Final = frozenset({"Cc", "Cs", "Co", "Cn"})


def clean(text: str, length: int) -> str:
    """The text on one line, without what can't be seen, at most `length` characters."""
    kept = (_kept(character) for character in text[: length * 4])
    return " ".join("".join(kept).split())[:length].rstrip()


def clean_lines(text: str, length: int) -> str:
    """The same for a text of several lines."""
    lines = [clean(line, length) for line in text[: length * 4].splitlines()]
    return "\n".join(lines).strip()[:length].rstrip()


def csv_line(values: Iterable[Any]) -> str:
    """One line of CSV; None is an empty cell. No text begins like a formula, which a spreadsheet
    would run.
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow("" if v is None else _cell(v) for v in values)
    return line.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in _FORMULAS else value


def _kept(character: str) -> str:
    if character.isspace():
        return " "
    unwanted = unicodedata.category(character) in _UNWANTED or character in _DIRECTION
    return "" if unwanted else character
