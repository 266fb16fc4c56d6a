"""Templates of the findings sentence: what one may hold, its default, and how it is filled.

Pure functions. A template is a text with placeholders in braces. A part in square brackets is left
out where one of its placeholders has nothing to say, so that a sentence has no holes.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from portal.errors import Invalid
from portal.models import Language

LENGTH: Final = 400
_PLACE: Final = re.compile(r"\{([^{}]*)\}")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


class Kind(StrEnum):
    """Which finding a template is for."""

    ONE_SIDE = "one_side"
    BOTH_SIDES = "both_sides"
    NONE = "none"
    UNSURE = "unsure"


_SIZED: Final = ("zones", "size", "measurement", "drain", "quality")
# What each may hold.
PLACEHOLDERS: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType(
    {
        Kind.ONE_SIDE: ("side", *_SIZED),
        Kind.BOTH_SIDES: _SIZED,
        Kind.NONE: ("drain", "quality"),
        Kind.UNSURE: ("drain", "quality"),
    }
)
# What each must hold outside of square brackets: without the side a sentence would be dangerous.
_NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = MappingProxyType({Kind.ONE_SIDE: ("side",)})
_ENGLISH: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        Kind.ONE_SIDE: "{side}[ {zones}] pneumothorax[, {size}][, {measurement}].[ {drain}]"
        "[ {quality}]",
        Kind.BOTH_SIDES: "Bilateral[ {zones}] pneumothorax[, {size}][, {measurement}].[ {drain}]"
        "[ {quality}]",
        Kind.NONE: "No pneumothorax is seen.[ {drain}][ {quality}]",
        Kind.UNSURE: "A pneumothorax can be neither confirmed nor excluded.[ {drain}][ {quality}]",
    }
)
DEFAULTS: Final[Mapping[Language, Mapping[Kind, str]]] = MappingProxyType({Language.EN: _ENGLISH})


def default(language: Language, kind: Kind) -> str:
    """The text where a team has none of its own; in English where a language has none yet."""
    return DEFAULTS.get(language, _ENGLISH)[kind]


def check(kind: Kind, text: str) -> str:
    """The template, without spaces around it; Invalid with the reason why it can't be one."""
    found = text.strip()
    if not found:
        raise Invalid("template", "A sentence needs a text.")
    if len(found) > LENGTH:
        raise Invalid("template", f"At most {LENGTH} characters.")
    if any(not one.isprintable() for one in found):
        raise Invalid("template", "On one line, without characters that can’t be seen.")
    allowed = PLACEHOLDERS[kind]
    for name in _PLACE.findall(found):
        if name not in allowed:
            listed = ", ".join(f"{{{one}}}" for one in allowed)
            raise Invalid("template", f"There is no {{{name}}} here, only {listed}.")
    if any(one in _PLACE.sub("", found) for one in "{}"):
        raise Invalid("template", "A brace is left open, or closed without a beginning.")
    outside = _PART.sub("", found)
    if any(one in outside for one in "[]"):
        raise Invalid("template", "Square brackets must be closed, and not lie in each other.")
    for part in _PART.findall(found):
        if not _PLACE.search(part):
            raise Invalid("template", "A part in square brackets needs a placeholder.")
    for name in _NEEDED.get(kind, ()):
        if f"{{{name}}}" not in outside:
            raise Invalid("template", f"{{{name}}} must be there, outside of square brackets.")
    for name in set(_PLACE.findall(outside)) - set(_NEEDED.get(kind, ())):
        raise Invalid("template", f"{{{name}}} may be empty: put it into square brackets.")
    return found


def fill(template: str, phrases: Mapping[str, str]) -> str:
    """The sentence of these phrases, of which an empty one has nothing to say."""

    def part(match: re.Match[str]) -> str:
        return _filled(match[1], phrases) if _says(match[1], phrases) else ""

    text = " ".join(_filled(_PART.sub(part, template), phrases).split())
    return text[:1].upper() + text[1:]


def _says(part: str, phrases: Mapping[str, str]) -> bool:
    return all(phrases.get(name) for name in _PLACE.findall(part))


def _filled(text: str, phrases: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda match: phrases.get(match[1], ""), text)
